#include "edge/internal/origin_link.h"

#include <sys/epoll.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace leeward::edge {

void OriginLink::connect(std::shared_ptr<GroupState> group, std::size_t origin,
                         std::string preamble, bool exclusive) {
  phase_ = Phase::kConnecting;
  exclusive_ = exclusive;
  if (socket_.connect(loop_, *this, std::move(group), origin, std::move(preamble)))
    arm(timeouts().connect);
  loop_.defer(*this);  // one that could not even begin fails there
}

void OriginLink::begin(OriginUser& user, std::size_t slot) {
  user_ = &user;
  slot_ = slot;
  scan_ = {};
  keep_alive_ = true;
  request_complete_ = anything_sent_ = anything_heard_ = shut_when_sent_ = false;
  if (phase_ == Phase::kIdle) {
    phase_ = Phase::kHead;
    reused_ = true;
    arm(timeouts().first_byte);
  }
  if (out_.capacity() < 256) out_ = loop_.take_buffer();
}

// ---- the request

void OriginLink::send_head(const OriginRequest& request) {
  to_head_ = request.to_head;
  chunks_ = request.framing == Framing::kChunked;
  out_.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\nHost: ");
  out_.append(request.authority).append("\r\n").append(request.lines);
  if (!request.upgrade.empty())
    out_.append("Connection: upgrade\r\nUpgrade: ").append(request.upgrade).append("\r\n");
  if (chunks_) {
    out_.append("Transfer-Encoding: chunked\r\n");
  } else if (request.content_length) {
    char text[20];
    out_.append("Content-Length: ");
    out_.append(text, std::to_chars(text, text + sizeof text, *request.content_length).ptr);
    out_.append("\r\n");
  }
  out_.append("\r\n");
  loop_.defer(*this);
}

void OriginLink::send_body(std::string_view bytes) {
  if (chunks_ && phase_ != Phase::kTunnel) {
    char text[20];
    out_.append(text, std::to_chars(text, text + sizeof text, bytes.size(), 16).ptr);
    out_.append("\r\n").append(bytes).append("\r\n");
  } else {
    out_.append(bytes);
  }
  loop_.defer(*this);
}

void OriginLink::send_end(std::string_view trailer_lines) {
  if (phase_ == Phase::kTunnel)
    shut_when_sent_ = true;
  else if (chunks_)
    out_.append("0\r\n").append(trailer_lines).append("\r\n");
  request_complete_ = true;
  loop_.defer(*this);
}

void OriginLink::abandon() {
  user_ = nullptr;
  die();
}

void OriginLink::close_idle() {
  if (phase_ == Phase::kIdle) die();
}

void OriginLink::on_events(std::uint32_t events) {
  if (phase_ == Phase::kDead) return;
  if (io_.note(events)) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  if (io_.ssl() != nullptr) readable_ = writable_ = true;
  if (phase_ == Phase::kConnecting) {
    if (writable_) establish();
    if (phase_ != Phase::kHead) return;
  }
  if (phase_ == Phase::kIdle) {
    // Whatever comes on an idle connection, its end or bytes nobody asked for, ends it.
    if (readable_) {
      const auto moved = io_.read({loop_.scratch(), 1});
      if (moved.result == Transport::Result::kAgain)
        readable_ = false;
      else
        die();
    }
    return;
  }
  flush();
  if (phase_ != Phase::kDead) read_more();
}

void OriginLink::establish() {
  const OriginSocket::State before = socket_.state();
  switch (socket_.advance()) {
    case OriginSocket::State::kFailed:
      return fault(OriginFault::kConnect);
    case OriginSocket::State::kOpen:
      phase_ = Phase::kHead;
      reused_ = false;
      return arm(timeouts().first_byte);
    default:
      // The handshake has as long as the connection had.
      if (before == OriginSocket::State::kConnecting) arm(timeouts().connect);
  }
}

void OriginLink::on_deferred() {
  if (phase_ == Phase::kDead) return;
  if (!io_.is_open()) return fault(OriginFault::kConnect);
  if (phase_ == Phase::kConnecting) return;
  flush();
  if (phase_ != Phase::kDead && phase_ != Phase::kIdle) read_more();
}

