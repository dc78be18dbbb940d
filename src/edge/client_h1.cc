#include "edge/internal/client_h1.h"

#include <sys/epoll.h>

#include <algorithm>
#include <charconv>

#include "edge/internal/exchange_flow.h"
#include "edge/internal/reason.h"
#include "edge/internal/tls.h"
#include "edge/proxy_protocol.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kWriteDirectly = 8u
                                       << 10;  // smaller pieces are cheaper to copy than to gather
constexpr std::size_t kPieceMax = 256u << 10;  // one client's turn
constexpr Duration kLinger = 2s;               // for a client to read its last answer
constexpr std::size_t kDiscardMax = 256u << 10;
constexpr std::size_t kReadPerTurn = 256u << 10;

void append_number(std::string& out, std::uint64_t value, int base = 10) {
  char text[20];
  out.append(text, std::to_chars(text, text + sizeof text, value, base).ptr);
}

}  // namespace

void ClientH1::open(UniqueFd fd, const ListenerSpec& listener, const ClientAddress& address,
                    std::shared_ptr<const TlsServer> tls) {
  listener_ = &listener;
  address_ = address;
  const int number = fd.get();
  io_.open(std::move(fd));
  if (tls != nullptr) io_.secure(tls->accept(), tls);
  phase_ = listener.proxy_protocol ? Phase::kProxyHeader : Phase::kHead;
  loop_.watch(number, *this);
  arm(loop_.snapshot().config.timeouts.header);
}

void ClientH1::begin_drain() {
  if (phase_ == Phase::kHead && exchange_ == nullptr && in_.empty()) arm(kLastRequest);
}

std::string_view ClientH1::ja4() const {
  return secure() ? client_fingerprint(io_.ssl()) : std::string_view();
}

// ---- reading

void ClientH1::on_events(std::uint32_t events) {
  if (phase_ == Phase::kDead) return;
  if (io_.note(events)) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0 && exchange_ != nullptr && !wants_read())
    broken_ = true;  // nobody would notice by reading
  // The handshake of TLS may need either direction.
  if (io_.ssl() != nullptr) readable_ = writable_ = true;
  if (!out_.empty() || stalled_ || broken_) flush();
  read_left_ = kReadPerTurn;
  if (phase_ != Phase::kDead) read_more();
}

void ClientH1::on_turn() {
  turn_taken_ = false;
  if (phase_ == Phase::kDead) return;
  read_left_ = kReadPerTurn;
  read_more();
}

bool ClientH1::wants_read() const {
  switch (phase_) {
    case Phase::kProxyHeader:
    case Phase::kClosing:
      return true;
    case Phase::kHead:
      return exchange_ == nullptr &&
             out_.size() - out_sent_ < loop_.snapshot().config.limits.buffer_bytes;
    case Phase::kBody:
    case Phase::kTunnel:
      return exchange_ != nullptr && exchange_->wants_body();
    case Phase::kWaiting:
    case Phase::kDead:
      return false;
  }
  return false;
}

void ClientH1::read_more() {
  if (!in_.empty() && wants_read()) {
    const std::size_t used = advance(in_);
    in_.erase(0, used);
    if (in_.empty()) loop_.give_buffer(in_);
  }
  while (readable_ && !eof_ && wants_read()) {
    if (read_left_ == 0) {
      if (!std::exchange(turn_taken_, true)) loop_.take_turns(*this);
      return;
    }
    const auto moved = io_.read({loop_.scratch(), Loop::kScratchBytes});
    if (moved.result == Transport::Result::kAgain) {
      readable_ = false;
      return;
    }
    if (moved.result != Transport::Result::kOk) {
      eof_ = true;
      if (moved.result == Transport::Result::kError) broken_ = true;
      break;
    }
    read_left_ -= std::min(read_left_, moved.bytes);
    const std::string_view fresh(loop_.scratch(), moved.bytes);
    if (in_.empty()) {
      const std::size_t used = advance(fresh);
      if (used < fresh.size() && phase_ != Phase::kDead) {
        in_ = loop_.take_buffer();
        in_.assign(fresh.substr(used));
      }
    } else {
      in_.append(fresh);
      const std::size_t used = advance(in_);
      in_.erase(0, used);
      if (in_.empty()) loop_.give_buffer(in_);
    }
    if (io_.emptied_by(moved.bytes, Loop::kScratchBytes)) readable_ = false;
  }
  if (phase_ == Phase::kDead || !eof_) return;
  // The client will say no more. What it asked for is still answered, unless its own part is
  // missing.
  if (phase_ == Phase::kWaiting && !broken_) return;
  if (phase_ == Phase::kTunnel && !broken_ && exchange_ != nullptr)
    return exchange_->on_body_end({});
  if (broken_ || phase_ != Phase::kHead || out_.empty()) return die();
  close_softly();
}

