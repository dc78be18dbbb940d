// Requests that other proxies hand over, judged by rules: what `leeward waf serve` does, whichever
// way they come. Threading: everything from any thread; judge() with a Workspace of the thread.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/log_budget.h"
#include "base/metrics.h"
#include "edge/secret_mask.h"
#include "waf/collections.h"
#include "waf/rule_set.h"
#include "waf/transaction.h"

namespace leeward::app {

struct OfferedRequest {
  std::string address;  // of the client
  std::uint16_t port = 0;
  std::string method = "GET";
  std::string target = "/";
  std::string protocol = "1.1";
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
};

struct Judgement {
  bool refused = false;   // by the rules
  bool enforced = false;  // and to be refused: not in mode detect
  int status = 403;
  std::uint32_t rule = 0;
  std::string score;
};

class WafJudge {
 public:
  using Rules = std::shared_ptr<const waf::RuleSet>;

  // `mask`: what of a target is not written into the log.
  WafJudge(Rules rules, bool enforce, edge::SecretMask mask, const Logger& logger,
           Registry& registry);

  // From then on; judgements under way end under the old rules.
  void use(Rules rules);
  // `workspace`: the thread's own, made anew when the rules changed.
  Judgement judge(const OfferedRequest& request, std::optional<waf::Workspace>& workspace);

 private:
  Rules rules();
  void tell(const OfferedRequest& request, const waf::Transaction& t, const Judgement& j);

  const bool enforce_;
  const edge::SecretMask mask_;
  const Logger logger_;
  waf::Collections collections_;
  mutable std::mutex mutex_;  // of what follows
  Rules rules_;
  LogBudget log_budget_;
  Counter& passed_;
  Counter& refused_;
  Counter& detected_;
  Histogram& seconds_;
};

}  // namespace leeward::app