void OriginLink::flush() {
  bool moved_any = false;
  while (writable_ && out_sent_ < out_.size()) {
    const auto moved = io_.write(std::string_view(out_).substr(out_sent_));
    if (moved.result == Transport::Result::kAgain) {
      writable_ = false;
      break;
    }
    if (moved.result != Transport::Result::kOk) {
      // What the origin said before it closed is still worth reading (an early 413, for example).
      writable_ = false;
      readable_ = true;
      break;
    }
    anything_sent_ = moved_any = true;
    out_sent_ += moved.bytes;
  }
  if (moved_any && phase_ == Phase::kHead) arm(timeouts().first_byte);  // it takes our part
  if (out_sent_ < out_.size()) return;
  if (moved_any) {
    out_.clear();
    out_sent_ = 0;
    loop_.give_buffer(out_);
    if (user_ != nullptr) user_->on_origin_drained(slot_);
  }
  if (shut_when_sent_ && out_.empty()) {
    shut_when_sent_ = false;
    io_.shut_down_writing();
  }
}

// ---- the response

void OriginLink::read_more() {
  while (readable_ && phase_ != Phase::kDead && phase_ != Phase::kIdle) {
    if (user_ == nullptr || !user_->origin_may_send(slot_)) return;
    const auto moved = io_.read({loop_.scratch(), Loop::kScratchBytes});
    if (moved.result == Transport::Result::kAgain) {
      readable_ = false;
      return;
    }
    if (moved.result != Transport::Result::kOk)
      return on_eof(moved.result == Transport::Result::kError);
    anything_heard_ = true;
    const std::string_view fresh(loop_.scratch(), moved.bytes);
    if (in_.empty()) {
      const std::size_t used = advance(fresh);
      if (phase_ == Phase::kDead) return;
      if (used < fresh.size()) {
        in_ = loop_.take_buffer();
        in_.assign(fresh.substr(used));
      }
    } else {
      in_.append(fresh);
      const std::size_t used = advance(in_);
      if (phase_ == Phase::kDead) return;
      in_.erase(0, used);
      if (in_.empty()) loop_.give_buffer(in_);
    }
    if (io_.emptied_by(moved.bytes, Loop::kScratchBytes)) readable_ = false;
  }
  // More than the response asked for.
  if (phase_ == Phase::kIdle && !in_.empty()) die();
}

std::size_t OriginLink::advance(std::string_view bytes) {
  std::size_t used = 0;
  while (used < bytes.size()) {
    const std::string_view rest = bytes.substr(used);
    std::size_t n = 0;
    if (phase_ == Phase::kHead)
      n = advance_head(rest);
    else if (phase_ == Phase::kBody || phase_ == Phase::kTunnel)
      n = advance_body(rest);
    if (phase_ == Phase::kDead) return bytes.size();
    if (n == 0) break;
    used += n;
  }
  return used;
}

std::size_t OriginLink::advance_head(std::string_view bytes) {
  ResponseHead& head = loop_.response_head();
  const Outcome outcome =
      parse_response(bytes, loop_.snapshot().head_limits, to_head_, scan_, head);
  if (outcome.kind == Outcome::Kind::kMore) return 0;
  if (outcome.kind == Outcome::Kind::kBad) {
    fault(OriginFault::kBadReply);
    return bytes.size();
  }
  scan_ = {};
  OriginUser& user = *user_;
  if (head.status < 200 && head.status != 101) {
    user.on_origin_head(slot_, head);
    return outcome.consumed;
  }
  framing_ = head.framing;
  left_ = head.framing == Framing::kLength ? head.content_length : 0;
  keep_alive_ = head.keep_alive && framing_ != Framing::kUntilClose && framing_ != Framing::kTunnel;
  if (framing_ == Framing::kChunked) chunked_.reset();
  phase_ = framing_ == Framing::kTunnel ? Phase::kTunnel : Phase::kBody;
  arm(phase_ == Phase::kTunnel ? timeouts().tunnel : timeouts().origin_idle);
  if (!user.on_origin_head(slot_, head)) {
    if (phase_ != Phase::kDead) abandon();
    return bytes.size();
  }
  if (framing_ == Framing::kNone) finished({});
  return outcome.consumed;
}

