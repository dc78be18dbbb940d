// Exchange: inspection of the request by the web application firewall. Its body, within bounds, is
// collected here first. What the engine can judge at once is judged here; otherwise a thread of the
// WafPool has the request, and this one waits like one that waits for the cache. Every way out
// cancels the inspection: a late verdict finds nobody.
#include <algorithm>

#include "edge/crawler_check.h"
#include "edge/internal/exchange_flow.h"

namespace leeward::edge {
namespace {

// How fast a body has to come while it is held back, over each timeouts.body: hardly at all, and,
// as soon as there is little room for others, at a speed that every usable connection has.
constexpr double kBytesPerSecondMin = 1u << 10;
constexpr double kBytesPerSecondMinOfMuch = 16u << 10;

}  // namespace

bool Exchange::must_inspect(bool before_cache) const {
  if (inspected_) return false;
  const auto& waf = loop_.snapshot().config.waf;
  return waf != nullptr && (!before_cache || waf->settings.before_cache);
}

void Exchange::collect() {
  adopt_head(given_head_);
  timer_.disarm();
  waf_ = loop_.snapshot().config.waf;
  state_ = State::kCollect;
  if (!hold(body_.size())) return;
  if (body_ended_ || body_.size() > waf_->settings.body_bytes_max) return collected();
  // The origin, which would say so, is not asked before the body is here.
  if (head_.expects_continue && down_ != nullptr && body_received_ == 0) {
    continued_ = true;
    down_->send_interim(100, {});
  }
  expect_body();
  if (down_ != nullptr) down_->resume_body();
}

void Exchange::expect_body() {
  collected_then_ = body_received_;
  loop_.wheel().arm(timer_, loop_.now() + loop_.snapshot().config.timeouts.body);
}

// A client that sends an octet now and then would keep the room that its body takes from all
// others.
void Exchange::on_collect_timeout() {
  const bool much = waf_->pool->holds_much(waf_->settings);
  const double least = seconds(loop_.snapshot().config.timeouts.body) *
                       (much ? kBytesPerSecondMinOfMuch : kBytesPerSecondMin);
  if (static_cast<double>(body_received_ - collected_then_) >= least) return expect_body();
  // Where nothing is refused, it is judged by what is here.
  if (waf_->settings.mode == WafMode::kDetect) return collected();
  on_body_timeout();
}

// False: there is no memory for `bytes` more of the body, and the request has been dealt with.
bool Exchange::hold(std::size_t bytes) {
  if (waf_->pool->hold(client_, bytes, waf_->settings)) {
    held_bytes_ += bytes;
    return true;
  }
  inspection_ = std::make_shared<Inspection>(waf_->engine, inspected_request());
  not_inspected(WafOutcome::kOverload);
  return false;
}

void Exchange::collect_body(std::size_t bytes) {
  if (hold(bytes) && body_.size() > waf_->settings.body_bytes_max) collected();
}

void Exchange::collected() {
  timer_.disarm();
  const EdgeWaf& settings = waf_->settings;
  const bool too_large = body_.size() > settings.body_bytes_max;
  if (too_large && settings.mode == WafMode::kBlock &&
      settings.body_limit_action == WafBodyLimit::kReject) {
    waf_outcome_ = name(WafOutcome::kBodyTooLarge);
    waf_->pool->note(WafOutcome::kBodyTooLarge, inspected_request(), nullptr, waf_->mask.get());
    return refuse(413, "the body is too large to be inspected");
  }
  inspection_ = std::make_shared<Inspection>(waf_->engine, inspected_request());
  // Without a body it takes less time than to wake a thread.
  if (inspection_->request().body.empty() || loop_.round_is_young())
    if (const auto verdict = waf_->pool->inspect_at_once(*inspection_)) return judge(*verdict);
  state_ = State::kInspect;
  if (!waf_->pool->submit(inspection_, {&loop_, token()}, settings))
    return not_inspected(WafOutcome::kOverload);
  loop_.wheel().arm(timer_, loop_.now() + settings.timeout);
}

// Takes the body along: while it is inspected nobody else needs it.
InspectedRequest Exchange::inspected_request() {
  InspectedRequest request = described_request();
  if (const auto& challenge = loop_.snapshot().config.challenge)
    request.challenge_passed = challenge->passed(view(), loop_.both().wall);
  if (waf_->crawlers)
    if (const auto state = waf_->crawlers->state_of(
            client_, find_field(head_.fields(), "user-agent"), loop_.now()))
      request.crawler = name(*state);
  request.body_coded = find_field(head_.fields(), "content-encoding").data() != nullptr;
  request.body_inspected =
      std::min<std::size_t>(body_.size(), static_cast<std::size_t>(waf_->settings.body_bytes_max));
  request.body = std::move(body_);
  body_.clear();
  return request;
}

// Without its body.
InspectedRequest Exchange::described_request() const {
  InspectedRequest request;
  request.client = client_;
  request.method = head_.method_text;
  request.target = head_.target;
  request.protocol = protocol_;
  request.ja4 = ja4_;
  request.host = host_.view();
  request.fields.reserve(head_.field_count);
  for (const Field& field : head_.fields()) request.fields.emplace_back(field.name, field.value);
  return request;
}

void Exchange::on_inspected() {
  const WafVerdict* found = inspection_->verdict();
  if (found == nullptr) return;
  timer_.disarm();
  const WafVerdict verdict = *found;
  judge(verdict);
}

void Exchange::judge(const WafVerdict& verdict) {
  if (verdict.kind == WafVerdict::Kind::kError) return not_inspected(WafOutcome::kError);
  const bool block = verdict.kind == WafVerdict::Kind::kBlock;
  const bool enforced = block && waf_->settings.mode == WafMode::kBlock;
  const WafOutcome outcome = enforced && verdict.challenge ? WafOutcome::kChallenge
                             : enforced                    ? WafOutcome::kBlock
                             : block                       ? WafOutcome::kDetect
                                                           : WafOutcome::kPass;
  waf_outcome_ = name(outcome);
  if (block) waf_rule_ = verdict.decisive.rule;
  waf_->pool->note(outcome, inspection_->request(), &verdict, waf_->mask.get());
  keep_for_audit(waf_, verdict, &inspection_->request());
  if (!enforced) return pass_inspection();
  if (verdict.challenge) return pose_challenge();
  waf_location_ = verdict.location;
  refuse(verdict.status, "refused");
}

// What the audit log may need at the end, when the status is known; by then the inspection is over.
// `inspected`: null when a response was inspected, and the request's body is no longer here.
void Exchange::keep_for_audit(const std::shared_ptr<const Waf>& waf, const WafVerdict& verdict,
                              const InspectedRequest* inspected) {
  if (waf->audit == nullptr || down_ == nullptr) return;
  if (waf->audit->which == AuditPolicy::Which::kRelevant && waf->audit->statuses.none() &&
      verdict.kind == WafVerdict::Kind::kPass && verdict.matches.empty())
    return;      // whatever becomes of it
  if (audit_) {  // by the rules about responses, after those about requests
    auto& matches = audit_->verdict.matches;
    matches.insert(matches.end(), verdict.matches.begin(), verdict.matches.end());
    if (verdict.kind != WafVerdict::Kind::kPass) audit_->verdict.kind = verdict.kind;
    return;
  }
  audit_waf_ = waf;
  audit_ = std::make_unique<AuditEntry>();
  audit_->request = described_request();
  if (const std::size_t most = waf->audit->body_bytes_max; most > 0 && inspected != nullptr) {
    audit_->request.body = inspected->body.substr(0, most);
    audit_->request.body_coded = inspected->body_coded;
    audit_->body_bytes = inspected->body.size();
  }
  audit_->verdict = verdict;
  audit_->enforced = waf->settings.mode == WafMode::kBlock;
  audit_->id = fmt::format("{:x}-{:x}", loop_.both().wall.time_since_epoch().count(), token());
  audit_->began = loop_.both().wall;
}

void Exchange::log_audit() {
  audit_->status = status_;
  if (!is_relevant(*audit_waf_->audit, *audit_)) return;
  std::string line;
  format_audit(*audit_, *audit_waf_->mask, line);
  loop_.log_audit(line);
}

void Exchange::on_inspection_timeout() {
  if (inspection_->verdict() != nullptr) return on_inspected();  // it is just there
  waf_->pool->cancel(*inspection_);
  not_inspected(WafOutcome::kTimeout);
}

void Exchange::not_inspected(WafOutcome outcome) {
  const EdgeWaf& settings = waf_->settings;
  waf_outcome_ = name(outcome);
  const bool said_why = outcome == WafOutcome::kError;
  waf_->pool->note(outcome, inspection_->request(), said_why ? inspection_->verdict() : nullptr,
                   waf_->mask.get());
  if (settings.mode == WafMode::kDetect || settings.on_failure == WafFailure::kFailOpen)
    return pass_inspection();
  refuse(503, "the request could not be inspected; try again");
}

void Exchange::pass_inspection() {
  // A thread may still read the body after a time-out; then both have one. What came meanwhile
  // (HTTP/2 delivers what its window allowed) is behind it.
  std::string body = inspection_->take_body();
  body.append(body_);
  body_ = std::move(body);
  const bool before_cache = waf_->settings.before_cache;
  end_inspection();
  inspected_ = true;
  state_ = State::kIdle;
  if (before_cache && !fill_)
    look_up();
  else
    forward();
  if (down_ != nullptr && !body_ended_) down_->resume_body();
}

void Exchange::end_inspection() {
  if (inspection_) {
    waf_->pool->cancel(*inspection_);
    inspection_.reset();
  }
  if (held_bytes_ > 0) waf_->pool->release(client_, std::exchange(held_bytes_, 0));
  waf_.reset();
}

// What may be fetched for others is not fetched by this request.
void Exchange::refuse(int status, std::string_view text) {
  end_inspection();
  fill_.reset();
  reply(status, text, status == 503 ? Duration(1s) : Duration{});
}

}  // namespace leeward::edge
