#include "edge/internal/origin_stream_h2.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "edge/internal/h2_fields.h"

namespace leeward::edge {
namespace {

ssize_t read_source(nghttp2_session*, std::int32_t, std::uint8_t* buffer, std::size_t size,
                    std::uint32_t* flags, nghttp2_data_source* source, void*) {
  return static_cast<OriginStreamH2*>(source->ptr)->read_body(buffer, size, flags);
}

}  // namespace

OriginStreamH2::OriginStreamH2(OriginH2& link, OriginUser& user, std::size_t slot)
    : link_(link), user_(&user), slot_(slot), timer_(*this) {}

// ---- the request

void OriginStreamH2::send_head(const OriginRequest& request) {
  to_head_ = request.to_head;
  FieldList fields;
  fields.add(":method", request.method);
  fields.add(":scheme", link_.secure() ? "https" : "http");
  fields.add(":authority", request.authority);
  fields.add(":path", request.target);
  fields.add_lines(request.lines);
  if (request.content_length)
    fields.add("content-length", fmt::format("{}", *request.content_length));
  const bool body = request.framing != Framing::kNone;
  nghttp2_data_provider provider{.source = {.ptr = this}, .read_callback = read_source};
  const auto list = fields.list();
  id_ = nghttp2_submit_request(link_.session(), nullptr, list.data(), list.size(),
                               body ? &provider : nullptr, this);
  complete_ = finished_ = !body;
  arm();
  if (id_ < 0) link_.settle_later(*this);  // it fails there
  link_.stir();
}

void OriginStreamH2::send_body(std::string_view bytes) {
  out_.append(bytes);
  provide();
}

void OriginStreamH2::send_end(std::string_view trailer_lines) {
  complete_ = true;
  trailers_.assign(trailer_lines);
  arm();
  provide();
}

void OriginStreamH2::provide() {
  if (std::exchange(deferred_, false)) nghttp2_session_resume_data(link_.session(), id_);
  link_.stir();
}

ssize_t OriginStreamH2::read_body(std::uint8_t* to, std::size_t size, std::uint32_t* flags) {
  const std::size_t n = out_.take(to, size);
  if (n > 0) arm();  // it takes our part: that is no silence
  if (!complete_) {
    if (!std::exchange(drained_, true)) link_.settle_later(*this);
    if (n > 0) return static_cast<ssize_t>(n);
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (!out_.empty()) return static_cast<ssize_t>(n);
  end_body(link_.session(), id_, trailers_, flags);
  finished_ = true;
  return static_cast<ssize_t>(n);
}

// ---- the response

bool OriginStreamH2::add_field(std::string_view name, std::string_view value) {
  fields_bytes_ += name.size() + value.size() + 4;
  const std::size_t most = loop().snapshot().config.limits.head_bytes_max;
  if (fields_bytes_ > most) {
    too_large_ = true;
    return fields_bytes_ <= 4 * most;
  }
  if (name == ":status") {
    status_ = value;
    has_length_ = false;
  } else if (head_done_) {
    if (allowed_in_trailer(name))
      reply_trailers_.append(name).append(": ").append(value).append("\r\n");
  } else {
    has_length_ = has_length_ || name == "content-length";
    fields_.append(name).append(": ").append(value).append("\r\n");
  }
  return true;
}

void OriginStreamH2::on_fields_end(bool end_stream) {
  arm();
  link_.prove();
  if (user_ != nullptr && too_large_) {
    tell_fault(OriginFault::kBadReply, false);
    return reset(NGHTTP2_INTERNAL_ERROR);
  }
  if (!head_done_) on_head(end_stream);
}

// Written down as HTTP/1.1 and read by its strict parser, so that nothing that HTTP/2 can carry and
// HTTP/1.1 cannot reaches a client in disguise.
void OriginStreamH2::on_head(bool end_stream) {
  const bool interim = status_.starts_with('1');
  const bool body = !interim && !to_head_ && status_ != "204" && status_ != "304";
  std::string text = "HTTP/1.1 " + status_ + " \r\n" + fields_;
  ResponseHead& head = loop().response_head();
  if (body && !has_length_)
    text.append(end_stream ? "content-length: 0\r\n" : "transfer-encoding: chunked\r\n");
  text.append("\r\n");
  HeadScan scan;
  const Outcome outcome = parse_response(text, loop().snapshot().head_limits, to_head_, scan, head);
  status_.clear();
  fields_.clear();
  fields_bytes_ = 0;
  if (outcome.kind != Outcome::Kind::kDone || head.framing == Framing::kTunnel) {
    tell_fault(OriginFault::kBadReply, false);
    return reset(NGHTTP2_PROTOCOL_ERROR);
  }
  head_done_ = !interim;
  if (user_ == nullptr) return;
  if (!user_->on_origin_head(slot_, head)) return let_go(NGHTTP2_CANCEL);
  if (head_done_ && !end_stream && head.framing == Framing::kNone) on_end();
}

void OriginStreamH2::on_body(std::string_view bytes) {
  unconsumed_ += bytes.size();
  arm();
  if (user_ == nullptr) return take_window();
  if (!user_->on_origin_body(slot_, bytes)) return let_go(NGHTTP2_CANCEL);
  if (user_ == nullptr || user_->origin_may_send(slot_)) take_window();
}

void OriginStreamH2::on_end() {
  ended_ = true;
  timer_.disarm();
  OriginUser* user = std::exchange(user_, nullptr);
  // Nobody reads the rest of the request any more.
  if (!finished_) reset(NGHTTP2_CANCEL);
  if (user != nullptr) user->on_origin_end(slot_, reply_trailers_);
}

void OriginStreamH2::on_close(std::uint32_t error, bool going_away) {
  timer_.disarm();
  if (!sent_ || (error == NGHTTP2_REFUSED_STREAM && going_away))
    return tell_fault(OriginFault::kStale, true);
  if (error == NGHTTP2_REFUSED_STREAM) return tell_fault(OriginFault::kRefused, true);
  tell_fault(OriginFault::kBroken, false);
}

void OriginStreamH2::take_window() {
  if (unconsumed_ == 0) return;
  nghttp2_session_consume_stream(link_.session(), id_, std::exchange(unconsumed_, 0));
  link_.stir();
}

// ---- the end

void OriginStreamH2::tell_fault(OriginFault why, bool nothing_done) {
  timer_.disarm();
  if (OriginUser* user = std::exchange(user_, nullptr))
    user->on_origin_fault(slot_, why, nothing_done);
}

void OriginStreamH2::fail(OriginFault why) {
  // A connection that has served, and is closed as we use it, says nothing of the origin.
  const bool stale = why == OriginFault::kBroken && !head_done_ && link_.proven();
  tell_fault(stale ? OriginFault::kStale : why, why == OriginFault::kConnect || !sent_);
}

void OriginStreamH2::refuse() {
  reset(NGHTTP2_REFUSED_STREAM);
  tell_fault(OriginFault::kStale, true);
}

void OriginStreamH2::let_go(std::uint32_t error) {
  user_ = nullptr;
  timer_.disarm();
  reset(error);
}

void OriginStreamH2::abandon() { let_go(NGHTTP2_CANCEL); }

void OriginStreamH2::reset(std::uint32_t error) {
  if (id_ > 0 && !std::exchange(reset_, true))
    nghttp2_submit_rst_stream(link_.session(), NGHTTP2_FLAG_NONE, id_, error);
  link_.stir();
}

void OriginStreamH2::arm() {
  if (user_ == nullptr || ended_) return;
  const EdgeTimeouts& t = loop().snapshot().config.timeouts;
  loop().wheel().arm(timer_, loop().now() + (head_done_ ? t.origin_idle : t.first_byte));
}

void OriginStreamH2::on_timer(Timer&) {
  if (user_ == nullptr) return;
  // Neither a client that sends slowly nor one that reads slowly is the origin's delay.
  const bool client_sends = !complete_ && out_.empty() && !head_done_;
  if (client_sends || (head_done_ && !user_->origin_may_send(slot_))) return arm();
  const OriginFault why = head_done_ ? OriginFault::kIdle : OriginFault::kFirstByte;
  reset(NGHTTP2_CANCEL);
  link_.retire();  // perhaps it is the connection that is at fault
  tell_fault(why, false);
}

bool OriginStreamH2::settle() {
  if (id_ < 0) {
    tell_fault(OriginFault::kStale, true);
    return false;
  }
  if (user_ != nullptr && std::exchange(drained_, false) &&
      queued() < loop().snapshot().config.limits.buffer_bytes / 2)
    user_->on_origin_drained(slot_);
  return true;
}

}  // namespace leeward::edge
