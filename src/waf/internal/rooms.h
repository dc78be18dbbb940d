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
  std::uint16_t classes = 0;  // of the bytes of `text` (byte_classes.h), once there are columns
};

// What a chain of transformations made of the values of a list. Chains that make the same of them,
// because a step of theirs changes nothing, share one. Made by run_values.cc.
struct Column {
  std::string_view* texts;  // one with a null pointer was not asked for yet; null: as they came
  std::uint16_t* classes;   // of each text, once complete
  Column* base;             // what it was made of, by `step`
  Column* same;             // a complete one that changed nothing: what it is the same as
  Column* next;             // the one that was made before
  Transform step;
  bool complete;              // all texts and classes are there
  std::uint16_t all_classes;  // of all texts together, once complete
};

// The values of one variable.
struct ValueList {
  std::vector<Value> values;
  Column** columns = nullptr;  // by node of the transform tree; null: none yet
  Column root = {};            // the values as they came
  Column* made = nullptr;      // the column that was made last
};

inline std::string_view text_of(const ValueList& list, const Column& column, std::size_t i) {
  return column.texts == nullptr ? list.values[i].text : column.texts[i];
}
// REQUIRES: column.complete
inline std::uint16_t classes_of(const ValueList& list, const Column& column, std::size_t i) {
  return column.texts == nullptr ? list.values[i].classes : column.classes[i];
}

struct Rooms {
  explicit Rooms(const Program& p);

  void reset();

  const Program& program;
  Arena arena;
  std::array<ValueList, kStableCount> lists;
  FieldList query_fields, body_fields, cookies;
  std::string unpacked;  // the body
  TxStore tx;
  std::vector<MatchedRule> matches;  // kept for their memory; the first match_count count
  std::size_t match_count = 0;
  RegexRoom regex;
  PrefilterRoom prefilter;
  std::string scratch;  // of a transformation
  // Of the prefilter: values as one text; which columns go into each text of a scan, and which
  // rules are to be looked for in it.
  std::vector<char> joined;
  std::vector<const Column*> text_columns;
  std::vector<std::uint64_t> text_candidates;
  std::string macro, macro_name;  // of macros
  std::string unremembered;       // a transformed text when memory for them is used up
  struct Matched {
    std::string_view name, text, origin;
  };
  std::vector<Matched> matched;  // MATCHED_VARS; each with its MatchedRule::origin
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
