// What a rule is once it has been read: the words of SecLang resolved to numbers, macros split,
// regular expressions compiled. Made by rule_reader.h, put in order by rule_set.cc, then never
// changed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "waf/internal/regex.h"
#include "waf/internal/words.h"
#include "waf/operator_ip.h"
#include "waf/operators.h"
#include "waf/phrase_set.h"
#include "waf/seclang.h"
#include "waf/transform.h"

namespace leeward::waf {

// Text with "%{VARIABLE.name}" in it, split once.
class Macro {
 public:
  struct Piece {
    std::string literal = {};               // when `variable` is not set
    std::optional<Variable> variable = {};  // its first value
    std::string name = {};                  // of the value, in lower case; empty: the first
    std::uint32_t hash = 0;                 // of the name, or of the literal as a name
  };

  Macro() = default;
  explicit Macro(std::string literal) { add({.literal = std::move(literal)}); }

  const std::vector<Piece>& pieces() const { return pieces_; }
  void add(Piece piece) {
    piece.hash = hash_ignoring_case(piece.variable ? piece.name : piece.literal);
    pieces_.push_back(std::move(piece));
  }
  bool empty() const { return pieces_.empty(); }
  bool is_literal() const {
    return pieces_.empty() || (pieces_.size() == 1 && !pieces_[0].variable);
  }
  const std::string& literal() const {  // REQUIRES: is_literal()
    static const std::string kNothing;
    return pieces_.empty() ? kNothing : pieces_[0].literal;
  }
  std::uint32_t hash() const {  // of what it is. REQUIRES: is_literal()
    return pieces_.empty() ? hash_ignoring_case({}) : pieces_[0].hash;
  }
  std::string source() const;  // as it was written

 private:
  std::vector<Piece> pieces_;
};

// Which values of a variable: "ARGS", "ARGS:name", "ARGS:/regex/", "XML:/*", "TX:%{...}" is none.
struct Selection {
  enum class Kind : std::uint8_t { kAll, kName, kRegex };
  Variable variable = Variable::kArgs;
  Kind kind = Kind::kAll;
  std::string name = {};                    // kName: in lower case
  std::uint32_t hash = 0;                   // of the name
  std::string source = {};                  // "ARGS:Name", the collection in upper case
  std::shared_ptr<const Regex> regex = {};  // kRegex

  bool takes(std::string_view value_name, RegexRoom& room) const;
};

struct Target {
  Selection selection;
  bool count = false;                   // "&": how many values there are, instead of them
  std::vector<Selection> without = {};  // "!ARGS:name" of the same variable
};

struct OperatorUse {
  Operator op = Operator::kUnconditional;
  bool negated = false;
  Macro argument;
  std::shared_ptr<const Regex>
      regex;  // kRx, kRxGlobal, kVerify…; null when the argument has macros
  std::shared_ptr<const PhraseSet> phrases;
  std::shared_ptr<const IpSet> addresses;
  std::shared_ptr<const ByteRange> bytes;
};

struct SetVar {
  enum class How : std::uint8_t { kSet, kUnset, kAdd, kSubtract };
  How how = How::kSet;
  Variable collection = Variable::kTx;
  Macro name;  // in lower case as far as it is literal
  Macro value;
};

struct ExpireVar {
  Variable collection = Variable::kIp;
  Macro name = {}, seconds = {};
};

struct InitCol {
  Variable collection = Variable::kIp;  // kSession and kUser by setsid and setuid
  Macro key = {};
};

struct IdRange {
  std::uint32_t first, last;
  bool holds(std::uint32_t id) const { return first <= id && id <= last; }
};

struct Control {
  enum class What : std::uint8_t {
    kRuleEngine,
    kRemoveById,
    kRemoveByTag,
    kRemoveByMsg,
    kRemoveTargetById,
    kRemoveTargetByTag,
    kRemoveTargetByMsg,
    kBodyProcessor,
    kBodyAccess,
    kForceBodyVariable,
    kAuditEngine,
    kAuditParts,
    kResponseBodyAccess,
    kNoEffect,  // known, and without a meaning here
  };
  enum class Engine : std::uint8_t { kOn, kOff, kDetectionOnly };
  What what = What::kNoEffect;
  Engine engine = Engine::kOn;
  std::vector<IdRange> ids = {};
  Macro text = {};                        // tag or message
  Selection selection = {};               // kRemoveTarget…
  std::string word = {};                  // kBodyProcessor, kAudit…
  std::vector<std::uint32_t> rules = {};  // kRemove…: those that it is about (program_builder.h)
};

enum class Disruption : std::uint8_t {
  kNone,
  kPass,
  kDeny,
  kDrop,
  kRedirect,
  kAllow,
  kAllowPhase,
  kAllowRequest,
};

// Whether a rule is told of, as its actions say one after the other.
struct Telling {
  bool message = true;
  bool audit = true;
};

struct ActionSet {
  std::optional<std::uint32_t> id;
  std::optional<std::uint8_t> phase;
  Disruption disruption = Disruption::kNone;
  Macro redirect;
  bool block = false, capture = false, chain = false, multi_match = false;
  bool drops_defaults = false;  // t:none
  std::vector<Transform> transforms;
  std::vector<SetVar> setvars;
  std::vector<ExpireVar> expirevars;
  std::vector<InitCol> initcols;
  std::vector<Control> controls;
  std::vector<Action> telling;  // log, nolog, auditlog, noauditlog in their order
  std::vector<Macro> tags;
  std::optional<Macro> msg, logdata;
  std::optional<std::uint8_t> severity;
  std::optional<int> status;
  std::string rev, ver, skip_after;
  std::uint32_t skip = 0;
  std::vector<std::pair<std::string, Place>> places;  // of actions whose use is looked at later
};

struct Rule {
  static constexpr std::uint32_t kNowhere = 0xffffffff;

  Place place;
  std::uint32_t id = 0;
  std::uint8_t phase = 2;
  std::vector<Target> targets;  // none: SecAction, which always matches
  OperatorUse use;
  ActionSet actions;

  // By rule_set.cc.
  std::uint32_t chained = kNowhere;    // the next rule of the chain
  std::uint32_t skip_to = kNowhere;    // by skipAfter: position in the order of its phase
  std::uint16_t node = 0;              // the end of its transformations (transform_tree.h)
  std::vector<std::uint16_t> steps;    // multiMatch: every node on the way, the first is 0
  std::uint32_t candidate = kNowhere;  // its bit in the prefilter (prefilter.h)
  std::uint32_t group = kNowhere;      // and the scan that sets it
  // Byte classes (byte_classes.h) of each of which a text must have one for the rule to match; by
  // the prefilter.
  std::uint16_t first_classes = 0xffff, last_classes = 0xffff;
  Telling telling;             // of a chain: at its head
  bool runs_defaults = false;  // `block`: the disruption is its phase's default
};

}  // namespace leeward::waf