std::size_t ClientH1::advance(std::string_view bytes) {
  std::size_t used = 0;
  for (;;) {
    const std::string_view rest = bytes.substr(used);
    std::size_t n = 0;
    switch (phase_) {
      case Phase::kProxyHeader: {
        const ProxyHeader header = parse_proxy_header(rest);
        if (header.kind == ProxyHeader::Kind::kMore) return used;
        if (header.kind == ProxyHeader::Kind::kBad) {
          loop_.stats().bad_requests.add();
          die();
          return bytes.size();
        }
        if (header.has_client) address_ = header.client;
        n = header.consumed;
        phase_ = Phase::kHead;
        break;
      }
      case Phase::kHead:
        if (exchange_ != nullptr || rest.empty()) return used;
        if (first_ && hand_over_to_h2(rest)) return bytes.size();
        n = advance_head(rest);
        if (n == 0) return used;
        break;
      case Phase::kBody:
      case Phase::kTunnel:
        // Answered in the middle of its body, a request is over before what came with it is taken.
        if (rest.empty() || exchange_ == nullptr || !exchange_->wants_body()) return used;
        n = advance_body(rest);
        break;
      case Phase::kClosing:
        discarded_ += rest.size();
        if (discarded_ > kDiscardMax) die();
        return bytes.size();
      case Phase::kWaiting:
        return used;
      case Phase::kDead:
        return bytes.size();
    }
    used += n;
  }
}

// True: the connection speaks HTTP/2 and is no longer ours. On TLS the handshake said so (RFC 9113
// §3.2), else the client's preface does, with prior knowledge (§3.3).
bool ClientH1::hand_over_to_h2(std::string_view bytes) {
  constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const std::size_t n = std::min(bytes.size(), kPreface.size());
  const bool h2 = io_.ssl() != nullptr ? negotiated_protocol(io_.ssl()) == "h2"
                                       : n >= 4 && bytes.substr(0, n) == kPreface.substr(0, n);
  first_ = !h2 && n < 4;
  if (!h2) return false;
  const std::string first(bytes);  // may lie in the buffer that the new connection reads into
  phase_ = Phase::kDead;
  timer_.disarm();
  loop_.speak_h2(*this, std::move(io_), *listener_, address_, first);
  return true;
}

// Zero: more is needed.
std::size_t ClientH1::advance_head(std::string_view bytes) {
  Exchange& exchange = loop_.take_exchange();
  const EdgeConfig& config = loop_.snapshot().config;
  const Outcome outcome =
      parse_request(bytes, loop_.snapshot().head_limits, scan_, exchange.head());
  if (outcome.kind == Outcome::Kind::kMore) {
    loop_.give_exchange(exchange);
    // The time for a head begins with its first octet.
    if (!timer_.armed() || scan_.position == bytes.size()) {
      if (in_.empty()) arm(config.timeouts.header);
    }
    return 0;
  }
  scan_ = {};
  if (outcome.kind == Outcome::Kind::kBad) {
    loop_.give_exchange(exchange);
    loop_.stats().bad_requests.add();
    refuse(outcome.status, outcome.why);
    return bytes.size();
  }
  const RequestHead& head = exchange.head();
  minor_version_ = static_cast<std::uint8_t>(head.minor_version);
  keep_alive_ = head.keep_alive && !loop_.draining();
  framing_ = head.framing;
  body_left_ = head.framing == Framing::kLength ? head.content_length : 0;
  if (framing_ == Framing::kChunked) chunked_.reset();
  reply_begun_ = reply_chunked_ = close_after_ = false;
  exchange_ = &exchange;
  set_phase(framing_ == Framing::kNone ? Phase::kWaiting : Phase::kBody);
  exchange.start(*this, bytes.substr(0, outcome.consumed), address_, secure(), trusted());
  // A request that is over already is followed by the next; exchange_done() has deferred that work
  // too.
  if (exchange_ == nullptr && phase_ != Phase::kDead && phase_ != Phase::kClosing) after_exchange();
  return outcome.consumed;
}

