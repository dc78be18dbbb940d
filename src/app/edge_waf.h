// The web application firewall of a running edge: its rules by reload, its threads for as long as
// the edge runs. One thread, the loop's; metrics from any.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "edge/crawler_check.h"
#include "edge/seclang_engine.h"
#include "edge/waf_pool.h"
#include "net/loop.h"

namespace leeward::app {

class EdgeWafRules {
 public:
  // `cache_file`: where compiled rules are kept, so that a start with the same rules is quick.
  EdgeWafRules(net::EventLoop& loop, const Logger& logger, std::string cache_file)
      : loop_(loop), logger_(logger), cache_file_(std::move(cache_file)) {}

  // What use() may be called with: the rules read anew, null without a rules file. kInvalid with
  // "FILE:LINE:COLUMN: …", kNotFound; kConflict: another number of threads than the running ones.
  Result<std::shared_ptr<const edge::Waf>> made_of(const EdgeWaf& settings);
  void use(std::shared_ptr<const edge::Waf> waf);
  const std::shared_ptr<const edge::Waf>& current() const { return current_; }  // may be null
  std::string prometheus_text() const;

 private:
  void free_retired();
  // What is known of crawlers outlives a reload with the same settings.
  std::shared_ptr<edge::CrawlerCheck> crawlers_for(const EdgeCrawlers& settings) const;

  net::EventLoop& loop_;
  Logger logger_;
  const std::string cache_file_;
  int workers_ = 0;                      // that pool_ was made with
  std::shared_ptr<edge::WafPool> pool_;  // null until there are rules
  // By made_of; in use, or the last that was: its collections go on.
  std::shared_ptr<const edge::SecLangEngine> loaded_, engine_;
  std::shared_ptr<const edge::Waf> current_;
  // Requests under way end under the rules that they began with. Freeing thousands of rules takes
  // its time, so it is done here and not by the last request.
  std::vector<std::shared_ptr<const edge::Waf>> retired_;
};

}  // namespace leeward::app
