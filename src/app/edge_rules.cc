#include "app/edge_rules.h"

namespace leeward::app {
namespace {

constexpr Duration kLookEvery = 2s;

}  // namespace

Result<std::shared_ptr<edge::AccessRules>> EdgeRules::made_of(
    const EdgeFirewall& spec, std::optional<edge::Challenge::Options> options) const {
  std::shared_ptr<const edge::Challenge> challenge = current_->challenge();
  const bool same = options ? challenge && challenge->options() == *options : !challenge;
  if (same && spec == current_->spec()) return current_;
  if (!same)
    challenge = options ? std::make_shared<const edge::Challenge>(std::move(*options)) : nullptr;
  return edge::AccessRules::load(spec, logger_, std::move(challenge), current_.get());
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
