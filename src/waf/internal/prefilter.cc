#include "waf/internal/prefilter.h"

#include <hs/hs.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>
#include <set>
#include <system_error>
#include <thread>

#include "base/check.h"
#include "waf/internal/byte_classes.h"
#include "waf/internal/pattern_cache.h"
#include "waf/internal/program.h"

namespace leeward::waf {
namespace {

constexpr unsigned kPatternFlags = HS_FLAG_PREFILTER | HS_FLAG_ALLOWEMPTY | HS_FLAG_SINGLEMATCH |
                                   HS_FLAG_DOTALL | HS_FLAG_MULTILINE;
constexpr unsigned kPhraseFlags = HS_FLAG_CASELESS | HS_FLAG_SINGLEMATCH;
constexpr std::size_t kPhrasesMax = 20'000;  // of one rule
constexpr std::size_t kPhraseIsFaster = 50;  // than a regular expression of that length, to compile

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

bool many_values(const Selection& selection) {
  return has_names(selection.variable) && selection.kind != Selection::Kind::kName;
}

// Variables that are scanned together. Each scan costs its own time, but what one finds in a value
// lets all rules look that have such an expression: so kinds of values that look different are
// scanned apart.
enum class Family : std::uint8_t { kFields, kHeaders, kBodies, kLines };

Family family_of(Variable variable) {
  switch (variable) {
    case Variable::kRequestHeaders:
    case Variable::kRequestHeadersNames:
    case Variable::kResponseHeaders:
    case Variable::kResponseHeadersNames:
      return Family::kHeaders;
    case Variable::kRequestBody:
    case Variable::kResponseBody:
    case Variable::kFullRequest:
      return Family::kBodies;
    default:
      return index(variable) < kListCount ? Family::kFields : Family::kLines;
  }
}

// ARGS has all values of ARGS_GET and of ARGS_POST.
Selection widened(const Selection& selection) {
  if (selection.kind != Selection::Kind::kAll) return selection;
  const auto all_of = [](Variable variable) {
    Selection all;
    all.variable = variable;
    all.source = name(variable);
    return all;
  };
  switch (selection.variable) {
    case Variable::kArgsGet:
    case Variable::kArgsPost:
      return all_of(Variable::kArgs);
    case Variable::kArgsGetNames:
    case Variable::kArgsPostNames:
      return all_of(Variable::kArgsNames);
    default:
      return selection;
  }
}

void set_bit(Prefilter::Bits& bits, std::uint32_t bit) {
  bits[bit / 64] |= std::uint64_t{1} << (bit % 64);
}

}  // namespace

PrefilterRoom::~PrefilterRoom() { hs_free_scratch(scratch_); }

Prefilter::~Prefilter() {
  for (hs_database* database : databases_) hs_free_database(database);
}

void Prefilter::prepare(PrefilterRoom& room) const {
  for (const hs_database* database : databases_)
    LEEWARD_CHECK(hs_alloc_scratch(database, &room.scratch_) == HS_SUCCESS);
  room.candidates_ = room.found_ = no_candidates();
  room.scanned_.assign(scans_.size(), false);
  room.ready_.assign(groups_.size(), false);
}

void Prefilter::reset(PrefilterRoom& room) const {
  std::fill(room.candidates_.begin(), room.candidates_.end(), 0);
  room.scanned_.assign(scans_.size(), false);
  room.ready_.assign(groups_.size(), false);
}

void Prefilter::look(PrefilterRoom& room, std::uint32_t scan, std::string_view text,
                     std::span<const std::uint64_t> among) const {
  const auto on_match = [](unsigned id, unsigned long long, unsigned long long, unsigned,
                           void* bits) {
    static_cast<std::uint64_t*>(bits)[id / 64] |= std::uint64_t{1} << (id % 64);
    return 0;
  };
  std::fill(room.found_.begin(), room.found_.end(), 0);
  const bool done = text.size() <= 0x7fffffff &&
                    hs_scan(scans_[scan].database, text.data(), static_cast<unsigned>(text.size()),
                            0, room.scratch_, on_match, room.found_.data()) == HS_SUCCESS;
  for (std::size_t i = 0; i < among.size(); ++i)
    room.candidates_[i] |= done ? room.found_[i] & among[i] : among[i];
}

class PrefilterMaker {
 public:
  explicit PrefilterMaker(Program& program) : program_(program) {}

