// The firewall of a running edge: its lists followed on disk, its rules by reload. Rules that did
// not change keep what they have counted. One thread, the loop's; metrics and judging from any.
#pragma once

#include <memory>
#include <optional>

#include "base/log.h"
#include "edge/access_rules.h"
#include "net/loop.h"

namespace leeward::app {

class EdgeRules {
 public:
  EdgeRules(net::EventLoop& loop, std::shared_ptr<edge::AccessRules> rules, const Logger& logger)
      : loop_(loop), logger_(logger.with("firewall")), current_(std::move(rules)) {
    follow();
  }

  const std::shared_ptr<edge::AccessRules>& current() const { return current_; }
  // What use() may be called with: the current rules when they are these already. Of the challenge,
  // null when nobody is to be challenged, too: the current one has its counters.
  Result<std::shared_ptr<edge::AccessRules>> made_of(
      const EdgeFirewall& spec, std::optional<edge::Challenge::Options> challenge) const;
  void use(std::shared_ptr<edge::AccessRules> rules) { current_ = std::move(rules); }

 private:
  void follow();

  net::EventLoop& loop_;
  Logger logger_;
  std::shared_ptr<edge::AccessRules> current_;
};

}  // namespace leeward::app
