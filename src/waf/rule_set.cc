#include "waf/rule_set.h"

#include <algorithm>
#include <thread>

#include "base/sha256.h"
#include "waf/internal/byte_classes.h"
#include "waf/internal/prefilter.h"
#include "waf/internal/program_builder.h"

namespace leeward::waf {
namespace {

std::optional<Comparison> comparison_of(Operator op) {
  switch (op) {
    case Operator::kEq:
      return Comparison::kEq;
    case Operator::kGe:
      return Comparison::kGe;
    case Operator::kGt:
      return Comparison::kGt;
    case Operator::kLe:
      return Comparison::kLe;
    case Operator::kLt:
      return Comparison::kLt;
    default:
      return std::nullopt;
  }
}

Step step_of(const Rule& rule, std::uint32_t number) {
  Step step{.rule = number, .candidate = rule.candidate, .group = rule.group};
  const auto comparison = comparison_of(rule.use.op);
  if (!comparison || rule.targets.size() != 1 || rule.node != 0 || rule.actions.multi_match ||
      !rule.use.argument.is_literal())
    return step;
  const Target& target = rule.targets[0];
  if (target.selection.variable != Variable::kTx ||
      target.selection.kind != Selection::Kind::kName || !target.without.empty())
    return step;
  step.kind = target.count ? Step::Kind::kCount : Step::Kind::kNumber;
  step.negated = rule.use.negated;
  step.comparison = *comparison;
  step.number = number_of(*comparison, rule.use.argument.literal());
  step.selection = &target.selection;
  step.matched_name = target.count
                          ? target.selection.source
                          : fmt::format("{}:{}", name(Variable::kTx), target.selection.name);
  return step;
}

void note_changed_classes(Program& program) {
  program.changed_classes.push_back(0);
  for (std::uint16_t node = 1; node < program.transforms.size(); ++node) {
    const TransformTree::Node& step = program.transforms[node];
    const bool path =
        step.step == Transform::kNormalizePath || step.step == Transform::kNormalizePathWin;
    program.changed_classes.push_back(static_cast<std::uint16_t>(
        program.changed_classes[step.parent] |
        (path ? kSlash | kBackslash | kDot : changed_classes(step.step))));
  }
}

void make_steps(Program& program) {
  for (std::size_t phase = 0; phase < program.order.size(); ++phase)
    for (const std::uint32_t number : program.order[phase])
      program.steps[phase].push_back(step_of(program.rules[number], number));
}

std::string digest_of(const std::vector<Directive>& directives, const std::string& files) {
  std::string all = files;
  for (const Directive& directive : directives) {
    all.append(directive.name.text);
    for (const Word& word : directive.arguments) (all += '\0').append(word.text);
    all += '\n';
  }
  return sha256_hex(all);
}

unsigned threads_of(const RuleSet::Options& options) {
  if (options.compile_threads > 0) return options.compile_threads;
  return std::clamp(std::thread::hardware_concurrency(), 1u, RuleSet::kThreadsMax);
}

Result<std::unique_ptr<Program>> build(const std::vector<Directive>& directives, Problems& problems,
                                       const RuleSet::Options& options) {
  ProgramBuilder builder(problems, options);
  for (const Directive& directive : directives) builder.read(directive);
  std::unique_ptr<Program> program = builder.build();
  program->digest = digest_of(directives, builder.files_read());
  if (!problems.empty()) return fail(problems.error());
  if (options.overrule.in_force) {
    program->settings.engine = Engine::kOn;
    program->settings.request_body_access = true;
    program->settings.request_body_bytes_max = options.overrule.request_body_bytes_max;
    program->settings.request_body_reject = false;
  }
  program->settings.coded_body = options.coded_body;
  note_changed_classes(*program);
  if (options.prefilter) {
    auto prefilter = Prefilter::make(
        *program, {.cache_file = options.cache_file, .threads = threads_of(options)});
    if (!prefilter) return fail(std::move(prefilter.error()));
    program->prefilter = std::move(*prefilter);
  }
  make_steps(*program);
  return program;
}

}  // namespace

RuleSet::RuleSet(std::unique_ptr<const Program> program) : program_(std::move(program)) {}
RuleSet::~RuleSet() = default;

Result<std::shared_ptr<const RuleSet>> RuleSet::load(const std::string& path,
                                                     const Options& options) {
  Problems problems;
  auto directives = parse_seclang_file(path, problems);
  if (!directives) return fail(std::move(directives.error()));
  auto program = build(*directives, problems, options);
  if (!program) return fail(std::move(program.error()));
  return std::shared_ptr<const RuleSet>(new RuleSet(std::move(*program)));
}

Result<std::shared_ptr<const RuleSet>> RuleSet::parse(std::string_view text,
                                                      const std::string& name,
                                                      const Options& options) {
  Problems problems;
  auto directives = options.files ? parse_seclang_and_includes(text, name, problems)
                                  : parse_seclang(text, name, problems);
  auto program = build(directives, problems, options);
  if (!program) return fail(std::move(program.error()));
  return std::shared_ptr<const RuleSet>(new RuleSet(std::move(*program)));
}

std::size_t RuleSet::rules() const { return program_->heads; }
const Settings& RuleSet::settings() const { return program_->settings; }
const std::vector<std::string>& RuleSet::notes() const { return program_->notes; }
const std::string& RuleSet::digest() const { return program_->digest; }
std::size_t RuleSet::compiled_bytes() const {
  return program_->prefilter ? program_->prefilter->bytes() : 0;
}

}  // namespace leeward::waf