  Result<std::unique_ptr<const Prefilter>> make(const Prefilter::Options& options) {
    for (Rule& rule : program_.rules) note_classes(rule);
    for (int phase = 1; phase <= kPhases; ++phase) sort_phase(phase);
    find_distinct();
    PatternCache cache;
    for (const std::size_t one : distinct_)
      cache.add_key(patterns_[one].expressions, patterns_[one].flags, patterns_[one].candidates);
    std::vector<hs_database*>& databases = prefilter_->databases_;
    databases.resize(distinct_.size());
    const std::string& file = options.cache_file;
    const bool cached = !file.empty() && cache.load(file, databases.size());
    if (cached)
      for (std::size_t i = 0; i < databases.size(); ++i) databases[i] = cache.take(i);
    else if (auto done = compile_all(options.threads); !done)
      return fail(std::move(done.error()));
    for (const hs_database* database : databases) {
      std::size_t bytes = 0;
      if (hs_database_size(database, &bytes) == HS_SUCCESS) prefilter_->bytes_ += bytes;
    }
    if (!cached && !file.empty()) {
      for (const hs_database* database : databases) cache.put(database);
      // Without a cache the next start takes longer, that is all.
      if (auto stored = cache.store(file); !stored)
        program_.notes.push_back(fmt::format("{}: the compiled patterns are not kept: {}", file,
                                             stored.error().message));
    }
    finish();
    return std::unique_ptr<const Prefilter>(std::move(prefilter_));
  }

 private:
  struct Patterns {
    std::vector<std::string> expressions;
    std::vector<unsigned> flags;
    std::vector<unsigned> candidates;  // of each expression
    bool phrases = false;              // they are no regular expressions

    bool operator==(const Patterns&) const = default;
    // Roughly what compiling takes.
    std::size_t work() const {
      const std::size_t bytes = std::accumulate(
          expressions.begin(), expressions.end(), std::size_t{0},
          [](std::size_t sum, const std::string& expression) { return sum + expression.size(); });
      return phrases ? bytes / kPhraseIsFaster : bytes;
    }
  };
  // A rule that the prefilter takes.
  struct Taken {
    std::uint32_t rule;
    std::string guards;
  };

  // Expressions that Hyperscan is slow to look for together: phrases, long alternatives (of which
  // the pieces are short), and the others.
  enum class Kind : std::uint8_t { kPhrases, kLong, kOther };
  static constexpr std::size_t kLongFrom = 1000;

  // Rules of which a chain with single values must have more for a scan to be faster than they are.
  static constexpr std::size_t kFew = 3;
  // Different sets of guards in a phase; rules with further ones are scanned as if they had none.
  static constexpr std::size_t kGuardsMax = 16;

