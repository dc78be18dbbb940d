#include "app/waf_judge.h"

#include <chrono>
#include <utility>

#include "base/time.h"

namespace leeward::app {
namespace {

constexpr std::string_view kRequests = "leeward_waf_requests_total";
constexpr std::string_view kRequestsHelp = "Requests judged, by outcome.";

}  // namespace

WafJudge::WafJudge(Rules rules, bool enforce, edge::SecretMask mask, const Logger& logger,
                   Registry& registry)
    : enforce_(enforce),
      mask_(std::move(mask)),
      logger_(logger.with("waf")),
      collections_(std::chrono::seconds(rules->settings().collection_timeout_seconds)),
      rules_(std::move(rules)),
      passed_(registry.counter(kRequests, kRequestsHelp, {{"outcome", "pass"}})),
      refused_(registry.counter(kRequests, kRequestsHelp, {{"outcome", "block"}})),
      detected_(registry.counter(kRequests, kRequestsHelp, {{"outcome", "detect"}})),
      seconds_(registry.histogram("leeward_waf_seconds", "Time to judge a request.")) {}

void WafJudge::use(Rules rules) {
  std::lock_guard lock(mutex_);
  rules_ = std::move(rules);
}

WafJudge::Rules WafJudge::rules() {
  std::lock_guard lock(mutex_);
  return rules_;
}

Judgement WafJudge::judge(const OfferedRequest& request, std::optional<waf::Workspace>& workspace) {
  const BootTime begun = BootClock::now();
  const Rules now = rules();
  if (!workspace || &workspace->rules() != now.get()) workspace.emplace(now);
  std::vector<waf::HeaderField> fields;
  fields.reserve(request.fields.size());
  for (const auto& [name, value] : request.fields) fields.push_back({name, value});
  waf::RequestHead head;
  head.client_address = request.address;
  head.client_port = request.port;
  head.method = request.method;
  head.target = request.target;
  head.protocol = request.protocol;
  head.fields = fields;
  waf::Transaction t(*workspace, collections_,
                     {std::chrono::steady_clock::now(), std::chrono::system_clock::now()});
  if (!t.request_headers(head)) t.request_body(request.body);
  t.logging();
  Judgement j;
  j.refused = t.intervention().due;
  j.enforced = j.refused && enforce_;
  j.status = t.intervention().status;
  j.rule = t.intervention().rule;
  for (const char* name : {"blocking_inbound_anomaly_score", "anomaly_score"})
    if (j.score.empty()) j.score = t.tx(name);
  (j.enforced ? refused_ : j.refused ? detected_ : passed_).add();
  seconds_.observe(seconds(BootClock::now() - begun));
  if (j.refused) tell(request, t, j);
  return j;
}

void WafJudge::tell(const OfferedRequest& request, const waf::Transaction& t, const Judgement& j) {
  const LogBudget::Grant log = log_budget_.take(BootClock::now());
  if (log.left_out > 0)
    logger_.warn("more requests of the kind were not logged", {{"count", log.left_out}});
  if (!log.granted) return;
  std::string rules;
  for (const waf::MatchedRule& m : t.matches())
    if (m.told) rules.append(rules.empty() ? "" : " ").append(std::to_string(m.id));
  logger_.warn(j.enforced ? "refused" : "would be refused",
               {{"client", request.address},
                {"method", request.method},
                {"target", mask_.target(request.target)},
                {"rule", j.rule},
                {"score", j.score},
                {"rules", rules}});
}

}  // namespace leeward::app
