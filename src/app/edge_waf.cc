#include "app/edge_waf.h"

#include <algorithm>
#include <utility>

namespace leeward::app {
namespace {

constexpr Duration kLookEvery = 2s;
constexpr std::size_t kNotesMax = 20;

}  // namespace

Result<std::shared_ptr<const edge::Waf>> EdgeWafRules::made_of(const EdgeWaf& settings) {
  loaded_.reset();
  if (settings.rules_file.empty() && !settings.policy) return nullptr;
  if (pool_ && settings.workers != workers_)
    return fail(Code::kConflict, "edge.firewall.workers changed; that needs a restart of the edge");
  auto engine = edge::SecLangEngine::load(settings, cache_file_, engine_.get());
  if (!engine) return fail(std::move(engine.error()));
  if (!pool_) {
    workers_ = settings.workers;
    pool_ = std::make_shared<edge::WafPool>(workers_, logger_);
  }
  loaded_ = *engine;
  return std::make_shared<const edge::Waf>(
      edge::Waf{.settings = settings, .engine = *engine, .pool = pool_});
}

void EdgeWafRules::use(std::shared_ptr<const edge::Waf> waf) {
  if (waf)
    logger_.with("waf").info(
        "rules in force", {{"from", waf->settings.policy ? "policy" : waf->settings.rules_file},
                           {"rules", loaded_->rules()},
                           {"mode", waf->settings.mode == WafMode::kBlock ? "block" : "detect"}});
  if (loaded_)
    for (std::size_t i = 0; i < std::min(loaded_->notes().size(), kNotesMax); ++i)
      logger_.with("waf").info("rules", {{"note", loaded_->notes()[i]}});
  if (loaded_) engine_ = std::exchange(loaded_, nullptr);
  if (auto old = std::exchange(current_, std::move(waf))) {
    retired_.push_back(std::move(old));
    if (retired_.size() == 1) free_retired();
  }
}

void EdgeWafRules::free_retired() {
  loop_.call_after(kLookEvery, [this] {
    std::erase_if(retired_, [](const auto& waf) {
      return waf.use_count() == 1 && waf->engine.use_count() == 1;
    });
    if (!retired_.empty()) free_retired();
  });
}

}  // namespace leeward::app
