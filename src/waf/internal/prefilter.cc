#include "waf/internal/prefilter.h"

#include <hs/hs.h>

#include <algorithm>
#include <map>

#include "base/check.h"
#include "waf/internal/pattern_cache.h"
#include "waf/internal/program.h"

namespace leeward::waf {
namespace {

constexpr unsigned kPatternFlags = HS_FLAG_PREFILTER | HS_FLAG_ALLOWEMPTY | HS_FLAG_SINGLEMATCH |
                                   HS_FLAG_DOTALL | HS_FLAG_MULTILINE;
constexpr unsigned kPhraseFlags = HS_FLAG_CASELESS | HS_FLAG_SINGLEMATCH;
constexpr std::size_t kPhrasesMax = 20'000;  // of one rule

// An anchor to the text as a whole, or something that changes what '^' and '$' are: not true of
// values that are scanned as lines of one text.
bool anchored_to_text(std::string_view pattern) {
  if (pattern.find("(*") != std::string_view::npos) return true;
  for (std::size_t i = 0; i + 1 < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      if (std::string_view("AzZGK").find(pattern[i + 1]) != std::string_view::npos) return true;
      ++i;
    } else if (pattern[i] == '(' && pattern[i + 1] == '?') {
      // Flags: (?i), (?i:, (?-m). Only a minus before an m concerns us.
      std::size_t at = i + 2;
      bool off = false;
      for (; at < pattern.size() &&
             std::string_view("imsxnJ-^").find(pattern[at]) != std::string_view::npos;
           ++at) {
        off |= pattern[at] == '-' || pattern[at] == '^';
        if (off && (pattern[at] == 'm' || pattern[at] == '^')) return true;
      }
    }
  }
  return false;
}

// Whether a pattern may match at the begin or the end of a line.
bool needs_lines(std::string_view pattern) {
  if (pattern.find("\\Q") != std::string_view::npos ||
      pattern.find("(?x") != std::string_view::npos)
    return true;  // not read here
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      ++i;
    } else if (in_class) {
      if (c == '[' && i + 1 < pattern.size() && pattern[i + 1] == ':') {  // [:alpha:]
        const std::size_t end = pattern.find(":]", i);
        if (end == std::string_view::npos) return true;
        i = end + 1;
      } else if (c == ']') {
        in_class = false;
      }
    } else if (c == '[') {
      in_class = true;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') ++i;
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') ++i;  // a bracket that is meant
    } else if (c == '^' || c == '$') {
      return true;
    }
  }
  return in_class;  // misread, so nothing is taken for granted
}

std::string as_pattern(std::string_view phrase) {
  std::string pattern;
  for (unsigned char c : phrase) pattern += fmt::format("\\x{:02x}", c);
  return pattern;
}

bool many_values(const Selection& selection) {
  return has_names(selection.variable) && selection.kind != Selection::Kind::kName;
}

}  // namespace

PrefilterRoom::~PrefilterRoom() { hs_free_scratch(scratch_); }

Prefilter::~Prefilter() {
  for (const Group& group : groups_) hs_free_database(group.database);
}

void Prefilter::prepare(PrefilterRoom& room) const {
  for (const Group& group : groups_)
    LEEWARD_CHECK(hs_alloc_scratch(group.database, &room.scratch_) == HS_SUCCESS);
  room.candidates_.assign(candidates_ / 64 + 1, 0);
  room.scanned_.assign(groups_.size(), false);
}

void Prefilter::reset(PrefilterRoom& room) const {
  std::fill(room.candidates_.begin(), room.candidates_.end(), 0);
  std::fill(room.scanned_.begin(), room.scanned_.end(), false);
}