std::size_t ClientH1::advance_body(std::string_view bytes) {
  arm(phase_ == Phase::kTunnel ? loop_.snapshot().config.timeouts.tunnel
                               : loop_.snapshot().config.timeouts.body);
  if (phase_ == Phase::kTunnel) {
    exchange_->on_body(bytes);
    return bytes.size();
  }
  if (framing_ == Framing::kLength) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, bytes.size()));
    body_left_ -= n;
    if (body_left_ == 0) set_phase(Phase::kWaiting);
    Exchange& exchange = *exchange_;
    exchange.on_body(bytes.substr(0, n));
    if (phase_ == Phase::kWaiting && exchange_ == &exchange) exchange.on_body_end({});
    return n;
  }
  const ChunkedDecoder::Step step = chunked_.next(bytes);
  switch (step.kind) {
    case ChunkedDecoder::Step::Kind::kMore:
      break;
    case ChunkedDecoder::Step::Kind::kData:
      exchange_->on_body(step.data);
      break;
    case ChunkedDecoder::Step::Kind::kEnd:
      set_phase(Phase::kWaiting);
      exchange_->on_body_end(chunked_.trailers());
      break;
    case ChunkedDecoder::Step::Kind::kBad:
      loop_.stats().bad_requests.add();
      exchange_->on_bad_body(step.why);
      return bytes.size();
  }
  return step.consumed;
}

void ClientH1::refuse(int status, const char* why) {
  keep_alive_ = false;
  need_out();
  out_.append("HTTP/1.1 ");
  append_number(out_, static_cast<std::uint64_t>(status));
  out_.append(" ")
      .append(reason_of(status))
      .append("\r\nContent-Type: text/plain\r\nContent-Length: ");
  append_number(out_, std::string_view(why).size() + 1);
  out_.append("\r\nConnection: close\r\n\r\n").append(why).append("\n");
  close_softly();
}

// ---- writing

void ClientH1::need_out() {
  if (out_.empty() && out_.capacity() < 256) out_ = loop_.take_buffer();
  loop_.defer(*this);
}

void ClientH1::send_interim(int status, std::string_view lines) {
  if (minor_version_ == 0) return;
  need_out();
  out_.append("HTTP/1.1 ");
  append_number(out_, static_cast<std::uint64_t>(status));
  out_.append(" ").append(reason_of(status)).append("\r\n").append(lines).append("\r\n");
}

void ClientH1::send_head(const ReplyHead& head) {
  need_out();
  reply_begun_ = true;
  out_.append("HTTP/1.1 ");
  append_number(out_, static_cast<std::uint64_t>(head.status));
  out_.append(" ")
      .append(head.reason.empty() ? reason_of(head.status) : head.reason)
      .append("\r\n");
  for (std::string_view block : head.lines) out_.append(block);
  if (head.length) {
    out_.append("Content-Length: ");
    append_number(out_, *head.length);
    out_.append("\r\n");
  } else if (head.body && !head.length_in_lines) {
    reply_chunked_ = minor_version_ == 1;
    close_after_ = !reply_chunked_;
    if (reply_chunked_) out_.append("Transfer-Encoding: chunked\r\n");
  }
  // An answer before the end of the request: nobody knows how much of that is still to come.
  if (close_after_ || phase_ == Phase::kBody) keep_alive_ = false;
  if (!keep_alive_)
    out_.append("Connection: close\r\n");
  else if (minor_version_ == 0)
    out_.append("Connection: keep-alive\r\n");
  out_.append("\r\n");
}

void ClientH1::send_body(std::string_view bytes) {
  if (bytes.empty() || phase_ == Phase::kDead) return;
  need_out();
  if (reply_chunked_) {
    append_number(out_, bytes.size(), 16);
    out_.append("\r\n").append(bytes).append("\r\n");
    return;
  }
  if (bytes.size() < kWriteDirectly || !writable_ || stalled_) {
    out_.append(bytes);
    return;
  }
  Body::Piece piece;
  piece.kind = Body::Piece::Kind::kMemory;
  piece.data = bytes.data();
  piece.size = bytes.size();
  const std::size_t sent = send_piece(piece, bytes.size());
  out_.append(bytes.substr(sent));
}

std::size_t ClientH1::send_piece(const Body::Piece& piece, std::size_t size_max) {
  const std::size_t size = std::min({piece.size, size_max, kPieceMax});
  const bool memory = piece.kind == Body::Piece::Kind::kMemory;
  if (broken_ || phase_ == Phase::kDead) return 0;
  if (reply_chunked_ || (memory && size < kWriteDirectly)) {
    if (!memory || !wants_more()) return 0;
    if (reply_chunked_) {
      send_body({piece.data, size});
    } else {
      need_out();
      out_.append(piece.data, size);
    }
    return size;
  }
  loop_.defer(*this);
  const bool gather = memory && io_.ssl() == nullptr;
  if (!writable_ || (!gather && !write_queue())) {
    stalled_ = true;
    return 0;
  }
  const std::string_view queued = std::string_view(out_).substr(out_sent_);
  const std::string_view bytes(piece.data, memory ? size : 0);
  const Transport::Moved moved = gather   ? io_.write(queued, bytes)
                                 : memory ? io_.write(bytes)
                                          : io_.write_file(piece.fd, piece.file_offset, size);
  if (!note_write(moved)) return 0;
  const std::size_t of_queue = std::min(moved.bytes, queued.size());
  out_sent_ += of_queue;
  return moved.bytes - of_queue;
}

