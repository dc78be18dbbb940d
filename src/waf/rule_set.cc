#include "waf/rule_set.h"

#include "waf/internal/prefilter.h"
#include "waf/internal/program_builder.h"

namespace leeward::waf {
namespace {

Result<std::unique_ptr<Program>> build(const std::vector<Directive>& directives, Problems& problems,
                                       const RuleSet::Options& options) {
  ProgramBuilder builder(problems, options);
  for (const Directive& directive : directives) builder.read(directive);
  std::unique_ptr<Program> program = builder.build();
  if (!problems.empty()) return fail(problems.error());
  if (options.overrule.in_force) {
    program->settings.engine = Engine::kOn;
    program->settings.request_body_access = true;
    program->settings.request_body_bytes_max = options.overrule.request_body_bytes_max;
    program->settings.request_body_reject = false;
  }
  if (options.prefilter) {
    auto prefilter = Prefilter::make(*program, options.cache_file);
    if (!prefilter) return fail(std::move(prefilter.error()));
    program->prefilter = std::move(*prefilter);
  }
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
std::size_t RuleSet::compiled_bytes() const {
  return program_->prefilter ? program_->prefilter->bytes() : 0;
}

}  // namespace leeward::waf
