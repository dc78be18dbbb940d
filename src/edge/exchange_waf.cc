// Exchange: inspection of the request by the web application firewall. Its body, within bounds, is
// collected here first. What the engine can judge at once is judged here; otherwise a thread of the
// WafPool has the request, and this one waits like one that waits for the cache. Every way out
// cancels the inspection: a late verdict finds nobody.
#include <algorithm>

#include "edge/internal/exchange_flow.h"

namespace leeward::edge {

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
  if (down_ != nullptr) down_->resume_body();
}

// False: there is no memory for `bytes` more of the body, and the request has been dealt with.
bool Exchange::hold(std::size_t bytes) {
  if (waf_->pool->hold(bytes, waf_->settings)) {
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
  const EdgeWaf& settings = waf_->settings;
  const bool too_large = body_.size() > settings.body_bytes_max;
  if (too_large && settings.mode == WafMode::kBlock &&
      settings.body_limit_action == WafBodyLimit::kReject) {
    waf_outcome_ = name(WafOutcome::kBodyTooLarge);
    waf_->pool->note(WafOutcome::kBodyTooLarge, inspected_request(), nullptr);
    return refuse(413, "the body is too large to be inspected");
  }
  inspection_ = std::make_shared<Inspection>(waf_->engine, inspected_request());
  if (const auto verdict = waf_->pool->inspect_at_once(*inspection_)) return judge(*verdict);
  state_ = State::kInspect;
  if (!waf_->pool->submit(inspection_, {&loop_, token()}, settings))
    return not_inspected(WafOutcome::kOverload);
  loop_.wheel().arm(timer_, loop_.now() + settings.timeout);
}

// Takes the body along: while it is inspected nobody else needs it.
InspectedRequest Exchange::inspected_request() {
  InspectedRequest request;
  request.client = client_;
  request.method = head_.method_text;
  request.target = head_.target;
  request.protocol = protocol_;
  request.host = host_.view();
  request.fields.reserve(head_.field_count);
  for (const Field& field : head_.fields()) request.fields.emplace_back(field.name, field.value);
  request.body_inspected =
      std::min<std::size_t>(body_.size(), static_cast<std::size_t>(waf_->settings.body_bytes_max));
  request.body = std::move(body_);
  body_.clear();
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
  const WafOutcome outcome = enforced ? WafOutcome::kBlock
                             : block  ? WafOutcome::kDetect
                                      : WafOutcome::kPass;
  waf_outcome_ = name(outcome);
  if (block) waf_rule_ = verdict.decisive.rule;
  waf_->pool->note(outcome, inspection_->request(), &verdict);
  if (!enforced) return pass_inspection();
  waf_location_ = verdict.location;
  refuse(verdict.status, "refused");
}

void Exchange::on_inspection_timeout() {
  if (inspection_->verdict() != nullptr) return on_inspected();  // it is just there
  inspection_->cancel();
  not_inspected(WafOutcome::kTimeout);
}

void Exchange::not_inspected(WafOutcome outcome) {
  const EdgeWaf& settings = waf_->settings;
  waf_outcome_ = name(outcome);
  const bool said_why = outcome == WafOutcome::kError;
  waf_->pool->note(outcome, inspection_->request(), said_why ? inspection_->verdict() : nullptr);
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
    inspection_->cancel();
    inspection_->take_body();  // a cancelled one may wait in the queue for long
    inspection_.reset();
  }
  if (held_bytes_ > 0) waf_->pool->release(std::exchange(held_bytes_, 0));
  waf_.reset();
}

// What may be fetched for others is not fetched by this request.
void Exchange::refuse(int status, std::string_view text) {
  end_inspection();
  fill_.reset();
  reply(status, text, status == 503 ? Duration(1s) : Duration{});
}

}  // namespace leeward::edge
