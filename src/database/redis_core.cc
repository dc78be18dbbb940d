#include "database/redis_core.h"

#include <algorithm>
#include <tuple>

namespace leeward::database {
namespace {

constexpr Duration kSettleLimit = 1s;

// What a server has, for choosing the best: promotion first, because offsets of different histories
// cannot be compared.
auto rank(const RedisStatus& s) { return std::tuple(s.promotion, s.primary, s.offset); }

}  // namespace

RedisCore::Server& RedisCore::at(SiteId site, NodeId node) {
  std::vector<Server>& servers = servers_[site];
  servers.resize(config_.servers.at(site).size());
  return servers.at(node.value);
}

const Endpoint& RedisCore::address(SiteId site, NodeId node) const {
  return config_.servers.at(site).at(node.value);
}

const RedisLook& RedisCore::look(SiteId site, NodeId node) const {
  static const RedisLook kNone;
  auto servers = servers_.find(site);
  bool known = servers != servers_.end() && node.value < servers->second.size();
  return known ? servers->second[node.value].look : kNone;
}

void RedisCore::on_look(Now now, SiteId site, NodeId node, const RedisLook& look) {
  Server& s = at(site, node);
  s.seen = now.boot;
  s.looked = true;
  if (look.reachable) {
    s.look = look;
    s.answered = now.boot;
    s.failed_looks = 0;
    return;
  }
  ++s.failed_looks;
  s.look.reachable = false;  // the rest stays: what it had when it was last seen
  s.look.refused = look.refused;
}

void RedisCore::on_done(Now now, NodeId node, bool ok) {
  Server& s = at(config_.self, node);
  s.busy = false;
  s.looked = false;
  s.next_op = now.boot + (ok ? Duration{} : config_.retry_after);
}

bool RedisCore::fresh(Now now, const Server& s) const {
  return s.looked && s.look.reachable && now.boot - s.seen < config_.look_stale;
}

bool RedisCore::dead(Now now, const Server& s) const {
  // A pause of this process is none of the server's: looks must have gone on until now.
  if (s.failed_looks == 0 || now.boot - s.seen >= config_.look_stale) return false;
  if (s.look.refused) return s.failed_looks >= config_.refused_looks;
  return s.failed_looks >= config_.silent_looks && s.seen - s.answered >= config_.silent_after;
}

std::optional<std::uint64_t> RedisCore::lag() const {
  if (source_site_ == kNoSite) return std::nullopt;
  const RedisLook& source = look(source_site_, source_node_);
  const RedisLook& here = look(config_.self, primary_);
  if (source.status.history != here.status.history) return std::nullopt;
  return source.status.offset > here.status.offset ? source.status.offset - here.status.offset : 0;
}

// ------------------------------------------------------------------------------------- operations

bool RedisCore::may_begin(Now now, NodeId node) {
  Server& s = at(config_.self, node);
  return fresh(now, s) && !s.busy && now.boot >= s.next_op;
}

void RedisCore::follow(Now now, NodeId node, const Endpoint& source, Step& out) {
  Server& s = at(config_.self, node);
  bool follows = !s.look.status.primary && s.look.status.source == source;
  if (follows || !may_begin(now, node)) return;
  find_exact_loss(config_.self, node, s.look.status, out);
  s.busy = true;
  out.ops.push_back({node, Kind::kFollow, {}, source});
}

void RedisCore::promote(Now now, Step& out) {
  if (!may_begin(now, primary_)) return;
  at(config_.self, primary_).busy = true;
  out.ops.push_back({primary_, Kind::kPromote, promotion_, {}});
}

// No lease, or about to give it away: no write may come in by any other way either.
void RedisCore::fence(Now now, bool confirm, Step& out) {
  for (std::size_t n = 0; n < config_.servers.at(config_.self).size(); ++n) {
    NodeId node{static_cast<std::uint8_t>(n)};
    const RedisStatus& s = at(config_.self, node).look.status;
    if (!s.primary || s.fenced || !may_begin(now, node)) continue;
    at(config_.self, node).busy = true;
    if (node == primary_) open_ = false;
    out.ops.push_back({node, Kind::kFence, {}, {}, confirm});
  }
}

// ------------------------------------------------------------------------------------------- loss

void RedisCore::remember(SiteId site, NodeId node, const RedisStatus& from, const RedisStatus& to,
                         Step& out) {
  if (from.history != to.history || from.history.empty()) return;
  std::uint64_t bytes = from.offset > to.offset ? from.offset - to.offset : 0;
  former_ = Former{site, node, from.history, to.offset, bytes};
  if (bytes > 0) out.lost.push_back({bytes, false, site, node});
}

// Called before a server drops what it has: if it is the former primary with its history, that
// tells exactly how much more it had acknowledged.
void RedisCore::find_exact_loss(SiteId site, NodeId node, const RedisStatus& status, Step& out) {
  if (!status.primary) return;
  if (former_ && former_->site == site && former_->node == node &&
      former_->history == status.history) {
    std::uint64_t bytes =
        status.offset > former_->parted_at ? status.offset - former_->parted_at : 0;
    if (bytes > former_->reported)
      out.lost.push_back({bytes - former_->reported, true, site, node});
    former_.reset();
    return;
  }
  // Lost to another site: its primary says where it left the history that this one still has.
  if (source_site_ == kNoSite) return;
  const RedisStatus& source = look(source_site_, source_node_).status;
  if (source.history_before == status.history && source.parted_at > 0 &&
      status.offset > source.parted_at)
    out.lost.push_back({status.offset - source.parted_at, true, site, node});
}

// ------------------------------------------------------------------------------------- the writer

bool RedisCore::lost_its_data(const Server& s) const {
  const RedisStatus& status = s.look.status;
  return status.promotion < promotion_ && status.history != history_;
}

// False while a server that may have more has not been seen yet.
bool RedisCore::choose(Now now, Epoch epoch) {
  if (!choosing_since_) choosing_since_ = now.boot;
  bool waited = now.boot - *choosing_since_ >= config_.choose_within;
  const Server* best = nullptr;
  NodeId node;
  for (std::size_t n = 0; n < config_.servers.at(config_.self).size(); ++n) {
    NodeId id{static_cast<std::uint8_t>(n)};
    const Server& s = at(config_.self, id);
    if (!fresh(now, s)) {
      if (!waited && !dead(now, s)) return false;
      continue;
    }
    if (best && rank(s.look.status) <= rank(best->look.status)) continue;
    best = &s;
    node = id;
  }
  if (!best) return false;
  choosing_since_.reset();
  primary_ = node;
  const Promotion& seen = best->look.status.promotion;
  promotion_ = {epoch, seen.epoch == epoch ? seen.term : Term{}};
  history_ = best->look.status.history;
  return true;
}

void RedisCore::move(Now now, NodeId to, Step& out) {
  remember(config_.self, primary_, at(config_.self, primary_).look.status,
           at(config_.self, to).look.status, out);
  primary_ = to;
  ++promotion_.term.value;
  history_ = at(config_.self, to).look.status.history;
  moves_.push_back(now.boot);
  open_ = false;
}

void RedisCore::be_writer(Now now, const Wanted& wanted, Step& out) {
  if (promotion_.epoch != wanted.epoch) {
    open_ = false;
    if (!choose(now, wanted.epoch)) return;
    if (source_site_ != kNoSite && source_site_ != config_.self)
      remember(source_site_, source_node_, look(source_site_, source_node_).status,
               at(config_.self, primary_).look.status, out);
    source_site_ = kNoSite;
  }
  const Server& primary = at(config_.self, primary_);
  bool pair = config_.servers.at(config_.self).size() == kNodesMax;
  if (pair && (dead(now, primary) || (fresh(now, primary) && lost_its_data(primary)))) {
    const Server& other = at(config_.self, other_node(primary_));
    while (!moves_.empty() && now.boot - moves_.front() >= config_.moves_window) moves_.pop_front();
    bool budget = moves_.size() < static_cast<std::size_t>(config_.moves_max);
    bool has = other.look.status.promotion == promotion_ ||
               (!open_ && other.look.status.promotion >= primary.look.status.promotion);
    if (budget && fresh(now, other) && !other.busy && has) move(now, other_node(primary_), out);
  }
  const Server& chosen = at(config_.self, primary_);
  if (!fresh(now, chosen)) {
    if (dead(now, chosen)) open_ = false;
    return;
  }
  const RedisStatus& status = chosen.look.status;
  bool promoted = status.primary && status.promotion == promotion_ && !status.fenced;
  // FLUSHALL takes the mark away and leaves the server what it was.
  bool flushed = open_ && status.primary && status.promotion < promotion_;
  if (!promoted) promote(now, out);
  open_ = promoted || flushed;
  if (promoted) history_ = status.history;
  if (pair && promoted) follow(now, other_node(primary_), address(config_.self, primary_), out);
}

// ------------------------------------------------------------------------------------ the standby

// The server of another site to follow: of two the primary with the newest promotion.
std::optional<NodeId> RedisCore::source_at(Now now, SiteId site) {
  std::optional<NodeId> best;
  for (std::size_t n = 0; n < config_.servers.at(site).size(); ++n) {
    NodeId node{static_cast<std::uint8_t>(n)};
    const Server& s = at(site, node);
    if (!fresh(now, s) || !s.look.status.primary) continue;
    if (!best || at(site, *best).look.status.promotion < s.look.status.promotion) best = node;
  }
  return best;
}

void RedisCore::be_standby(Now now, SiteId writer, Step& out) {
  promotion_ = {};
  if (!config_.servers.count(writer)) return;
  bool pair = config_.servers.at(config_.self).size() == kNodesMax;
  if (pair && dead(now, at(config_.self, primary_)) &&
      fresh(now, at(config_.self, other_node(primary_))))
    primary_ = other_node(primary_);
  auto source = source_at(now, writer);
  if (!source) return;  // its last offset stays: the loss is counted from it
  source_site_ = writer;
  source_node_ = *source;
  const RedisStatus& there = look(writer, *source).status;
  auto may_follow = [&](NodeId node) {
    return look(config_.self, node).status.promotion <= there.promotion;
  };
  if (may_follow(primary_)) follow(now, primary_, address(writer, *source), out);
  const Server& first = at(config_.self, primary_);
  bool streams = fresh(now, first) && !first.look.status.primary && first.look.status.link_up;
  if (pair && streams && may_follow(other_node(primary_)))
    follow(now, other_node(primary_), address(config_.self, primary_), out);
}

void RedisCore::hold(Now now, const Wanted& wanted, Step& out) {
  bool draining = wanted.mode == GatewayMode::kHold && wanted.epoch.value != 0;
  if (!draining) {
    draining_ = settled_ = false;
    // A restart of the agent is no reason yet: it gets its lease back.
    if (!leaseless_since_) leaseless_since_ = now.boot;
    if (now.boot - *leaseless_since_ >= config_.fence_after) fence(now, false, out);
    return;
  }
  if (!wanted.drained) {
    draining_ = settled_ = false;
    return;
  }
  if (!std::exchange(draining_, true)) draining_since_ = now.boot;
  fence(now, true, out);
  // Fencing waited for the replicas.
  const Server& primary = at(config_.self, primary_);
  bool fenced = fresh(now, primary) && primary.look.status.fenced;
  settled_ = fenced || now.boot - draining_since_ >= kSettleLimit;
}

RedisCore::Step RedisCore::step(Now now, const Wanted& wanted) {
  Step out;
  bool leaseless = wanted.mode == GatewayMode::kRefuse ||
                   (wanted.mode == GatewayMode::kHold && wanted.epoch.value == 0);
  if (!leaseless) leaseless_since_.reset();
  if (wanted.mode == GatewayMode::kLocal) {
    draining_ = settled_ = false;
    be_writer(now, wanted, out);
  } else if (wanted.mode == GatewayMode::kRemote) {
    draining_ = settled_ = open_ = false;
    choosing_since_.reset();
    be_standby(now, wanted.writer, out);
  } else {
    bool draining = wanted.mode == GatewayMode::kHold && wanted.epoch.value != 0;
    if (!draining) open_ = false;
    hold(now, wanted, out);
  }
  return out;
}

}  // namespace leeward::database
