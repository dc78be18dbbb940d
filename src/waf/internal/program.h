// A RuleSet's inside: rules in the order in which each phase runs them.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "waf/internal/rule.h"
#include "waf/internal/transform_tree.h"
#include "waf/rule_set.h"

namespace leeward::waf {

inline constexpr int kPhases = 5;

class Prefilter;

// What a phase's SecDefaultAction says.
struct Defaults {
  ActionSet actions;
  bool given = false;
};

// A rule in the order of its phase, with what says quickly whether it matches: most of CRS's rules
// compare a number in TX, or are looked for by the prefilter.
struct Step {
  enum class Kind : std::uint8_t {
    kAny,     // nothing is known
    kNumber,  // of the value of TX with this name
    kCount,   // of values of TX with this name: 0 or 1
  };
  std::uint32_t rule;
  std::uint32_t candidate;  // as in Rule, and group
  std::uint32_t group;
  Kind kind = Kind::kAny;
  bool negated = false;
  Comparison comparison = Comparison::kEq;
  std::int64_t number = 0;               // what is compared with
  const Selection* selection = nullptr;  // of the rule's only target
  std::string matched_name = {};         // MATCHED_VAR_NAME when it matches
};

struct Program {
  Program();
  ~Program();

  Settings settings;
  std::vector<Rule> rules;  // heads of chains and, somewhere, what is chained to them
  std::array<std::vector<std::uint32_t>, kPhases + 1> order;  // heads, by phase from 1
  std::array<std::vector<Step>, kPhases + 1> steps;           // of the same rules
  std::array<Defaults, kPhases + 1> defaults;
  TransformTree transforms;
  // By node: classes of bytes (byte_classes.h) of which a text must have one to be changed by the
  // steps up to there.
  std::vector<std::uint16_t> changed_classes;
  std::shared_ptr<const UnicodeMap> unicode_map;  // may be null
  std::array<bool, kStableCount> looked_at{};     // variables that are worth filling
  std::unique_ptr<const Prefilter> prefilter;     // null: none
  std::vector<std::string> notes;
  std::size_t heads = 0;
  std::string digest;  // RuleSet::digest()
};

}  // namespace leeward::waf
