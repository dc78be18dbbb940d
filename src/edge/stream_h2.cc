#include "edge/internal/stream_h2.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "edge/http1.h"
#include "edge/internal/exchange_flow.h"
#include "edge/internal/h2_fields.h"

namespace leeward::edge {
namespace {

ssize_t read_source(nghttp2_session*, std::int32_t, std::uint8_t* buffer, std::size_t size,
                    std::uint32_t* flags, nghttp2_data_source* source, void*) {
  return static_cast<StreamH2*>(source->ptr)->read_body(buffer, size, flags);
}

}  // namespace

StreamH2::StreamH2(ClientH2& client, std::int32_t id) : client_(client), id_(id), timer_(*this) {}

StreamH2::~StreamH2() {
  if (Exchange* exchange = std::exchange(exchange_, nullptr)) exchange->on_client_gone();
}

// ---- the request

bool StreamH2::add_field(std::string_view name, std::string_view value) {
  head_bytes_ += name.size() + value.size() + 4;
  const std::size_t most = loop().snapshot().config.limits.head_bytes_max;
  if (head_bytes_ > most) {
    too_large_ = true;
    return head_bytes_ <= 2 * most;
  }
  if (begun_) {
    if (allowed_in_trailer(name)) trailers_.append(name).append(": ").append(value).append("\r\n");
    return true;
  }
  if (name == ":method") {
    method_ = value;
  } else if (name == ":path") {
    target_ = value;
  } else if (name == ":authority") {
    authority_ = value;
  } else if (name == "host") {
    // RFC 9113 §8.3.1: both must be the same; the parser compares by refusing a second Host.
    if (authority_.empty())
      authority_ = value;
    else if (authority_ != value)
      fields_.append("host: ").append(value).append("\r\n");
  } else if (name == "cookie") {
    // §8.2.3: pieces are joined before they leave HTTP/2.
    if (!cookie_.empty()) cookie_.append("; ");
    cookie_.append(value);
  } else if (!name.starts_with(':')) {
    has_length_ = has_length_ || name == "content-length";
    fields_.append(name).append(": ").append(value).append("\r\n");
  }
  return true;
}

void StreamH2::on_head_end(bool end_stream) {
  begun_ = true;
  body_open_ = !end_stream;
  if (too_large_) return refuse(431, "the request's head is too large");
  head_.assign(method_).append(" ").append(target_).append(" HTTP/1.1\r\nhost: ");
  head_.append(authority_).append("\r\n").append(fields_);
  if (!cookie_.empty()) head_.append("cookie: ").append(cookie_).append("\r\n");
  if (body_open_ && !has_length_) head_.append("transfer-encoding: chunked\r\n");
  head_.append("\r\n");
  waits_ = true;
  client_.stir();
}

void StreamH2::begin() {
  waits_ = false;
  Exchange& exchange = loop().take_exchange();
  HeadScan scan;
  const Outcome outcome =
      parse_request(head_, loop().snapshot().head_limits, scan, exchange.head());
  if (outcome.kind != Outcome::Kind::kDone || outcome.consumed != head_.size()) {
    loop().give_exchange(exchange);
    loop().stats().bad_requests.add();
    return refuse(outcome.kind == Outcome::Kind::kBad ? outcome.status : 400, outcome.why);
  }
  exchange_ = &exchange;
  if (body_open_) loop().wheel().arm(timer_, loop().now() + loop().snapshot().config.timeouts.body);
  exchange.start(*this, head_, client_.address(), client_.secure(), client_.trusted());
}

std::string_view StreamH2::ja4() const { return client_.ja4(); }

void StreamH2::refuse(int status, std::string_view why) {
  const std::string body = fmt::format("{}\n", why);
  const std::string_view lines[] = {"content-type: text/plain\r\n"};
  send_head({.status = status, .reason = {}, .lines = lines, .length = body.size(), .body = true});
  send_body(body);
  send_end({});
}

void StreamH2::on_body(std::string_view bytes) {
  unconsumed_ += bytes.size();
  if (waits_) begin();
  if (exchange_ == nullptr) return take_window();
  loop().wheel().arm(timer_, loop().now() + loop().snapshot().config.timeouts.body);
  exchange_->on_body(bytes);
  if (exchange_ != nullptr && exchange_->wants_body()) take_window();
}

void StreamH2::on_body_end() {
  if (!body_open_) return;
  if (waits_) begin();
  body_open_ = false;
  timer_.disarm();
  if (exchange_ != nullptr) exchange_->on_body_end(trailers_);
}

void StreamH2::take_window() {
  if (unconsumed_ == 0) return;
  nghttp2_session_consume_stream(client_.session(), id_, std::exchange(unconsumed_, 0));
  client_.stir();
}

void StreamH2::on_timer(Timer&) {
  if (exchange_ == nullptr || !body_open_) return;
  if (!exchange_->wants_body())
    return loop().wheel().arm(timer_, loop().now() + loop().snapshot().config.timeouts.body);
  exchange_->on_body_timeout();
}

void StreamH2::resume_body() { take_window(); }

// ---- the response

void StreamH2::send_interim(int status, std::string_view lines) {
  FieldList fields;
  fields.add(":status", fmt::format("{}", status));
  fields.add_lines(lines);
  const auto list = fields.list();
  nghttp2_submit_headers(client_.session(), NGHTTP2_FLAG_NONE, id_, nullptr, list.data(),
                         list.size(), nullptr);
  client_.stir();
}

void StreamH2::send_head(const ReplyHead& head) {
  head_sent_ = true;
  FieldList fields;
  fields.add(":status", fmt::format("{}", head.status));
  for (std::string_view block : head.lines) fields.add_lines(block);
  if (head.length) fields.add("content-length", fmt::format("{}", *head.length));
  const auto list = fields.list();
  nghttp2_data_provider provider{.source = {.ptr = this}, .read_callback = read_source};
  nghttp2_submit_response(client_.session(), id_, list.data(), list.size(),
                          head.body ? &provider : nullptr);
  finished_ = !head.body;
  client_.stir();
}

void StreamH2::send_body(std::string_view bytes) {
  if (bytes.empty() || aborted_) return;
  out_.append(bytes);
  provide();
}

std::size_t StreamH2::send_piece(const Body::Piece& piece, std::size_t size_max) {
  if (!wants_more()) return 0;
  const std::size_t room = loop().snapshot().config.limits.buffer_bytes - queued();
  std::size_t size = std::min({piece.size, size_max, room});
  if (piece.kind == Body::Piece::Kind::kMemory) {
    out_.append({piece.data, size});
  } else {
    const ssize_t n = out_.append_file(piece.fd, piece.file_offset, size);
    if (n <= 0) {  // the file is shorter than its index says
      abort();
      return 0;
    }
    size = static_cast<std::size_t>(n);
  }
  provide();
  return size;
}

void StreamH2::send_end(std::string_view trailer_lines) {
  ended_ = true;
  reply_trailers_.assign(trailer_lines);
  provide();
}

void StreamH2::provide() {
  if (std::exchange(deferred_, false)) nghttp2_session_resume_data(client_.session(), id_);
  client_.stir();
}

ssize_t StreamH2::read_body(std::uint8_t* to, std::size_t size, std::uint32_t* flags) {
  const std::size_t n = out_.take(to, size);
  if (!ended_) {
    drained_ = true;
    client_.stir();
    if (n > 0) return static_cast<ssize_t>(n);
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (!out_.empty()) return static_cast<ssize_t>(n);
  end_body(client_.session(), id_, reply_trailers_, flags);
  finished_ = true;
  return static_cast<ssize_t>(n);
}

void StreamH2::reset(std::uint32_t error) {
  nghttp2_submit_rst_stream(client_.session(), NGHTTP2_FLAG_NONE, id_, error);
  client_.stir();
}

void StreamH2::abort() {
  if (std::exchange(aborted_, true)) return;
  reset(NGHTTP2_INTERNAL_ERROR);
}

bool StreamH2::wants_more() const {
  return !aborted_ && queued() < client_.loop().snapshot().config.limits.buffer_bytes;
}

void StreamH2::exchange_done() {
  exchange_ = nullptr;
  timer_.disarm();
  client_.stir();
}

// HTTP/2 has no such thing; the origin's 101 is the answer to a request that asked for none.
void StreamH2::become_tunnel(std::span<const std::string_view>) { abort(); }

void StreamH2::settle() {
  if (aborted_) {
    if (Exchange* exchange = std::exchange(exchange_, nullptr)) exchange->on_client_gone();
    return;
  }
  if (exchange_ == nullptr && finished_ && body_open_) {
    // Answered before the request was complete: the client need not send the rest (RFC 9113 §8.1).
    body_open_ = false;
    reset(NGHTTP2_NO_ERROR);
    return;
  }
  if (exchange_ != nullptr && std::exchange(drained_, false) &&
      queued() < loop().snapshot().config.limits.buffer_bytes / 2)
    exchange_->on_drained();
}

}  // namespace leeward::edge
