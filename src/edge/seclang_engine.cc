#include "edge/seclang_engine.h"

#include <algorithm>
#include <utility>

#include "waf/load_rules.h"
#include "waf/policy.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kMessageMax = 256;
constexpr std::size_t kVariableMax = 128;
constexpr std::size_t kValueMax = 256;
constexpr std::size_t kIdleMax = 64;
constexpr int kFirstResponsePhase = 3;

void refuse(const waf::Intervention& intervention, WafVerdict& verdict) {
  verdict.kind = WafVerdict::Kind::kBlock;
  verdict.status = intervention.status;
  verdict.location = intervention.location;
  const bool redirects = verdict.status >= 300 && verdict.status <= 399;
  if (verdict.location.empty() ? verdict.status < 400 || verdict.status > 599 : !redirects)
    verdict.status = 403;
  verdict.decisive = {
      .rule = intervention.rule == 0 ? std::string("limit") : fmt::format("{}", intervention.rule),
      .message = intervention.rule != 0     ? ""
                 : intervention.why.empty() ? "more than can be inspected"
                                            : intervention.why.substr(0, kMessageMax)};
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
      new SecLangEngine(std::move(*rules), std::move(collections), SecretMask(settings.mask)));
}

RuleMatch SecLangEngine::match_of(const waf::MatchedRule& rule) const {
  return {.rule = fmt::format("{}", rule.id),
          .message = rule.message.substr(0, kMessageMax),
          .variable = rule.variable.substr(0, kVariableMax),
          .value = mask_.matched(rule.origin, rule.value).substr(0, kValueMax),
          .place = rule.place,
          .severity = rule.severity,
          .audit = rule.audit};
}

void SecLangEngine::add_matches(const waf::Transaction& transaction, int first_phase,
                                WafVerdict& verdict) const {
  for (const waf::MatchedRule& rule : transaction.matches()) {
    if (rule.phase < first_phase) continue;
    if (rule.told && verdict.matches.size() < WafVerdict::kMatchesMax)
      verdict.matches.push_back(match_of(rule));
    if (!rule.disruptive) continue;
    verdict.decisive = match_of(rule);
    verdict.challenge =
        std::find(rule.tags.begin(), rule.tags.end(), waf::kChallengeTag) != rule.tags.end();
  }
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
  return *run(request, nullptr, std::chrono::steady_clock::time_point::max());
}

std::optional<WafVerdict> SecLangEngine::inspect_at_once(const InspectedRequest& request) const {
  if (request.body_inspected > (request.body_coded ? 0 : kAtOnceBodyBytes)) return std::nullopt;
  if (request.head_bytes() > kAtOnceHeadBytes) return std::nullopt;
  return run(request, nullptr, std::chrono::steady_clock::now() + kAtOnceTime);
}

WafVerdict SecLangEngine::inspect_response(const InspectedRequest& request,
                                           const InspectedResponse& response) const {
  return *run(request, &response, std::chrono::steady_clock::time_point::max());
}

std::optional<WafVerdict> SecLangEngine::inspect_response_at_once(
    const InspectedRequest& request, const InspectedResponse& response) const {
  if (response.body.size() > kAtOnceBodyBytes) return std::nullopt;
  return run(request, &response, std::chrono::steady_clock::now() + kAtOnceTime);
}

bool SecLangEngine::reads_body_of(std::string_view media_type) const {
  if (!rules_->settings().response_body_access) return false;
  const auto& types = rules_->settings().response_mime_types;
  return std::any_of(types.begin(), types.end(),
                     [&](const std::string& type) { return same_name(type, media_type); });
}

// Nothing when the deadline has passed before the rules ended.
std::optional<WafVerdict> SecLangEngine::run(const InspectedRequest& request,
                                             const InspectedResponse* response,
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
    std::vector<waf::HeaderField> answered;
    head.ja4 = request.ja4;
    head.crawler = request.crawler;
    std::vector<waf::HeaderField> facts;
    if (request.challenge_passed) facts.push_back({waf::kPassedFact, "1"});
    head.facts = facts;
    waf::Transaction transaction(*workspace, *collections_,
                                 {.now = std::chrono::steady_clock::now(),
                                  .wall = std::chrono::system_clock::now(),
                                  .deadline = deadline});
    const std::string_view body = std::string_view(request.body).substr(0, request.body_inspected);
    if (response != nullptr) {
      answered.reserve(response->fields.size());
      for (const auto& [name, value] : response->fields) answered.push_back({name, value});
      transaction.request_headers_again(head);
      if (transaction.response_headers(response->status, response->protocol, answered) ||
          transaction.response_body(response->body))
        refuse(transaction.intervention(), *verdict);
    } else {
      if (transaction.request_headers(head) || transaction.request_body(body))
        refuse(transaction.intervention(), *verdict);
      if (!transaction.unfinished()) transaction.logging();
    }
    add_matches(transaction, response != nullptr ? kFirstResponsePhase : 1, *verdict);
    if (transaction.unfinished()) verdict.reset();
  }
  give_back(std::move(workspace));
  return verdict;
}

}  // namespace leeward::edge