std::size_t OriginLink::advance_body(std::string_view bytes) {
  arm(phase_ == Phase::kTunnel ? timeouts().tunnel : timeouts().origin_idle);
  std::size_t consumed = bytes.size();
  std::string_view data = bytes;
  bool end = false;
  if (framing_ == Framing::kLength) {
    consumed = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
    data = bytes.substr(0, consumed);
    left_ -= consumed;
    end = left_ == 0;
  } else if (framing_ == Framing::kChunked) {
    const ChunkedDecoder::Step step = chunked_.next(bytes);
    if (step.kind == ChunkedDecoder::Step::Kind::kBad) {
      fault(OriginFault::kBadReply);
      return bytes.size();
    }
    consumed = step.consumed;
    data = step.data;
    end = step.kind == ChunkedDecoder::Step::Kind::kEnd;
  }
  if (!data.empty() && !user_->on_origin_body(slot_, data)) {
    if (phase_ != Phase::kDead) abandon();
    return bytes.size();
  }
  if (end && phase_ != Phase::kDead) finished(chunked_.trailers());
  return consumed;
}

// The response is whole. The connection is kept when the request was, too.
void OriginLink::finished(std::string_view trailers) {
  OriginUser& user = *std::exchange(user_, nullptr);
  const std::size_t slot = slot_;
  const std::string kept(framing_ == Framing::kChunked ? trailers : std::string_view());
  auto& idle = socket_.origin().idle;
  const bool keep = keep_alive_ && request_complete_ && out_.empty() && !exclusive_ &&
                    socket_.current() && !loop_.draining() &&
                    idle.size() < loop_.snapshot().config.limits.pool_per_origin;
  if (keep) {
    phase_ = Phase::kIdle;
    arm(timeouts().pool);
    idle.push_back(this);
  }
  user.on_origin_end(slot, kept);
  if (!keep) die();
}

void OriginLink::on_eof(bool error) {
  if (phase_ == Phase::kHead) {
    const bool stale = reused_ && !anything_heard_;
    // Only now TLS 1.3 tells a client whose certificate the other side does not like.
    if (error && !stale) socket_.report_tls_failure();
    return fault(stale ? OriginFault::kStale : OriginFault::kBroken);
  }
  if (!error && (framing_ == Framing::kUntilClose || phase_ == Phase::kTunnel)) {
    keep_alive_ = false;
    return finished({});
  }
  fault(OriginFault::kBroken);
}

void OriginLink::fault(OriginFault what) {
  OriginUser* user = std::exchange(user_, nullptr);
  const bool nothing_sent = !anything_sent_;
  const std::size_t slot = slot_;
  die();
  if (user != nullptr) user->on_origin_fault(slot, what, nothing_sent);
}

void OriginLink::on_timer(Timer&) {
  switch (phase_) {
    case Phase::kConnecting:
      if (socket_.state() == OriginSocket::State::kHandshake)
        socket_.report_tls_failure("no handshake in time");
      return fault(OriginFault::kConnect);
    case Phase::kHead:
      // A body that is still coming is not the origin's delay; one that it does not take is.
      if (!request_complete_ && out_.empty()) return arm(timeouts().first_byte);
      return fault(OriginFault::kFirstByte);
    case Phase::kBody:
      // Nor is a client that reads slowly.
      if (user_ != nullptr && !user_->origin_may_send(slot_)) return arm(timeouts().origin_idle);
      return fault(OriginFault::kIdle);
    case Phase::kTunnel:
      return fault(OriginFault::kIdle);
    case Phase::kIdle:
      return die();
    case Phase::kDead:
      return;
  }
}

void OriginLink::die() {
  if (phase_ == Phase::kDead) return;
  if (phase_ == Phase::kIdle) std::erase(socket_.origin().idle, this);
  phase_ = Phase::kDead;
  timer_.disarm();
  user_ = nullptr;
  io_.close();
  loop_.link_gone(*this);
}

}  // namespace leeward::edge
