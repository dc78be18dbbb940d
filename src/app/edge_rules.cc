#include "app/edge_rules.h"

namespace leeward::app {
namespace {

constexpr Duration kLookEvery = 2s;

}  // namespace

Result<std::shared_ptr<edge::AccessRules>> EdgeRules::made_of(const EdgeFirewall& spec) const {
  if (spec == current_->spec()) return current_;
  return edge::AccessRules::load(spec);
}

void EdgeRules::follow() {
  loop_.call_after(kLookEvery, [this] {
    auto read = current_->refresh();
    if (!read)
      logger_.error("the lists stay as they were", {{"why", read.error().message}});
    else if (*read)
      logger_.info("read the lists again");
    follow();
  });
}

}  // namespace leeward::app
