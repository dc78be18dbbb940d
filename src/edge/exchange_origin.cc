// Exchange: attempts at origins. One request may be sent to several: again after a failure, when
// that is safe, and a second time beside a slow first one (hedge).
#include <algorithm>
#include <utility>

#include "edge/internal/exchange_flow.h"
#include "edge/internal/proxy_fields.h"
#include "edge/proxy_protocol.h"

namespace leeward::edge {

bool Exchange::safe_to_repeat() const { return is_idempotent(head_.method) && replayable_; }

// What came from an edge is not sent to an edge again.
OriginCore::Mask Exchange::forbidden_origins() const {
  OriginCore::Mask mask = 0;
  if (!from_edge_) return mask;
  const auto& origins = group_->spec().origins;
  for (std::size_t i = 0; i < origins.size(); ++i)
    if (origins[i].edge) mask |= OriginCore::Mask{1} << i;
  return mask;
}

bool Exchange::other_origin_exists() const {
  const OriginCore& core = group_->core;
  const OriginCore::Mask except = tried_ | forbidden_origins();
  for (std::size_t i = 0; i < core.size(); ++i)
    if ((except >> i & 1) == 0 && core.available(loop_.now(), i)) return true;
  return false;
}

// ---- beginning an attempt

// False: there is no origin to try. A hedge is tried at an available one only.
bool Exchange::attempt(std::size_t slot, bool hedge) {
  const bool expendable = is_safe(head_.method) && head_.framing == Framing::kNone;
  const OriginCore::Mask never = forbidden_origins();
  auto choice =
      core().pick(loop_.now(), never | tried_, loop_.random(), key_, expendable, sticky_origin());
  if (!choice && !hedge && tried_ != 0) {
    // All were tried once: begin anew rather than give up while attempts are left.
    tried_ = 0;
    choice = core().pick(loop_.now(), never, loop_.random(), key_, expendable);
  }
  if (!choice || (hedge && !choice->available)) return false;
  Attempt& a = attempts_[slot];
  a = {};
  a.origin = choice->origin;
  tried_ |= OriginCore::Mask{1} << a.origin;
  ++attempts_made_;
  origin_used_ = true;
  origin_done_ = false;
  last_origin_ = a.origin;
  core().started(loop_.now(), a.origin);
  group_->stats->origins[a.origin].requests.add();
  a.stream = &open_origin_stream(loop_, group_, a.origin, *this, slot,
                                 group_->spec().proxy_protocol
                                     ? format_proxy_header(client_, ClientAddress{})
                                     : std::string());
  send_request(slot);
  send_request_body(slot);
  if (route_->hedge && expendable && !hedged_ && !head_.upgrade && other_origin_exists())
    loop_.wheel().arm(timer_, loop_.now() + core().hedge_after());
  return true;
}

std::optional<std::size_t> Exchange::sticky_origin() const {
  const GroupSpec& spec = group_->spec();
  if (spec.sticky_cookie.empty()) return std::nullopt;
  for (const Field& field : head_.fields()) {
    if (!same_name(field.name, "cookie")) continue;
    const std::string_view value = cookie_value(field.value, spec.sticky_cookie);
    for (std::size_t i = 0; i < spec.origins.size(); ++i)
      if (!value.empty() && spec.origins[i].name == value) return i;
  }
  return std::nullopt;
}

void Exchange::send_request(std::size_t slot) {
  std::string& lines = loop_.lines();
  lines.clear();
  append_fields(lines);
  append_forwarded(lines);
  if (fill_) lines.append(fill_->request_lines());
  if (list_has(find_field(head_.fields(), "te"), "trailers")) lines.append("TE: trailers\r\n");
  const std::string& hop_key = snapshot_->config.hop_key;
  if (group_->spec().origins[attempts_[slot].origin].edge && !hop_key.empty())
    lines.append(kEdgeHopField)
        .append(": ")
        .append(edge_hop(client_, hop_key, loop_.both().wall))
        .append("\r\n");
  // The host as route, rules and the cache's key have it, not as it was written: an origin that
  // tells "shop.test." or "shop.test:80" from "shop.test" would answer for all who have that key. A
  // port that is not the scheme's own is in both. To pass the cache by instead would let everybody
  // choose that.
  OriginRequest request{.method = head_.method_text,
                        .target = head_.target,
                        .authority = host_.view(),
                        .lines = lines,
                        .upgrade = {},
                        .framing = head_.framing,
                        .content_length = {},
                        .to_head = head_.method == Method::kHead};
  if (head_.upgrade && route_->upgrade) request.upgrade = find_field(head_.fields(), "upgrade");
  if (head_.has_length) request.content_length = head_.content_length;
  attempts_[slot].stream->send_head(request);
}

// What the client said that is meant for the origin.
void Exchange::append_fields(std::string& out) const {
  const bool replaced = fill_ && fill_->replaces_conditions();
  const ConnectionOptions options(head_.fields());
  for (const Field& field : head_.fields()) {
    if (is_hop_by_hop(field.name) || options.names(field.name) || is_proxy_owned(field.name))
      continue;
    if (!trusted_ && is_word_of_proxy(field.name)) continue;
    if (replaced && is_conditional(field.name)) continue;
    if (!route_->signing_keys.empty() && same_name(field.name, "cookie")) {
      append_cookies_without(out, field.value, kSignedCookie);
      continue;
    }
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
}

// Who asked, and how: told anew, or carried on from one we trust.
void Exchange::append_forwarded(std::string& out) const {
  out.append("X-Forwarded-For: ");
  for (const Field& field : head_.fields())
    if (trusted_ && same_name(field.name, "x-forwarded-for") && !field.value.empty())
      out.append(field.value).append(", ");
  append_address(out, peer_);
  const std::string_view proto = trusted_ ? find_field(head_.fields(), "x-forwarded-proto") : "";
  out.append("\r\nX-Forwarded-Proto: ");
  out.append(!proto.empty() ? proto : secure_ ? "https" : "http");
  out.append("\r\nVia: ");
  if (const std::string_view via = find_field(head_.fields(), "via"); !via.empty())
    out.append(via).append(", ");
  out.append(protocol_).append(" ").append(snapshot_->config.site).append("-edge\r\n");
}

void Exchange::send_request_body(std::size_t slot) {
  Attempt& a = attempts_[slot];
  if (a.stream == nullptr || a.end_sent) return;
  const std::size_t room = snapshot_->config.limits.buffer_bytes;
  const std::string_view rest =
      std::string_view(body_).substr(static_cast<std::size_t>(a.sent - body_base_));
  if (!rest.empty() && a.stream->queued() < room) {
    a.stream->send_body(rest);
    a.sent += rest.size();
  }
  if (!body_ended_ || a.sent != body_base_ + body_.size()) return;
  a.end_sent = true;
  a.asked = loop_.now();
  if (!a.heard) core().asked(a.asked, a.origin);
  a.stream->send_end(body_trailers_);
}

void Exchange::on_origin_drained(std::size_t slot) {
  if (state_ != State::kTunnel) {
    send_request_body(slot);
    drop_body();
  }
  if (down_ != nullptr && (!body_ended_ || state_ == State::kTunnel)) down_->resume_body();
}

// ---- the end of an attempt

void Exchange::cancel(std::size_t slot, bool lost_hedge) {
  Attempt& a = attempts_[slot];
  if (a.stream == nullptr) return;
  if (!a.heard) {
    lost_hedge ? core().lost(loop_.now(), a.origin, a.asked)
               : core().failed(loop_.now(), a.origin, a.end_sent, false);
  }
  core().ended(a.origin);
  std::exchange(a.stream, nullptr)->abandon();
}

bool Exchange::may_retry(bool nothing_done) const {
  return status_ == 0 && attempts_made_ < snapshot_->config.limits.attempts_max && replayable_ &&
         (nothing_done || is_idempotent(head_.method));
}

void Exchange::on_origin_fault(std::size_t slot, OriginFault fault, bool nothing_done) {
  Attempt& a = attempts_[slot];
  a.stream = nullptr;
  const BootTime now = loop_.now();
  const bool counts = fault != OriginFault::kStale;
  if (counts) group_->stats->origins[a.origin].failures.add();
  if (!a.heard) core().failed(now, a.origin, a.end_sent, counts);
  core().ended(a.origin);
  if (state_ == State::kRespond || state_ == State::kTunnel) {
    // The head is out already: the client, and whoever reads from the cache, must see the break.
    origin_done_ = true;
    if (storing_) {
      fill_->abort();
      fill_.reset();
      storing_ = false;
      if (down_ == nullptr) return finish();
      return;  // the readers learn it from the body
    }
    if (down_ != nullptr) return down_->abort();
    return finish();
  }
  end_hold();                                         // nothing of it has gone to the client
  if (attempts_[1 - slot].stream != nullptr) return;  // the other one may still answer
  origin_done_ = true;
  // A kept connection that was closed as we used it says nothing about the origin: it may be asked
  // again.
  if (fault == OriginFault::kStale) tried_ &= ~(OriginCore::Mask{1} << a.origin);
  if (may_retry(nothing_done) && (fault == OriginFault::kStale || core().take_retry())) {
    stats_->retries.add();
    hedged_ = false;
    timer_.disarm();
    if (attempt(slot, false)) return;
  }
  const bool late = fault == OriginFault::kFirstByte;
  give_up(late ? 504 : 502,
          late ? "the origin did not answer in time" : "the origin could not be reached");
}

// ---- the response

bool Exchange::on_origin_head(std::size_t slot, const ResponseHead& head) {
  Attempt& a = attempts_[slot];
  const BootTime now = loop_.now();
  if (head.status < 200 && head.status != 101) return relay_interim(head);
  const bool server_error = head.status == 500 || (head.status >= 502 && head.status <= 504);
  a.heard = true;
  core().heard(now, a.origin, a.end_sent ? std::optional(now - a.asked) : std::nullopt,
               server_error);
  origin_time_ = now - origin_began_;
  if (server_error) {
    group_->stats->origins[a.origin].failures.add();
    const bool other_runs = attempts_[1 - slot].stream != nullptr;
    const bool again = status_ == 0 && safe_to_repeat() && !head_.upgrade &&
                       (other_runs || (attempts_made_ < snapshot_->config.limits.attempts_max &&
                                       other_origin_exists() && core().take_retry()));
    if (again) {
      a.stream = nullptr;
      core().ended(a.origin);
      if (other_runs) return false;
      stats_->retries.add();
      timer_.disarm();
      if (attempt(slot, false)) return false;
      give_up(502, "the origin failed");
      return false;
    }
  }
  return must_hold(head) ? hold_response(slot, head) : respond(slot, head);
}

bool Exchange::relay_interim(const ResponseHead& head) {
  if (down_ == nullptr || status_ != 0 || attempts_[1].stream != nullptr) return true;
  if (head.status == 100 && continued_) return true;  // the client has heard it from us
  if (!down_->wants_more()) return true;  // a client that does not read is spared: nothing piles up
  std::string& lines = loop_.lines();
  lines.clear();
  append_end_to_end(lines, head.fields());
  down_->send_interim(head.status, lines);
  return true;
}

bool Exchange::respond(std::size_t slot, const ResponseHead& head) {
  timer_.disarm();
  winner_ = slot;
  last_origin_ = attempts_[slot].origin;
  if (slot == 1) stats_->hedges_won.add();
  cancel(1 - slot, true);
  if (head.status == 101) {
    if (down_ == nullptr || !head_.upgrade || !route_->upgrade) {
      on_origin_fault(slot, OriginFault::kBadReply, false);
      return false;
    }
    status_ = 101;
    state_ = State::kTunnel;
    std::string& lines = loop_.lines();
    lines.assign("Connection: upgrade\r\nUpgrade: ");
    lines.append(find_field(head.fields(), "upgrade")).append("\r\n");
    append_end_to_end(lines, head.fields());
    const std::string_view blocks[] = {lines};
    down_->become_tunnel(blocks);
    return true;
  }
  state_ = State::kRespond;
  const bool has_body = head.framing != Framing::kNone;
  const ResponseView response{
      .status = head.status,
      .fields = head.fields(),
      .content_length = head.has_length ? std::optional(head.content_length) : std::nullopt,
      .has_body = has_body};
  if (!fill_) {
    if (Cache* cache = loop_.shared().options.cache.get(); cache != nullptr && route_->cache)
      cache->passed(view(), *route_->cache, response, loop_.both());
    relay_head(head, {});
    return true;
  }
  CacheAnswer answer;
  switch (fill_->on_response(response, loop_.both(), answer)) {
    case Fill::Start::kPass:
      fill_.reset();
      if (down_ == nullptr) {
        cancel(slot, false);
        origin_done_ = true;
        finish();
        return false;
      }
      relay_head(head, answer.added_lines());
      return true;
    case Fill::Start::kStore:
      storing_ = true;
      if (down_ != nullptr) serve(std::move(answer));
      return true;
    case Fill::Start::kAgain:
      let_go(slot);
      state_ = State::kForward;
      tried_ = 0;
      if (!replayable_ || !attempt(slot, false)) give_up(503, "no origin can take the request");
      return false;
    case Fill::Start::kServe:
      break;
  }
  fill_.reset();
  let_go(slot);
  origin_done_ = true;
  if (down_ != nullptr)
    serve(std::move(answer));
  else
    finish();
  // A 304 has no body, and its connection is as good as new; on_origin_end() finds no attempt. The
  // connection with a body that nobody wants is closed.
  return head.framing == Framing::kNone;
}

// `cache_lines`: what the cache says of it; empty when it was not asked to store it.
void Exchange::relay_head(const ResponseHead& head, std::string_view cache_lines) {
  std::string& lines = loop_.lines();
  lines.clear();
  append_end_to_end(lines, head.fields());
  if (find_field(head.fields(), "date").data() == nullptr) loop_.append_date(lines);
  lines.append(cache_lines);
  if (const Cache* cache = loop_.shared().options.cache.get();
      cache != nullptr && route_->cache && !pass_reason_.empty())
    lines.append("Cache-Status: ")
        .append(cache->name())
        .append("; ")
        .append(pass_reason_)
        .append("; fwd-status=")
        .append(fmt::format_int(head.status).c_str())
        .append("\r\n");
  const GroupSpec& spec = group_->spec();
  if (!spec.sticky_cookie.empty() && sticky_origin() != attempts_[winner_].origin)
    lines.append("Set-Cookie: ")
        .append(spec.sticky_cookie)
        .append("=")
        .append(spec.origins[attempts_[winner_].origin].name)
        .append("; Path=/; HttpOnly; SameSite=Lax\r\n");
  lines.append("Via: 1.1 ").append(snapshot_->config.site).append("-edge\r\n");
  if (snapshot_->config.server_timing)
    lines.append(fmt::format("Server-Timing: origin;dur={:.1f}\r\n", seconds(origin_time_) * 1000));
  status_ = head.status;
  const bool to_head = head_.method == Method::kHead || head.status == 304;
  const std::string_view blocks[] = {lines};
  ReplyHead reply{.status = head.status, .reason = head.reason, .lines = blocks, .length = {}};
  reply.body = head.framing != Framing::kNone;
  if (head.has_length && head.status != 204)  // RFC 9110 §8.6
    reply.length = head.content_length;
  else if (!to_head && head.framing == Framing::kNone && head.status != 204)
    reply.length = 0;
  down_->send_head(reply);
}

bool Exchange::origin_may_send(std::size_t slot) const {
  if (state_ == State::kForward) return true;
  if (slot != winner_) return false;
  if (state_ == State::kHold) return held_->inspection == nullptr;
  if (storing_ || down_ == nullptr) return !fill_paused_;
  return down_->wants_more();
}

bool Exchange::on_origin_body(std::size_t slot, std::string_view bytes) {
  if (state_ == State::kHold) return hold_body(bytes);
  if (storing_) {
    switch (fill_->append(bytes, {&loop_, token()})) {
      case Fill::More::kGoOn:
        return true;
      case Fill::More::kPause:
        fill_paused_ = true;
        return true;
      case Fill::More::kStop:
        break;
    }
    let_go(slot);
    origin_done_ = true;
    fill_.reset();
    storing_ = false;
    if (down_ == nullptr) finish();
    return false;
  }
  bytes_out_ += bytes.size();
  down_->send_body(bytes);
  return true;
}

void Exchange::on_origin_end(std::size_t slot, std::string_view trailers) {
  Attempt& a = attempts_[slot];
  if (a.stream == nullptr) return;
  let_go(slot);
  if (state_ == State::kHold) return hold_end(trailers);
  response_ended(trailers);
}

void Exchange::let_go(std::size_t slot) {
  OriginStream* const stream = std::exchange(attempts_[slot].stream, nullptr);
  if (stream == nullptr) return;
  core().ended(attempts_[slot].origin);
  if (outside_stream_) stream->abandon();
}

void Exchange::response_ended(std::string_view trailers) {
  origin_done_ = true;
  if (storing_) {
    storing_ = false;
    fill_->finish();
    fill_.reset();
    if (down_ == nullptr) finish();
    return;
  }
  if (down_ != nullptr) down_->send_end(trailers);
  finish();
}

}  // namespace leeward::edge
