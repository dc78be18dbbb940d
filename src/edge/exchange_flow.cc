// Exchange: from the client's request to the decision where it goes, and the response's way back.
#include "edge/internal/exchange_flow.h"

#include <algorithm>
#include <functional>

#include "edge/internal/access_format.h"
#include "edge/internal/proxy_fields.h"
#include "edge/internal/reason.h"
#include "edge/match_path.h"

namespace leeward::edge {
namespace {

constexpr Duration kCacheWaitMax =
    10s;                          // for somebody else's fetch; then the request goes by itself
constexpr int kClientGone = 499;  // in the log only, as nginx has it
constexpr std::size_t kKeepCapacity = 64u << 10;

void shrink(std::string& s) {
  s.clear();
  if (s.capacity() > kKeepCapacity) s.shrink_to_fit();
}

}  // namespace

// ---- beginning

void Exchange::start(Downstream& down, std::string_view head_bytes, const ClientAddress& client,
                     bool secure, bool trusted) {
  down_ = &down;
  protocol_ = down.protocol();
  ja4_.assign(down.ja4());
  given_head_ = head_bytes;
  peer_ = client;
  secure_ = secure;
  trusted_ = trusted;
  know_client();
  scheme_ = client_scheme();
  began_ = loop_.now();
  body_ended_ = head_.framing == Framing::kNone;
  const EdgeConfig& config = loop_.snapshot().config;
  if (!normalize_host(head_.host, scheme_ == "https", host_))
    return reply(400, "a Host that is too long");
  // Edges that know each other go round in no circle. Before the cache: who only says so in Via is
  // nobody that others wait for.
  if (!from_edge_ && times_passed(find_field(head_.fields(), "via"), config.site) >= kEdgePassesMax)
    return reply(508, "the request has come here too often");
  if (head_.method == Method::kTrace) return reply(405, "TRACE is not served");
  if (head_.has_length && head_.content_length > config.limits.request_body_bytes_max)
    return reply(413, "the body is too large");
  route();
}

// An edge of the platform is known by its key, at every listener; a proxy by the address that it
// alone can reach.
void Exchange::know_client() {
  client_ = trusted_ ? forwarded_client(head_.fields(), peer_) : peer_;
  from_edge_ = false;
  const std::string_view hop = find_field(head_.fields(), kEdgeHopField);
  if (hop.empty()) return;
  const auto told = hop_client(hop, loop_.snapshot().config.hop_key, loop_.both().wall);
  from_edge_ = told.has_value();
  if (!told) return;
  client_ = *told;
  trusted_ = true;  // with the scheme and the addresses before it, which it has from the client
}

// A proxy that we trust has ended the client's TLS.
std::string_view Exchange::client_scheme() const {
  const std::string_view told = trusted_ ? find_field(head_.fields(), "x-forwarded-proto") : "";
  if (same_name(told, "https")) return "https";
  if (same_name(told, "http")) return "http";
  return secure_ ? "https" : "http";
}

RequestView Exchange::view() const {
  return {.method = head_.method,
          .method_text = head_.method_text,
          .scheme = scheme_,
          .host = host_.view(),
          .target = head_.target,
          .fields = head_.fields(),
          .has_body = head_.framing != Framing::kNone,
          .client = client_};
}

std::string_view Exchange::path() { return match_path(head_.target, path_storage_); }

void Exchange::route() {
  const Snapshot& snapshot = loop_.snapshot();
  route_ = snapshot.find(host_.view(), path());
  const bool answers = snapshot.config.challenge && Challenge::is_answer(head_.target);
  if (route_ == nullptr && !answers) return reply(404, "no route for this host and path");
  if (route_ != nullptr) stats_ = &loop_.stats().route(route_->name);
  if (Firewall* firewall = snapshot.config.firewall.get()) {
    const Verdict verdict = firewall->judge(view(), loop_.both());
    firewall_rule_ = verdict.rule;
    if (verdict.refused) {
      loop_.stats().refused.add();
      return reply(verdict.status, "refused", verdict.retry_after);
    }
    if (verdict.challenge && !answers) return pose_challenge();
  }
  if (answers) return take_answer();
  if (!check_signature()) return;
  if (must_inspect(true)) return collect();
  look_up();
}

// Afterwards the request is the same as one without a signature, for the cache and for the origin.
bool Exchange::check_signature() {
  if (route_->signing_keys.empty()) return true;
  SignedRequest request{.scheme = scheme_,
                        .host = host_.view(),
                        .target = head_.target,
                        .cookie = {},
                        .client = client_};
  for (const Field& field : head_.fields())
    if (request.cookie.empty() && same_name(field.name, "cookie"))
      request.cookie = cookie_value(field.value, kSignedCookie);
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(loop_.both().wall.time_since_epoch())
          .count();
  const SignatureCheck check = edge::check_signature(request, route_->signing_keys, now);
  if (check.good) {
    head_.target = head_.target.substr(0, check.target_size);
    return true;
  }
  firewall_rule_ = check.reason;
  stats_->signature_refused.add();
  reply(403, "this needs a URL or cookie with a signature that is good");
  return false;
}

void Exchange::look_up() {
  Cache* cache = loop_.shared().options.cache.get();
  if (cache == nullptr || !route_->cache || cache_gave_up_ || head_.upgrade) return forward();
  CacheDecision decision;
  cache->lookup(view(), *route_->cache, loop_.both(), {&loop_, token()}, decision);
  switch (decision.kind) {
    case CacheDecision::Kind::kPass:
      pass_reason_ = decision.pass_reason;
      return forward();
    case CacheDecision::Kind::kFetch:
      fill_ = std::move(decision.fill);
      stats_->cache_misses.add();
      return forward();
    case CacheDecision::Kind::kWait:
      if (state_ != State::kCacheWait) {
        adopt_head(given_head_);
        state_ = State::kCacheWait;
        loop_.wheel().arm(timer_, loop_.now() + kCacheWaitMax);
      }
      return;
    case CacheDecision::Kind::kServe:
      stats_->cache_hits.add();
      if (decision.fill) {
        loop_.take_exchange().begin_background(*this, std::move(decision.fill));
      }
      timer_.disarm();
      return serve(std::move(decision.answer));
  }
}

// A fetch that no client's connection carries: the cache answered with what it had and wants it
// renewed, or wants the next slice of what it answers with.
void Exchange::begin_background(const Exchange& model, std::unique_ptr<Fill> fill) {
  head_ = model.head_;
  host_ = model.host_;
  client_ = model.client_;
  peer_ = model.peer_;
  protocol_ = model.protocol_;
  ja4_ = model.ja4_;
  secure_ = model.secure_;
  trusted_ = model.trusted_;
  from_edge_ = model.from_edge_;
  scheme_ = model.scheme_;
  began_ = loop_.now();
  body_ended_ = true;
  route_ = model.route_;
  stats_ = model.stats_;
  fill_ = std::move(fill);
  inspected_ = model.inspected_;
  adopt_head(model.adopted_ ? std::string_view(model.head_bytes_) : model.given_head_);
  if (model.snapshot_) snapshot_ = model.snapshot_;  // whose route it is
  forward();
}

// Makes the head outlive the buffer that it came in.
void Exchange::adopt_head(std::string_view bytes) {
  if (adopted_) return;
  adopted_ = true;
  head_bytes_.assign(bytes);
  auto move = [&](std::string_view& text) {
    if (text.data() == nullptr || text.empty() || text.data() < bytes.data() ||
        text.data() >= bytes.data() + bytes.size())
      return;  // static text, such as the path of an absolute target without one
    text = {head_bytes_.data() + (text.data() - bytes.data()), text.size()};
  };
  move(head_.method_text);
  move(head_.target);
  move(head_.host);
  for (std::size_t i = 0; i < head_.field_count; ++i) {
    move(head_.field_array[i].name);
    move(head_.field_array[i].value);
  }
  snapshot_ = loop_.shared_snapshot();
}

void Exchange::forward() {
  adopt_head(given_head_);
  timer_.disarm();  // of a wait that is over
  if (must_inspect(false)) return collect();
  if (snapshot_ != loop_.shared_snapshot()) {  // reloaded while it waited
    const RouteSpec* route = loop_.snapshot().find(host_.view(), path());
    if (route == nullptr) return give_up(404, "no route for this host and path any more");
    route_ = route;
    snapshot_ = loop_.shared_snapshot();
  }
  group_ = loop_.group(route_->group);
  const bool needs_writer = route_->writer == WriterNeed::kAll ||
                            (route_->writer == WriterNeed::kUnsafe && !is_safe(head_.method));
  if (needs_writer && loop_.state().moving) return park();
  state_ = State::kForward;
  origin_began_ = loop_.now();
  key_ = std::hash<std::string_view>{}(head_.target) ^ std::hash<std::string_view>{}(host_.view());
  core().request();
  if (!attempt(0, false)) give_up(503, "no origin can take the request");
}

void Exchange::park() {
  place_ = loop_.park(*this, head_bytes_.size() + body_.size());
  if (place_ == nullptr) {
    stats_->parked_too_long.add();
    return give_up(503, "too many requests wait for the writer to move");
  }
  stats_->parked.add();
  state_ = State::kParked;
  loop_.wheel().arm(timer_, loop_.now() + snapshot_->config.parking.time_max);
}

void Exchange::on_release() {
  if (state_ != State::kParked) return;  // it has waited too long, and is served what is stale
  place_.reset();
  timer_.disarm();
  forward();
}

void Exchange::on_wake() {
  if (state_ == State::kInspect) return on_inspected();
  if (state_ == State::kHold) return on_response_inspected();
  if (state_ == State::kCacheWait) return look_up();
  if (storing_ && attempts_[winner_].stream != nullptr) {
    fill_paused_ = false;
    attempts_[winner_].stream->resume();
  }
  if (serving_) pump_answer();
}

void Exchange::on_timer(Timer&) {
  switch (state_) {
    case State::kCollect:
      return on_collect_timeout();
    case State::kInspect:
      return on_inspection_timeout();
    case State::kHold:
      return on_hold_timeout();
    case State::kCacheWait:
      cache_gave_up_ = true;
      pass_reason_ = "fwd=miss; detail=wait-timeout";
      return forward();
    case State::kParked:
      place_.reset();
      stats_->parked_too_long.add();
      return give_up(503, "the writer moves; try again");
    case State::kForward:
      if (!hedged_ && core().take_hedge()) {
        hedged_ = true;
        if (attempt(1, true)) stats_->hedges.add();
      }
      return;
    default:
      return;
  }
}

// ---- the request's body

bool Exchange::wants_body() const {
  if (state_ == State::kIdle || state_ == State::kOver) return false;
  if (state_ == State::kInspect) return false;
  if (state_ == State::kCollect) return body_.size() <= waf_->settings.body_bytes_max;
  const std::size_t room = loop_.snapshot().config.limits.buffer_bytes;
  if (state_ == State::kTunnel) {
    const OriginStream* stream = attempts_[winner_].stream;
    return stream != nullptr && stream->queued() < room;
  }
  if (state_ != State::kForward && state_ != State::kHold && state_ != State::kRespond)
    return body_.size() < room;
  for (const Attempt& a : attempts_)
    if (a.stream != nullptr) return body_received_ - a.sent + a.stream->queued() < room;
  return body_.size() < room;
}

void Exchange::on_body(std::string_view bytes) {
  if (state_ == State::kTunnel) {
    if (OriginStream* stream = attempts_[winner_].stream) stream->send_body(bytes);
    return;
  }
  body_received_ += bytes.size();
  if (body_received_ > loop_.snapshot().config.limits.request_body_bytes_max) {
    if (status_ == 0) return reply(413, "the body is too large");
    return down_->abort();
  }
  body_.append(bytes);
  if (state_ == State::kCollect) return collect_body(bytes.size());
  for (std::size_t slot = 0; slot < attempts_.size(); ++slot) send_request_body(slot);
  drop_body();
}

void Exchange::on_body_end(std::string_view trailers) {
  if (state_ == State::kTunnel) {
    if (OriginStream* stream = attempts_[winner_].stream) stream->send_end({});
    return;
  }
  body_ended_ = true;
  // They come after the verdict, and no rule reads them: where there are rules, none goes on.
  if (loop_.snapshot().config.waf == nullptr) append_request_trailers(body_trailers_, trailers);
  if (state_ == State::kCollect) return collected();
  for (std::size_t slot = 0; slot < attempts_.size(); ++slot) send_request_body(slot);
}

// Forgets the part of the body that was sent and is too large to be kept for another attempt.
void Exchange::drop_body() {
  if (body_.size() <= loop_.snapshot().config.limits.replay_bytes) return;
  const Attempt& a = attempts_[attempts_[0].stream != nullptr ? 0 : 1];
  if (a.stream == nullptr) return;
  replayable_ = false;
  body_.erase(0, static_cast<std::size_t>(a.sent - body_base_));
  body_base_ = a.sent;
}

void Exchange::on_bad_body(const char* why) {
  if (status_ == 0) return reply(400, why);
  down_->abort();
}

void Exchange::on_body_timeout() {
  if (status_ == 0) return reply(408, "the request's body did not come in time");
  // Both sides talk, as in a bidirectional gRPC call: silence is the origin's to end.
  if (attempts_[winner_].stream != nullptr) return;
  down_->abort();
}

// ---- the response

void Exchange::on_drained() {
  if (serving_) {
    pump_answer();
    return;
  }
  if ((state_ == State::kRespond || state_ == State::kTunnel) &&
      attempts_[winner_].stream != nullptr)
    attempts_[winner_].stream->resume();
}

// The edge's own words.
void Exchange::reply(int status, std::string_view text, Duration retry_after) {
  for (std::size_t slot = 0; slot < attempts_.size(); ++slot) cancel(slot, false);
  std::string more;
  if (retry_after > Duration{})
    more = fmt::format("Retry-After: {}\r\n",
                       std::chrono::ceil<std::chrono::seconds>(retry_after).count());
  if (!waf_location_.empty()) more.append("Location: ").append(waf_location_).append("\r\n");
  say(status, more, fmt::format("{} {}: {}\n", status, reason_of(status), text));
}

// `fields`: of its head, beside those that every answer of the edge has.
void Exchange::say(int status, std::string_view fields, std::string_view body,
                   std::string_view type) {
  status_ = status;
  if (down_ == nullptr) return finish();
  std::string& lines = loop_.lines();
  lines.assign("Cache-Control: no-store\r\nContent-Type: ").append(type).append("\r\n");
  lines.append(fields);
  loop_.append_date(lines);
  const std::string_view blocks[] = {lines};
  down_->send_head(
      {.status = status, .reason = {}, .lines = blocks, .length = body.size(), .body = true});
  if (head_.method != Method::kHead) {
    down_->send_body(body);
    bytes_out_ = body.size();
  }
  down_->send_end({});
  finish();
}

// No response could be had; perhaps the cache has an old one.
void Exchange::give_up(int status, std::string_view why) {
  if (fill_) {
    CacheAnswer answer;
    const bool stale = fill_->on_error(loop_.both(), answer);
    fill_.reset();
    if (stale) {
      origin_done_ = true;
      if (down_ == nullptr) return finish();
      return serve(std::move(answer));
    }
  }
  reply(status, why, status == 503 ? Duration(1s) : Duration{});
}

void Exchange::serve(CacheAnswer answer) {
  answer_ = std::move(answer);
  state_ = State::kRespond;
  serving_ = true;
  status_ = answer_.status;
  const bool body = answer_.body != nullptr && answer_.size != 0 && head_.method != Method::kHead;
  const std::string_view blocks[] = {answer_.field_lines, answer_.added_lines()};
  down_->send_head({.status = answer_.status,
                    .reason = {},
                    .lines = blocks,
                    .length = {},
                    .body = body,
                    .length_in_lines = answer_.size != CacheAnswer::kUnknown});
  if (!body) answer_.size = 0;
  if (answer_.may_fetch) adopt_head(given_head_);
  if (!pump_answer()) adopt_head(given_head_);  // it lasts longer than this event
}

// True: the answer is out, and the exchange is over as far as the client goes.
bool Exchange::pump_answer() {
  using Kind = Body::Piece::Kind;
  while (answer_.size != 0) {
    if (!down_->wants_more()) return false;
    const Body::Piece piece = answer_.body->read(answer_.offset, {&loop_, token()});
    if (piece.kind == Kind::kWait) return false;
    if (piece.kind == Kind::kFetch) {
      loop_.take_exchange().begin_background(*this, answer_.body->take_fetch());
      continue;
    }
    if (piece.kind == Kind::kEnd && answer_.size == CacheAnswer::kUnknown) break;
    if (piece.kind == Kind::kEnd || piece.kind == Kind::kAborted) {
      down_->abort();
      return false;  // the client's end comes back as on_client_gone()
    }
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(answer_.size, piece.size));
    const std::size_t sent = down_->send_piece(piece, most);
    if (sent == 0) return false;
    answer_.offset += sent;
    bytes_out_ += sent;
    if (answer_.size != CacheAnswer::kUnknown) answer_.size -= sent;
  }
  serving_ = false;
  down_->send_end({});
  finish();
  return true;
}