  static bool knows(const Rule& rule) {
    const OperatorUse& use = rule.use;
    if (use.negated || rule.targets.empty()) return false;
    if (!std::all_of(rule.targets.begin(), rule.targets.end(), [](const Target& target) {
          const Variable variable = target.selection.variable;
          return !target.count && is_stable(variable) && variable != Variable::kGeo &&
                 variable != Variable::kReqbodyProcessor;  // ctl sets it
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

  static void note_classes(Rule& rule) {
    const OperatorUse& use = rule.use;
    if (use.negated) return;
    if (use.op == Operator::kRx && use.regex) {
      rule.first_classes = classes_of(use.regex->first_bytes());
      rule.last_classes = classes_of(use.regex->needed_bytes());
    } else if (use.op == Operator::kValidateByteRange) {
      rule.first_classes = classes_of(~use.bytes->inside());
    } else if (use.op == Operator::kDetectXss) {  // see detect_xss()
      rule.first_classes = kByteClasses['<'] | kByteClasses['='];
    } else if (use.op == Operator::kDetectSqli) {  // letters are one word
      rule.first_classes = static_cast<std::uint16_t>(~(kUpper | kLower | kAny));
    }
  }

  static std::uint16_t classes_of(const std::bitset<256>& bytes) {
    std::uint16_t classes = bytes.all() ? kAny : 0;
    for (std::size_t c = 0; c < bytes.size(); ++c)
      if (bytes.test(c)) classes |= kByteClasses[c];
    return classes;
  }

  static bool has_single_values(const Rule& rule) {
    return std::none_of(rule.targets.begin(), rule.targets.end(),
                        [](const Target& target) { return many_values(target.selection); });
  }

  static std::string guard_of(const Rule& rule) {
    std::string text = rule.use.negated ? "!" : "";
    text += fmt::format("{} {}", name(rule.use.op), rule.use.argument.source());
    for (const Target& target : rule.targets)
      for (const char c : target.selection.source) text += c >= 'A' && c <= 'Z' ? char(c + 32) : c;
    return rule.chained == Rule::kNowhere ? text : fmt::format("{} {}", text, rule.id);
  }

  void sort_phase(int phase) {
    std::vector<std::pair<std::uint32_t, std::string>> guards;  // until which position, and what
    std::vector<Taken> taken;
    std::set<std::string> known;
    std::map<std::string, std::size_t> single;  // rules with single values, by guards and node
    const std::vector<std::uint32_t>& order = program_.order[static_cast<std::size_t>(phase)];
    for (std::uint32_t at = 0; at < order.size(); ++at) {
      std::erase_if(guards, [at](const auto& guard) { return guard.first <= at; });
      const Rule& rule = program_.rules[order[at]];
      if (knows(rule)) {
        std::set<std::string> texts;
        for (const auto& [until, text] : guards) texts.insert(text);
        std::string all = fmt::format("{}", fmt::join(texts, "\n"));
        if (!known.contains(all) && known.size() >= kGuardsMax) all.clear();
        known.insert(all);
        if (has_single_values(rule)) ++single[fmt::format("{} {}", rule.node, all)];
        taken.push_back({order[at], std::move(all)});
      }
      if (rule.skip_to != Rule::kNowhere && rule.skip_to > at)
        guards.emplace_back(rule.skip_to, guard_of(rule));
    }
    std::erase_if(taken, [&](const Taken& one) {
      const Rule& rule = program_.rules[one.rule];
      return has_single_values(rule) && single[fmt::format("{} {}", rule.node, one.guards)] <= kFew;
    });
    for (const Taken& one : taken) sort_in(one);
  }

  static Kind kind_of(const Rule& rule) {
    if (rule.use.op != Operator::kRx) return Kind::kPhrases;
    return rule.use.regex->pattern().size() >= kLongFrom ? Kind::kLong : Kind::kOther;
  }

  // Chains that come to the same when they change nothing but the case of letters. Those with a
  // step that changes every text share their scan with no other chain.
  std::string makes_of(const Rule& rule) const {
    bool lower = false;
    for (std::uint16_t node = rule.node; node != 0; node = program_.transforms[node].parent) {
      const Transform step = program_.transforms[node].step;
      lower |= step == Transform::kLowercase || step == Transform::kCmdLine;
      if (step != Transform::kNormalizePath && step != Transform::kNormalizePathWin &&
          changed_classes(step) == kAny)
        return std::to_string(rule.node);
    }
    return lower ? "lower" : "";
  }

  void sort_in(const Taken& taken) {
    Rule& rule = program_.rules[taken.rule];
    rule.candidate = static_cast<std::uint32_t>(prefilter_->candidates_++);
    const bool lines = rule.use.op == Operator::kRx && needs_lines(rule.use.regex->pattern());
    std::set<std::uint32_t> scans;
    for (const Target& target : rule.targets) {
      const Selection selection = widened(target.selection);
      const Family family = family_of(selection.variable);
      const bool whole = selection.kind == Selection::Kind::kAll ||
                         selection.variable == Variable::kXml;  // which is seldom there
      const char separator = lines || family != Family::kFields ? '\n' : '\0';
      const std::uint32_t number = scan_of(fmt::format(
          "{} {} {} {:d} {} {} {}", rule.phase, int{separator}, static_cast<int>(family), whole,
          static_cast<int>(kind_of(rule)), makes_of(rule), taken.guards));
      prefilter_->scans_[number].separator = separator;
      const std::uint32_t place = place_of(number, selection);
      // With multiMatch it looks at what each of its transformations makes.
      if (rule.actions.multi_match)
        for (const std::uint16_t node : rule.steps) add_to_chain(number, node, place, rule);
      else
        add_to_chain(number, rule.node, place, rule);
      scans.insert(number);
    }
    for (const std::uint32_t number : scans) add_patterns(patterns_[number], rule);
    const std::vector<std::uint32_t> group(scans.begin(), scans.end());
    const auto [at, fresh] =
        groups_.emplace(group, static_cast<std::uint32_t>(prefilter_->groups_.size()));
    if (fresh) prefilter_->groups_.push_back(group);
    rule.group = at->second;
  }

  std::uint32_t scan_of(const std::string& key) {
    const auto [at, fresh] = by_key_.emplace(key, static_cast<std::uint32_t>(patterns_.size()));
    if (fresh) {
      patterns_.emplace_back();
      prefilter_->scans_.emplace_back();
    }
    return at->second;
  }

  std::uint32_t place_of(std::uint32_t scan, const Selection& selection) {
    std::vector<Selection>& all = prefilter_->scans_[scan].selections;
    const auto found = std::find_if(all.begin(), all.end(), [&](const Selection& other) {
      return other.source == selection.source;
    });
    const auto place = static_cast<std::uint32_t>(found - all.begin());
    if (found == all.end()) all.push_back(selection);
    return place;
  }

  // Bits are added by number for now; finish() makes all of one size.
  void add_to_chain(std::uint32_t scan, std::uint16_t node, std::uint32_t place, const Rule& rule) {
    std::vector<Prefilter::Chain>& chains = prefilter_->scans_[scan].chains;
    auto chain = std::find_if(chains.begin(), chains.end(),
                              [&](const Prefilter::Chain& other) { return other.node == node; });
    if (chain == chains.end()) chain = chains.insert(chain, Prefilter::Chain{.node = node});
    if (std::find(chain->selections.begin(), chain->selections.end(), place) ==
        chain->selections.end())
      chain->selections.push_back(place);
    chain->candidates.resize(prefilter_->candidates_ / 64 + 1);
    set_bit(chain->candidates, rule.candidate);
  }

  static void add_patterns(Patterns& patterns, const Rule& rule) {
    const auto add = [&](std::string expression, unsigned flags) {
      patterns.expressions.push_back(std::move(expression));
      patterns.flags.push_back(flags);
      patterns.candidates.push_back(rule.candidate);
    };
    patterns.phrases = rule.use.op != Operator::kRx;
    if (!patterns.phrases)
      add(rule.use.regex->pattern(), kPatternFlags);
    else
      for (const std::string& phrase : rule.use.phrases->phrases()) add(phrase, kPhraseFlags);
  }

  // Scans of the same patterns share a database: rules look for the same in values of several
  // families.
  void find_distinct() {
    for (const Patterns& patterns : patterns_) {
      std::size_t at = 0;
      while (at < distinct_.size() && !(patterns_[distinct_[at]] == patterns)) ++at;
      if (at == distinct_.size())
        distinct_.push_back(static_cast<std::size_t>(&patterns - patterns_.data()));
      database_of_.push_back(at);
    }
  }

  // Several at a time: each is Hyperscan's own work, and which thread does it makes no difference
  // to what comes out. Those that take long begin first. Of several errors the first one's is told.
  Status compile_all(unsigned threads) {
    std::vector<std::size_t> order(distinct_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return patterns_[distinct_[a]].work() > patterns_[distinct_[b]].work();
    });
    std::vector<Status> done(distinct_.size());
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t at = next++; at < order.size(); at = next++)
        done[order[at]] =
            compile(patterns_[distinct_[order[at]]], prefilter_->databases_[order[at]]);
    };
    std::vector<std::thread> others;
    while (others.size() + 1 < std::min<std::size_t>(threads, order.size())) {
      try {
        others.emplace_back(work);
      } catch (const std::system_error&) {  // no more threads are to be had: those that are do it
        break;
      }
    }
    work();
    for (std::thread& other : others) other.join();
    for (Status& one : done)
      if (!one) return std::move(one);
    return {};
  }

  Status compile(const Patterns& patterns, hs_database*& database) const {
    std::vector<const char*> expressions;
    std::vector<std::size_t> sizes;
    for (const std::string& expression : patterns.expressions) {
      expressions.push_back(expression.c_str());
      sizes.push_back(expression.size());
    }
    const auto count = static_cast<unsigned>(expressions.size());
    hs_compile_error* error = nullptr;
    const hs_error_t done =
        patterns.phrases ? hs_compile_lit_multi(expressions.data(), patterns.flags.data(),
                                                patterns.candidates.data(), sizes.data(), count,
                                                HS_MODE_BLOCK, nullptr, &database, &error)
                         : hs_compile_multi(expressions.data(), patterns.flags.data(),
                                            patterns.candidates.data(), count, HS_MODE_BLOCK,
                                            nullptr, &database, &error);
    if (done == HS_SUCCESS) return {};
    const std::string why = error->message;
    const int at = error->expression;
    hs_free_compile_error(error);
    const auto rule =
        std::find_if(program_.rules.begin(), program_.rules.end(), [&](const Rule& one) {
          return at >= 0 && one.candidate == patterns.candidates[static_cast<std::size_t>(at)];
        });
    if (rule == program_.rules.end())
      return fail(Code::kInternal, "the patterns of the rules cannot be compiled for a scan: {}",
                  why);
    return fail(Code::kInternal,
                "{}: the pattern of rule {} cannot be compiled for a scan: {}; write it otherwise",
                rule->place.text(), rule->id, why);
  }

  void finish() {
    for (std::size_t i = 0; i < prefilter_->scans_.size(); ++i)
      prefilter_->scans_[i].database = prefilter_->databases_[database_of_[i]];
    for (Prefilter::Scan& scan : prefilter_->scans_) {
      scan.candidates = prefilter_->no_candidates();
      for (Prefilter::Chain& chain : scan.chains) {
        chain.candidates.resize(scan.candidates.size());
        for (std::size_t i = 0; i < scan.candidates.size(); ++i)
          scan.candidates[i] |= chain.candidates[i];
        scan.changed_classes |= program_.changed_classes[chain.node];
      }
    }
  }

  Program& program_;
  std::unique_ptr<Prefilter> prefilter_{new Prefilter()};
  std::vector<Patterns> patterns_;        // of each scan
  std::vector<std::size_t> distinct_;     // scans whose patterns are no other's before
  std::vector<std::size_t> database_of_;  // of each scan: the position in distinct_
  std::map<std::string, std::uint32_t> by_key_;
  std::map<std::vector<std::uint32_t>, std::uint32_t> groups_;
};

Result<std::unique_ptr<const Prefilter>> Prefilter::make(Program& program, const Options& options) {
  return PrefilterMaker(program).make(options);
}

}  // namespace leeward::waf
