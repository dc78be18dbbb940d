// Exchange: inspection of what an origin answers. The response's head, and of a body that rules
// look at its beginning, are held here; nothing of it goes to the client or into the cache before
// the verdict. What is not held: parts (206 that are not the whole), 304, and tunnels. What takes
// longer than response_hold, or is larger than response_bytes_max, is judged by what is here.
//
// What the cache keeps was inspected when it was fetched, once.
#include <algorithm>

#include "edge/internal/cache_range.h"
#include "edge/internal/exchange_flow.h"
#include "waf/inflate.h"

namespace leeward::edge {
namespace {

std::string_view media_type(const ResponseHead& head) {
  std::string_view type = find_field(head.fields(), "content-type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return type;
}

// A part that is the whole is none: so comes whatever fits into one slice, for which the cache asks
// by itself, and which it keeps and serves as an answer like others (cache_slices.h).
bool is_part(const ResponseHead& head) {
  if (head.status != 206) return false;
  const auto range = parse_content_range(find_field(head.fields(), "content-range"));
  return !range || range->size() != range->complete;
}

// As much of it as can be unpacked. A coding that nobody here knows: nothing.
std::string decoded(const ResponseHead& head, const std::string& body, std::size_t bytes_max) {
  const std::string_view coding = find_field(head.fields(), "content-encoding");
  if (coding.empty() || same_name(coding, "identity")) return body.substr(0, bytes_max);
  const auto known = waf::content_coding_named(coding);
  if (!known) return {};
  std::string out;
  waf::InflateLimits limits;
  limits.output_bytes_max = bytes_max;
  waf::Inflate(*known, limits).feed(body, out);  // false: cut, or at its limit
  out.resize(std::min(out.size(), bytes_max));
  return out;
}

}  // namespace

HeldResponse::HeldResponse(const ResponseHead& from) : head(from) {
  std::size_t size = head.reason.size();
  for (const Field& field : head.fields()) size += field.name.size() + field.value.size();
  texts.reserve(size);  // so that it does not move below
  const auto keep = [this](std::string_view& text) {
    const std::size_t at = texts.size();
    texts.append(text);
    text = std::string_view(texts).substr(at);
  };
  keep(head.reason);
  for (std::size_t i = 0; i < head.field_count; ++i) {
    keep(head.field_array[i].name);
    keep(head.field_array[i].value);
  }
}

bool Exchange::must_hold(const ResponseHead& head) const {
  const auto& waf = snapshot_->config.waf;
  return inspected_ && waf != nullptr && waf->settings.responses && head.status >= 200 &&
         head.status != 304 && !is_part(head);
}

bool Exchange::hold_response(std::size_t slot, const ResponseHead& head) {
  timer_.disarm();
  winner_ = slot;
  last_origin_ = attempts_[slot].origin;
  cancel(1 - slot, true);
  held_ = std::make_unique<HeldResponse>(head);
  held_->waf = snapshot_->config.waf;
  state_ = State::kHold;
  if (head.framing == Framing::kNone || !held_->waf->engine->reads_body_of(media_type(head)))
    return inspect_response(true);
  loop_.wheel().arm(timer_, loop_.now() + held_->waf->settings.response_hold);
  return true;
}

bool Exchange::hold_body(std::string_view bytes) {
  held_->body.append(bytes);
  if (held_->inspection != nullptr) return true;  // HTTP/2 delivers what its window allowed
  if (!held_->waf->pool->hold(client_, bytes.size(), held_->waf->settings)) {
    held_->inspection = std::make_shared<Inspection>(held_->waf->engine, described_request());
    return response_not_inspected(WafOutcome::kOverload, true);
  }
  held_->held_bytes += bytes.size();
  return held_->body.size() < held_->waf->settings.response_bytes_max || inspect_response(true);
}

void Exchange::hold_end(std::string_view trailers) {
  held_->ended = true;
  held_->trailers.assign(trailers);
  if (held_->inspection == nullptr) inspect_response(true);
}

// `by_stream`: the caller is the origin's stream, and what is returned tells it whether to go on.
bool Exchange::inspect_response(bool by_stream) {
  const Waf& waf = *held_->waf;
  InspectedResponse response{.status = held_->head.status,
                             .protocol = held_->head.minor_version == 0 ? "1.0" : "1.1"};
  for (const Field& field : held_->head.fields())
    response.fields.emplace_back(field.name, field.value);
  response.body =
      decoded(held_->head, held_->body, static_cast<std::size_t>(waf.settings.response_bytes_max));
  held_->inspection =
      std::make_shared<Inspection>(waf.engine, described_request(), std::move(response));
  timer_.disarm();
  if (loop_.round_is_young())
    if (const auto verdict = waf.pool->inspect_at_once(*held_->inspection))
      return judge_response(*verdict, by_stream);
  if (!waf.pool->submit(held_->inspection, {&loop_, token()}, waf.settings))
    return response_not_inspected(WafOutcome::kOverload, by_stream);
  loop_.wheel().arm(timer_, loop_.now() + waf.settings.timeout);
  return true;
}

void Exchange::on_response_inspected() {
  if (held_->inspection == nullptr) return;
  const WafVerdict* found = held_->inspection->verdict();
  if (found == nullptr) return;
  timer_.disarm();
  const WafVerdict verdict = *found;
  judge_response(verdict, false);
}

void Exchange::on_hold_timeout() {
  if (held_->inspection == nullptr) {  // the body is slow: by what is here
    inspect_response(false);
    return;
  }
  if (held_->inspection->verdict() != nullptr) return on_response_inspected();
  response_not_inspected(WafOutcome::kTimeout, false);
}

bool Exchange::judge_response(const WafVerdict& verdict, bool by_stream) {
  if (verdict.kind == WafVerdict::Kind::kError)
    return response_not_inspected(WafOutcome::kError, by_stream);
  const Waf& waf = *held_->waf;
  const bool block = verdict.kind == WafVerdict::Kind::kBlock;
  const bool enforced = block && waf.settings.mode == WafMode::kBlock;
  const WafOutcome outcome = enforced ? WafOutcome::kBlock
                             : block  ? WafOutcome::kDetect
                                      : WafOutcome::kPass;
  waf.pool->note_response(outcome, held_->inspection->request(), &verdict, waf.mask.get());
  keep_for_audit(held_->waf, verdict, nullptr);
  if (!block) return release_response(by_stream);
  waf_outcome_ = name(outcome);
  waf_rule_ = verdict.decisive.rule;
  if (!enforced) return release_response(by_stream);
  drop_response(verdict.status, "the answer was refused");
  return false;
}

bool Exchange::response_not_inspected(WafOutcome outcome, bool by_stream) {
  const Waf& waf = *held_->waf;
  waf_outcome_ = name(outcome);
  waf.pool->note_response(outcome, held_->inspection->request(), nullptr, waf.mask.get());
  if (waf.settings.mode == WafMode::kDetect || waf.settings.on_failure == WafFailure::kFailOpen)
    return release_response(by_stream);
  drop_response(503, "the answer could not be inspected; try again");
  return false;
}

// The response goes its way, as if it had just come.
bool Exchange::release_response(bool by_stream) {
  const std::uint64_t self = token();
  const std::size_t slot = winner_;
  const std::unique_ptr<HeldResponse> held = take_held();
  outside_stream_ = !by_stream;
  bool goes_on = respond(slot, held->head);
  // The exchange may be over, or ask once more, or be served from elsewhere.
  const auto still = [&] { return goes_on && token() == self && !origin_done_; };
  if (still() && !held->body.empty()) goes_on = on_origin_body(slot, held->body);
  if (still() && held->ended)
    response_ended(held->trailers);
  else if (still() && outside_stream_ && attempts_[slot].stream != nullptr)
    attempts_[slot].stream->resume();
  outside_stream_ = false;
  return goes_on;
}

void Exchange::drop_response(int status, std::string_view text) {
  end_hold();
  fill_.reset();
  reply(status, text, status == 503 ? Duration(1s) : Duration{});
}

std::unique_ptr<HeldResponse> Exchange::take_held() {
  if (held_->inspection) held_->waf->pool->cancel(*held_->inspection);
  if (held_->held_bytes > 0)
    held_->waf->pool->release(client_, std::exchange(held_->held_bytes, 0));
  timer_.disarm();
  state_ = State::kForward;
  return std::move(held_);
}

void Exchange::end_hold() {
  if (held_) take_held();
}

}  // namespace leeward::edge
