#include "app/edge_waf.h"

#include <algorithm>
#include <utility>

#include "edge/audit.h"
#include "net/dns_client.h"

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
  auto audit = edge::AuditPolicy::of(settings, (*engine)->settings());
  if (!audit) return fail(std::move(audit.error()));
  const bool writes = audit->which != edge::AuditPolicy::Which::kNone;
  if (!pool_) {
    workers_ = settings.workers;
    pool_ = std::make_shared<edge::WafPool>(workers_, logger_);
  }
  loaded_ = *engine;
  return std::make_shared<const edge::Waf>(
      edge::Waf{.settings = settings,
                .engine = *engine,
                .pool = pool_,
                .digest = (*engine)->digest(),
                .rules = (*engine)->rules(),
                .audit = writes ? std::make_shared<const edge::AuditPolicy>(*audit) : nullptr,
                .mask = std::make_shared<const edge::SecretMask>(settings.mask),
                .crawlers = crawlers_for(settings.crawlers)});
}

std::shared_ptr<edge::CrawlerCheck> EdgeWafRules::crawlers_for(const EdgeCrawlers& settings) const {
  if (!settings.verify) return nullptr;
  if (current_ && current_->settings.crawlers == settings) return current_->crawlers;
  const net::DnsClient dns(settings.resolver,
                           std::chrono::ceil<std::chrono::seconds>(settings.timeout));
  using Answer = edge::CrawlerLookups::Answer;
  const auto ask = [dns](const std::string& name, net::DnsType type) -> Result<Answer> {
    auto found = dns.ask(name, type);
    if (!found) return fail(std::move(found.error()));
    return Answer{std::move(found->values), found->ttl};
  };
  return std::make_shared<edge::CrawlerCheck>(
      edge::CrawlerLookups{.names_of =
                               [ask](const edge::ClientAddress& client) {
                                 return ask(net::reverse_name(client.bytes), net::DnsType::kPtr);
                               },
                           .addresses_of =
                               [ask](const std::string& host, bool v4) {
                                 return ask(host, v4 ? net::DnsType::kA : net::DnsType::kAaaa);
                               }});
}

std::string EdgeWafRules::prometheus_text() const {
  std::string text = pool_ ? pool_->prometheus_text() : "";
  if (current_ && current_->crawlers) text += current_->crawlers->prometheus_text();
  return text;
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