// False: no more can be written now.
bool ClientH1::note_write(const Transport::Moved& moved) {
  if (moved.result == Transport::Result::kOk) return true;
  if (moved.result != Transport::Result::kAgain) {
    broken_ = true;
    return false;
  }
  writable_ = false;
  if (!stalled_) arm(loop_.snapshot().config.timeouts.write);
  stalled_ = true;
  return false;
}

// True: nothing is queued any more.
bool ClientH1::write_queue() {
  while (out_sent_ < out_.size()) {
    if (broken_ || !writable_) return false;
    const auto moved = io_.write(std::string_view(out_).substr(out_sent_));
    if (!note_write(moved)) return false;
    out_sent_ += moved.bytes;
  }
  out_.clear();
  out_sent_ = 0;
  return true;
}

void ClientH1::send_end(std::string_view trailer_lines) {
  if (phase_ == Phase::kDead) return;
  if (reply_chunked_) {
    need_out();
    out_.append("0\r\n").append(trailer_lines).append("\r\n");
  }
  if (phase_ == Phase::kTunnel) close_after_ = true, keep_alive_ = false;
}

void ClientH1::abort() {
  broken_ = true;
  cut_off_ = reply_begun_ && close_after_;
  loop_.defer(*this);
}

bool ClientH1::wants_more() const {
  return !broken_ && !stalled_ &&
         out_.size() - out_sent_ < loop_.snapshot().config.limits.buffer_bytes;
}

void ClientH1::exchange_done() {
  exchange_ = nullptr;
  loop_.defer(*this);
}

void ClientH1::become_tunnel(std::span<const std::string_view> lines) {
  need_out();
  reply_begun_ = true;
  out_.append("HTTP/1.1 101 Switching Protocols\r\n");
  for (std::string_view block : lines) out_.append(block);
  out_.append("\r\n");
  keep_alive_ = false;
  set_phase(Phase::kTunnel);
}

void ClientH1::flush() {
  const bool was_stalled = stalled_ && writable_;
  const bool empty = write_queue();
  if (broken_) return die();
  if (!empty) return;
  loop_.give_buffer(out_);
  if (was_stalled) {
    stalled_ = false;
    if (phase_ != Phase::kClosing) set_phase(phase_);
  }
  if (!stalled_ && exchange_ != nullptr && phase_ != Phase::kClosing) exchange_->on_drained();
}

void ClientH1::on_deferred() {
  if (phase_ == Phase::kDead) return;
  if (exchange_ == nullptr && reply_begun_ && phase_ != Phase::kClosing) after_exchange();
  flush();
  if (phase_ == Phase::kClosing && out_.empty()) {
    io_.shut_down_writing();
    if (eof_) return die();
  }
  if (phase_ != Phase::kDead) read_more();
}

// ---- life

void ClientH1::set_phase(Phase phase) {
  phase_ = phase;
  const EdgeTimeouts& t = loop_.snapshot().config.timeouts;
  switch (phase) {
    case Phase::kHead:
      return arm(t.idle);
    case Phase::kBody:
      return arm(t.body);
    case Phase::kTunnel:
      return arm(t.tunnel);
    default:
      return timer_.disarm();
  }
}

void ClientH1::after_exchange() {
  reply_begun_ = false;
  if (phase_ == Phase::kBody || !keep_alive_ || eof_) return close_softly();
  reply_chunked_ = false;
  set_phase(Phase::kHead);
  if (loop_.draining() && in_.empty()) arm(kLastRequest);
}

void ClientH1::close_softly() {
  phase_ = Phase::kClosing;
  arm(kLinger);
  loop_.defer(*this);
}

void ClientH1::on_timer(Timer&) {
  if (phase_ == Phase::kHead && exchange_ == nullptr && !in_.empty() && !stalled_)
    return refuse(408, "the request's head did not come in time");
  if (phase_ == Phase::kBody && exchange_ != nullptr && !stalled_) {
    // An origin that is slow to take the body is the exchange's matter.
    if (!exchange_->wants_body()) return arm(loop_.snapshot().config.timeouts.body);
    return exchange_->on_body_timeout();
  }
  die();
}

void ClientH1::die() {
  if (phase_ == Phase::kDead) return;
  phase_ = Phase::kDead;
  timer_.disarm();
  if (Exchange* exchange = std::exchange(exchange_, nullptr)) exchange->on_client_gone();
  cut_off_ ? io_.cut_off() : io_.close();
  loop_.client_gone(*this);
}

}  // namespace leeward::edge