// ---- the end

void Exchange::on_client_gone() {
  if (status_ == 0) status_ = kClientGone;
  count_and_log();
  down_ = nullptr;
  end_answer();
  // What is being fetched into the cache is of use to others.
  if ((fill_ || storing_) && !origin_done_) return;
  finish();
}

// A reader that reads no more would hold up whoever fills the cache.
void Exchange::end_answer() {
  serving_ = false;
  answer_.body = nullptr;
  answer_.owner.reset();
}

// The client's part is over. The exchange stays as long as it fills the cache.
void Exchange::finish() {
  if (down_ != nullptr) {
    count_and_log();
    std::exchange(down_, nullptr)->exchange_done();
  }
  end_answer();
  if (!origin_done_ && storing_) return;
  if (state_ == State::kOver) return;
  for (std::size_t slot = 0; slot < attempts_.size(); ++slot) cancel(slot, false);
  end_hold();
  state_ = State::kOver;
  timer_.disarm();
  loop_.give_exchange(*this);
}

void Exchange::reset() {
  ++generation_;
  timer_.disarm();
  state_ = State::kIdle;
  down_ = nullptr;
  adopted_ = false;
  given_head_ = {};
  snapshot_.reset();
  route_ = nullptr;
  stats_ = nullptr;
  shrink(head_bytes_);
  shrink(body_);
  body_base_ = body_received_ = 0;
  body_ended_ = false;
  body_trailers_.clear();
  replayable_ = true;
  group_.reset();
  attempts_ = {};
  tried_ = 0;
  attempts_made_ = 0;
  hedged_ = origin_used_ = false;
  winner_ = 0;
  origin_time_ = {};
  status_ = 0;
  bytes_out_ = 0;
  origin_done_ = true;
  fill_.reset();
  storing_ = cache_gave_up_ = fill_paused_ = false;
  end_answer();
  pass_reason_ = {};
  firewall_rule_.clear();
  end_inspection();
  end_hold();
  place_.reset();
  inspected_ = continued_ = false;
  waf_outcome_ = {};
  waf_rule_.clear();
  waf_location_.clear();
  audit_waf_.reset();
  audit_.reset();
}

