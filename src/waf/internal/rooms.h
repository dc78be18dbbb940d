// What a transaction works in: its values, what rules have stored, and memory that is kept from
// one transaction to the next. One thread.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "waf/field_list.h"
#include "waf/internal/arena.h"
#include "waf/internal/prefilter.h"
#include "waf/internal/program.h"
#include "waf/internal/tx_store.h"
#include "waf/transaction.h"

namespace leeward::waf {

struct Value {
  std::string_view name, text;
  std::uint16_t classes = 0;  // of the bytes of `text` (byte_classes.h); 0: not known yet
};

// What a chain of transformations made of the values of a list.
struct Column {
  enum class State : std::uint8_t { kUnknown, kSame, kOwn };
  State state = State::kUnknown;      // kSame: no value is changed by it
  std::string_view* texts = nullptr;  // kOwn; one with a null pointer was not asked for yet
};

// The values of one variable.
struct ValueList {
  std::vector<Value> values;
  Column* columns = nullptr;  // by node of the transform tree; null: none yet
  std::uint16_t classes = 0;  // of all values together, once there are columns
};

struct Rooms {
  explicit Rooms(const Program& p);

  void reset();

  const Program& program;
  Arena arena;
  std::array<ValueList, kStableCount> lists;
  FieldList query_fields, body_fields, cookies;
  TxStore tx;
  std::vector<MatchedRule> matches;
  RegexRoom regex;
  PrefilterRoom prefilter;
  std::string scratch;  // of a transformation
  std::string joined;   // of the prefilter, as is joined_raw
  // By set of selections: the values as they came, joined; made when asked for.
  std::vector<std::string> joined_raw;
  std::vector<bool> has_joined_raw;
  std::string macro, macro_name;  // of macros
  std::string unremembered;       // a transformed text when memory for them is used up
  std::vector<Value> matched;     // MATCHED_VARS
  enum Mark : std::uint8_t { kRemoved = 1, kTargets = 2 };
  std::vector<std::uint8_t> marks;  // by rule: what ctl has done to it
  std::vector<std::uint32_t> marked;
  struct RemovedTarget {
    std::uint32_t rule;
    const Selection* selection;
  };
  std::vector<RemovedTarget> removed_targets;
};

}  // namespace leeward::waf