bool Prefilter::scan(PrefilterRoom& room, std::uint32_t group, std::string_view text) const {
  room.scanned_[group] = true;
  const auto on_match = [](unsigned id, unsigned long long, unsigned long long, unsigned,
                           void* bits) {
    static_cast<std::uint64_t*>(bits)[id / 64] |= std::uint64_t{1} << (id % 64);
    return 0;
  };
  const Group& g = groups_[group];
  if (text.size() <= 0x7fffffff &&
      hs_scan(g.database, text.data(), static_cast<unsigned>(text.size()), 0, room.scratch_,
              on_match, room.candidates_.data()) == HS_SUCCESS)
    return true;
  for (std::uint32_t candidate : g.candidates)
    room.candidates_[candidate / 64] |= std::uint64_t{1} << (candidate % 64);
  return false;
}

class PrefilterMaker {
 public:
  explicit PrefilterMaker(Program& program) : program_(program) {}

  Result<std::unique_ptr<const Prefilter>> make(const std::string& cache_file) {
    for (int phase = 1; phase <= kPhases; ++phase)
      for (std::uint32_t number : program_.order[phase]) sort_in(number);
    drop_small();
    PatternCache cache;
    for (const Patterns& patterns : patterns_) cache.add_key(patterns.expressions, patterns.flags);
    const bool cached = !cache_file.empty() && cache.load(cache_file, patterns_.size());
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      hs_database* database = cached ? cache.take(i) : nullptr;
      if (database == nullptr)
        if (auto done = compile(i, database); !done) return fail(std::move(done.error()));
      finish(i, database);
    }
    if (!cached && !cache_file.empty()) {
      for (const Prefilter::Group& group : prefilter_->groups_) cache.put(group.database);
      // Without a cache the next start takes longer, that is all.
      if (auto stored = cache.store(cache_file); !stored)
        program_.notes.push_back(fmt::format("{}: the compiled patterns are not kept: {}",
                                             cache_file, stored.error().message));
    }
    return std::unique_ptr<const Prefilter>(std::move(prefilter_));
  }

 private:
  struct Patterns {
    std::vector<std::string> expressions;
    std::vector<unsigned> flags;
    std::vector<std::uint32_t> rules;  // of each expression
  };

  static bool knows(const Rule& rule) {
    const OperatorUse& use = rule.use;
    if (use.negated || rule.targets.empty() || rule.actions.multi_match) return false;
    if (!std::all_of(rule.targets.begin(), rule.targets.end(), [](const Target& target) {
          return !target.count && is_stable(target.selection.variable) &&
                 target.selection.variable != Variable::kGeo;
        }))
      return false;
    if (use.op == Operator::kRx)
      return use.regex && !anchored_to_text(use.regex->pattern()) &&
             can_compile(use.regex->pattern());
    return (use.op == Operator::kPm || use.op == Operator::kPmFromFile) &&
           use.phrases->phrases().size() <= kPhrasesMax;
  }

  static bool can_compile(const std::string& pattern) {
    hs_expr_info* info = nullptr;
    hs_compile_error* error = nullptr;
    const bool good =
        hs_expression_info(pattern.c_str(), kPatternFlags, &info, &error) == HS_SUCCESS;
    if (error != nullptr) hs_free_compile_error(error);
    std::free(info);
    return good && pattern.find('\0') == std::string::npos;
  }

  void sort_in(std::uint32_t number) {
    const Rule& rule = program_.rules[number];
    if (!knows(rule)) return;
    std::map<std::string, const Selection*> selections;
    for (const Target& target : rule.targets)
      selections.emplace(target.selection.source, &target.selection);
    std::string key = fmt::format("{} ", rule.node);
    const bool lines = rule.use.op == Operator::kRx && needs_lines(rule.use.regex->pattern());
    std::string set =
        std::to_string(rule.phase) + (lines ? "l" : "");  // values may change from phase to phase
    for (const auto& [source, selection] : selections) set += " " + source;
    key += set;
    const auto [at, fresh] = by_key_.emplace(key, prefilter_->groups_.size());
    if (fresh) {
      Prefilter::Group group{.phase = rule.phase, .node = rule.node};
      for (const auto& [source, selection] : selections) group.selections.push_back(*selection);
      group.separator = lines ? '\n' : '\0';
      group.set = sets_.emplace(set, static_cast<std::uint32_t>(sets_.size())).first->second;
      prefilter_->sets_ = sets_.size();
      prefilter_->groups_.push_back(std::move(group));
      patterns_.emplace_back();
    }
    Patterns& patterns = patterns_[at->second];
    const auto add = [&](std::string expression, unsigned flags) {
      patterns.expressions.push_back(std::move(expression));
      patterns.flags.push_back(flags);
      patterns.rules.push_back(number);
    };
    if (rule.use.op == Operator::kRx)
      add(rule.use.regex->pattern(), kPatternFlags);
    else
      for (const std::string& phrase : rule.use.phrases->phrases())
        add(as_pattern(phrase), kPhraseFlags);
  }

  // One rule over one value is faster without a scan.
  void drop_small() {
    for (std::size_t i = patterns_.size(); i-- > 0;) {
      const auto& selections = prefilter_->groups_[i].selections;
      const std::vector<std::uint32_t>& rules = patterns_[i].rules;
      const bool one = std::all_of(rules.begin(), rules.end(),
                                   [&](std::uint32_t rule) { return rule == rules[0]; });
      if (!one || std::any_of(selections.begin(), selections.end(), many_values)) continue;
      patterns_.erase(patterns_.begin() + static_cast<std::ptrdiff_t>(i));
      prefilter_->groups_.erase(prefilter_->groups_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  Status compile(std::size_t number, hs_database*& database) {
    const Patterns& patterns = patterns_[number];
    std::vector<const char*> expressions;
    std::vector<unsigned> ids;
    for (std::size_t i = 0; i < patterns.expressions.size(); ++i) {
      expressions.push_back(patterns.expressions[i].c_str());
      ids.push_back(candidate_of(patterns.rules[i]));
    }
    hs_compile_error* error = nullptr;
    if (hs_compile_multi(expressions.data(), patterns.flags.data(), ids.data(),
                         static_cast<unsigned>(expressions.size()), HS_MODE_BLOCK, nullptr,
                         &database, &error) == HS_SUCCESS)
      return {};
    const std::string why = error->message;
    const int at = error->expression;
    hs_free_compile_error(error);
    return fail(Code::kInternal, "the patterns of rule {} cannot be compiled for a scan: {}",
                at < 0 ? 0 : program_.rules[patterns.rules[static_cast<std::size_t>(at)]].id, why);
  }

  // Numbers are given in the order of the rules, so that a cache fits.
  std::uint32_t candidate_of(std::uint32_t rule) {
    const auto [at, fresh] =
        candidates_.emplace(rule, static_cast<std::uint32_t>(candidates_.size()));
    return at->second;
  }

  void finish(std::size_t number, hs_database* database) {
    Prefilter::Group& group = prefilter_->groups_[number];
    group.database = database;
    for (std::uint32_t rule : patterns_[number].rules) {
      const std::uint32_t candidate = candidate_of(rule);
      program_.rules[rule].candidate = candidate;
      program_.rules[rule].group = static_cast<std::uint32_t>(number);
      if (group.candidates.empty() || group.candidates.back() != candidate)
        group.candidates.push_back(candidate);
    }
    prefilter_->candidates_ = candidates_.size();
    std::size_t bytes = 0;
    if (hs_database_size(database, &bytes) == HS_SUCCESS) prefilter_->bytes_ += bytes;
  }

  Program& program_;
  std::unique_ptr<Prefilter> prefilter_{new Prefilter()};
  std::vector<Patterns> patterns_;  // of each group
  std::map<std::string, std::size_t> by_key_;
  std::map<std::string, std::uint32_t> sets_;
  std::map<std::uint32_t, std::uint32_t> candidates_;  // of each rule
};

Result<std::unique_ptr<const Prefilter>> Prefilter::make(Program& program,
                                                         const std::string& cache_file) {
  return PrefilterMaker(program).make(cache_file);
}

}  // namespace leeward::waf
