// Leeward's own engine for rules in SecLang (waf/transaction.h) behind the seam of waf.h.
//
// Phases 1 (head), 2 (body) and 5 (logging) run for a request. For a response, phases 3 and 4, and
// before them 1 again, which sets what they count with and leaves out what is to be left out, and
// writes to no collection; what phase 2 set is not known to them. Of the rules file, SecRuleEngine,
// SecRequestBodyAccess, SecRequestBodyLimit and SecRequestBodyLimitAction are overruled by
// edge.firewall of leeward.yaml. The engine always runs as `On`: in mode detect it says exactly
// what mode block would refuse, and the edge lets it pass.
//
// Memory: a workspace for each thread that inspects at the same time, kept for the next request.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "edge/secret_mask.h"
#include "edge/waf.h"
#include "waf/transaction.h"

namespace leeward::edge {

class SecLangEngine final : public InspectionEngine {
 public:
  // The rules of settings.policy, or settings.rules_file, taken as it is, and what it includes.
  // kInvalid with "FILE:LINE:COLUMN: …" a line; kNotFound. `cache_file`: where compiled patterns
  // are kept, may be empty. `before`: the engine whose place it takes, and whose collections (IP,
  // GLOBAL, …) it goes on with; may be null.
  static Result<std::shared_ptr<const SecLangEngine>> load(const EdgeWaf& settings,
                                                           const std::string& cache_file = {},
                                                           const SecLangEngine* before = nullptr);

  // Larger ones are not tried at once. A body of this size takes some tenths of a millisecond.
  static constexpr std::size_t kAtOnceBodyBytes = 4096;
  static constexpr std::size_t kAtOnceHeadBytes = 2048;
  static constexpr std::chrono::microseconds kAtOnceTime{1000};

  WafVerdict inspect(const InspectedRequest& request) const override;
  std::optional<WafVerdict> inspect_at_once(const InspectedRequest& request) const override;
  WafVerdict inspect_response(const InspectedRequest& request,
                              const InspectedResponse& response) const override;
  std::optional<WafVerdict> inspect_response_at_once(
      const InspectedRequest& request, const InspectedResponse& response) const override;
  bool reads_body_of(std::string_view media_type) const override;
  std::size_t rules() const { return rules_->rules(); }
  const std::string& digest() const { return rules_->digest(); }
  const waf::Settings& settings() const { return rules_->settings(); }
  const std::vector<std::string>& notes() const { return rules_->notes(); }

 private:
  SecLangEngine(std::shared_ptr<const waf::RuleSet> rules,
                std::shared_ptr<waf::Collections> collections, SecretMask mask)
      : rules_(std::move(rules)), collections_(std::move(collections)), mask_(std::move(mask)) {}

  RuleMatch match_of(const waf::MatchedRule& rule) const;
  void add_matches(const waf::Transaction& transaction, int first_phase, WafVerdict& verdict) const;

  // `response` null: of the request.
  std::optional<WafVerdict> run(const InspectedRequest& request, const InspectedResponse* response,
                                std::chrono::steady_clock::time_point deadline) const;
  std::unique_ptr<waf::Workspace> take_workspace() const;
  void give_back(std::unique_ptr<waf::Workspace> workspace) const;

  std::shared_ptr<const waf::RuleSet> rules_;
  std::shared_ptr<waf::Collections> collections_;
  const SecretMask mask_;
  mutable std::mutex mutex_;  // of what follows
  mutable std::vector<std::unique_ptr<waf::Workspace>> idle_;
};

}  // namespace leeward::edge
