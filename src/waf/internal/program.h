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

struct Program {
  Program();
  ~Program();

  Settings settings;
  std::vector<Rule> rules;  // heads of chains and, somewhere, what is chained to them
  std::array<std::vector<std::uint32_t>, kPhases + 1> order;  // heads, by phase from 1
  std::array<Defaults, kPhases + 1> defaults;
  TransformTree transforms;
  std::shared_ptr<const UnicodeMap> unicode_map;  // may be null
  std::array<bool, kStableCount> looked_at{};     // variables that are worth filling
  std::unique_ptr<const Prefilter> prefilter;     // null: none
  std::vector<std::string> notes;
  std::size_t heads = 0;
};

}  // namespace leeward::waf