void Exchange::count_and_log() {
  const Duration took = BootClock::now() - began_;
  if (stats_ != nullptr) {
    stats_->status[status_ == kClientGone ? 0 : static_cast<std::size_t>(status_ / 100)].add();
    stats_->bytes_out.add(bytes_out_);
    stats_->observe(took);
  }
  if (audit_) log_audit();
  if (loop_.shared().access_log == nullptr) return;
  std::string_view cache_status = !answer_.owner ? std::string_view("-") : std::string_view("hit");
  if (storing_ || (origin_used_ && route_ != nullptr && route_->cache && pass_reason_.empty()))
    cache_status = "miss";
  const AccessEntry entry{
      .client = client_,
      .wall = loop_.both().wall,
      .request = view(),
      .protocol = protocol_,
      .status = status_,
      .bytes = bytes_out_,
      .took = took,
      .origin_took = origin_time_,
      .route = route_ != nullptr ? std::string_view(route_->name) : std::string_view(),
      .origin = origin_used_ ? std::string_view(group_->spec().origins[last_origin_].name)
                             : std::string_view(),
      .attempts = attempts_made_,
      .hedged = hedged_,
      .cache = cache_status,
      .rule = waf_rule_.empty() ? firewall_rule_ : waf_rule_,
      .waf = waf_outcome_,
      .ja4 = ja4_};
  format_access(loop_.shared().options.access_log, entry, loop_.access_line());
  loop_.log_access();
}

}  // namespace leeward::edge
