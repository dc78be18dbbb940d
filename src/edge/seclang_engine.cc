#include "edge/seclang_engine.h"

#include <algorithm>
#include <utility>

#include "waf/load_rules.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kMessageMax = 256;
constexpr std::size_t kVariableMax = 128;
constexpr std::size_t kIdleMax = 64;

RuleMatch match_of(const waf::MatchedRule& rule) {
  return {.rule = fmt::format("{}", rule.id),
          .message = rule.message.substr(0, kMessageMax),
          .variable = rule.variable.substr(0, kVariableMax)};
}

void add_matches(const waf::Transaction& transaction, WafVerdict& verdict) {
  for (const waf::MatchedRule& rule : transaction.matches()) {
    if (rule.told && verdict.matches.size() < WafVerdict::kMatchesMax)
      verdict.matches.push_back(match_of(rule));
    if (rule.disruptive) verdict.decisive = match_of(rule);
  }
}

void refuse(const waf::Intervention& intervention, WafVerdict& verdict) {
  verdict.kind = WafVerdict::Kind::kBlock;
  verdict.status = intervention.status;
  verdict.location = intervention.location;
  const bool redirects = verdict.status >= 300 && verdict.status <= 399;
  if (verdict.location.empty() ? verdict.status < 400 || verdict.status > 599 : !redirects)
    verdict.status = 403;
  verdict.decisive = {
      .rule = intervention.rule == 0 ? std::string("limit") : fmt::format("{}", intervention.rule),
      .message = intervention.rule == 0 ? "more than can be inspected" : ""};
}

}  // namespace

Result<std::shared_ptr<const SecLangEngine>> SecLangEngine::load(const EdgeWaf& settings,
                                                                 const std::string& cache_file,
                                                                 const SecLangEngine* before) {
  waf::RuleSet::Options options;
  options.cache_file = cache_file;
  options.overrule = {.in_force = true, .request_body_bytes_max = settings.body_bytes_max};
  auto rules = waf::load_rules(settings, {}, options);
  if (!rules) return fail(std::move(rules.error()));
  if ((*rules)->rules() == 0)
    return fail(Code::kInvalid, "{}: there is no rule in it; nothing would be refused",
                settings.policy ? "policy" : settings.rules_file);
  auto collections = before != nullptr ? before->collections_
                                       : std::make_shared<waf::Collections>(std::chrono::seconds(
                                             (*rules)->settings().collection_timeout_seconds));
  return std::shared_ptr<const SecLangEngine>(
      new SecLangEngine(std::move(*rules), std::move(collections)));
}

std::unique_ptr<waf::Workspace> SecLangEngine::take_workspace() const {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto workspace = std::move(idle_.back());
      idle_.pop_back();
      return workspace;
    }
  }
  return std::make_unique<waf::Workspace>(rules_);
}

void SecLangEngine::give_back(std::unique_ptr<waf::Workspace> workspace) const {
  std::lock_guard lock(mutex_);
  if (idle_.size() < kIdleMax) idle_.push_back(std::move(workspace));
}

WafVerdict SecLangEngine::inspect(const InspectedRequest& request) const {
  return *run(request, std::chrono::steady_clock::time_point::max());
}

std::optional<WafVerdict> SecLangEngine::inspect_at_once(const InspectedRequest& request) const {
  if (request.body_inspected > kAtOnceBodyBytes) return std::nullopt;
  std::size_t head = request.target.size();
  for (const auto& [name, value] : request.fields) head += name.size() + value.size();
  if (head > kAtOnceHeadBytes) return std::nullopt;
  return run(request, std::chrono::steady_clock::now() + kAtOnceTime);
}

// Nothing when the deadline has passed before the rules ended.
std::optional<WafVerdict> SecLangEngine::run(const InspectedRequest& request,
                                             std::chrono::steady_clock::time_point deadline) const {
  std::unique_ptr<waf::Workspace> workspace = take_workspace();
  std::optional<WafVerdict> verdict(std::in_place);
  {
    const std::string client = to_string(request.client);
    std::vector<waf::HeaderField> fields;
    fields.reserve(request.fields.size());
    for (const auto& [name, value] : request.fields) fields.push_back({name, value});
    waf::RequestHead head;
    head.client_address = client;
    head.client_port = request.client.port;
    head.method = request.method;
    head.target = request.target;
    head.protocol = request.protocol;
    head.fields = fields;
    waf::Transaction transaction(*workspace, *collections_,
                                 {.now = std::chrono::steady_clock::now(),
                                  .wall = std::chrono::system_clock::now(),
                                  .deadline = deadline});
    const std::string_view body = std::string_view(request.body).substr(0, request.body_inspected);
    if (transaction.request_headers(head) || transaction.request_body(body))
      refuse(transaction.intervention(), *verdict);
    if (!transaction.unfinished()) transaction.logging();
    add_matches(transaction, *verdict);
    if (transaction.unfinished()) verdict.reset();
  }
  give_back(std::move(workspace));
  return verdict;
}

}  // namespace leeward::edge
