#include "edge/internal/origin_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace leeward::edge {

void OriginLink::connect(std::shared_ptr<GroupState> group, std::size_t origin) {
  group_ = std::move(group);
  origin_ = origin;
  phase_ = Phase::kConnecting;
  const SocketAddress& address = group_->snapshot->groups[group_->at].addresses[origin];
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  group_->stats->origins[origin].connects.add();
  const int one = 1;
  if (fd.valid() && !address.is_unix())
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const bool begun =
      fd.valid() && (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage),
                               address.size) == 0 ||
                     errno == EINPROGRESS);
  if (begun) {
    const int number = fd.get();
    io_.open(std::move(fd));
    loop_.watch(number, *this);
    arm(timeouts().connect);
  }
  loop_.defer(*this);  // one that could not even begin fails there
}

void OriginLink::begin(Exchange& exchange, std::size_t slot, bool to_head) {
  exchange_ = &exchange;
  slot_ = slot;
  to_head_ = to_head;
  scan_ = {};
  keep_alive_ = true;
  request_complete_ = anything_sent_ = anything_heard_ = shut_when_sent_ = false;
  if (phase_ == Phase::kIdle) {
    phase_ = Phase::kHead;
    reused_ = true;
    arm(timeouts().first_byte);
  }
  if (out_.capacity() < 256) out_ = loop_.take_buffer();
  loop_.defer(*this);
}

void OriginLink::write(std::string_view bytes) {
  out_.append(bytes);
  loop_.defer(*this);
}

void OriginLink::half_close() {
  shut_when_sent_ = true;
  loop_.defer(*this);
}

void OriginLink::abandon() {
  exchange_ = nullptr;
  die();
}

void OriginLink::close_idle() {
  if (phase_ == Phase::kIdle) die();
}

void OriginLink::on_events(std::uint32_t events) {
  if (phase_ == Phase::kDead) return;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  if (phase_ == Phase::kConnecting) {
    if (!writable_) return;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(io_.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
      return fault(OriginFault::kConnect);
    connected();
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

void OriginLink::connected() {
  phase_ = Phase::kHead;
  reused_ = false;
  arm(timeouts().first_byte);
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
  if (out_sent_ < out_.size()) return;
  if (moved_any) {
    out_.clear();
    out_sent_ = 0;
    loop_.give_buffer(out_);
    if (exchange_ != nullptr) exchange_->on_origin_drained(slot_);
  }
  if (shut_when_sent_ && out_.empty()) {
    shut_when_sent_ = false;
    io_.shut_down_writing();
  }
}

// ---- the response

void OriginLink::read_more() {
  while (readable_ && phase_ != Phase::kDead && phase_ != Phase::kIdle) {
    if (exchange_ == nullptr || !exchange_->origin_may_send(slot_)) return;
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
    if (io_.ssl() == nullptr && moved.bytes < Loop::kScratchBytes) readable_ = false;
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
  Exchange& exchange = *exchange_;
  if (head.status < 200 && head.status != 101) {
    exchange.on_origin_head(slot_, head);
    return outcome.consumed;
  }
  framing_ = head.framing;
  left_ = head.framing == Framing::kLength ? head.content_length : 0;
  keep_alive_ = head.keep_alive && framing_ != Framing::kUntilClose && framing_ != Framing::kTunnel;
  if (framing_ == Framing::kChunked) chunked_.reset();
  phase_ = framing_ == Framing::kTunnel ? Phase::kTunnel : Phase::kBody;
  arm(phase_ == Phase::kTunnel ? timeouts().tunnel : timeouts().origin_idle);
  if (!exchange.on_origin_head(slot_, head)) {
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
  if (!data.empty() && !exchange_->on_origin_body(slot_, data)) {
    if (phase_ != Phase::kDead) abandon();
    return bytes.size();
  }
  if (end && phase_ != Phase::kDead) finished(chunked_.trailers());
  return consumed;
}

// The response is whole. The connection is kept when the request was, too.
void OriginLink::finished(std::string_view trailers) {
  Exchange& exchange = *std::exchange(exchange_, nullptr);
  const std::size_t slot = slot_;
  const std::string kept(framing_ == Framing::kChunked ? trailers : std::string_view());
  auto& idle = group_->idle[origin_];
  const bool keep = keep_alive_ && request_complete_ && out_.empty() && !group_->retired &&
                    !loop_.draining() &&
                    idle.size() < loop_.snapshot().config.limits.pool_per_origin;
  if (keep) {
    phase_ = Phase::kIdle;
    arm(timeouts().pool);
    idle.push_back(this);
  }
  exchange.on_origin_end(slot, kept);
  if (!keep) die();
}

void OriginLink::on_eof(bool error) {
  if (phase_ == Phase::kHead) {
    const bool stale = reused_ && !anything_heard_;
    return fault(stale ? OriginFault::kStale : OriginFault::kBroken);
  }
  if (!error && (framing_ == Framing::kUntilClose || phase_ == Phase::kTunnel)) {
    keep_alive_ = false;
    return finished({});
  }
  fault(OriginFault::kBroken);
}

void OriginLink::fault(OriginFault what) {
  Exchange* exchange = std::exchange(exchange_, nullptr);
  const bool nothing_sent = !anything_sent_;
  const std::size_t slot = slot_;
  die();
  if (exchange != nullptr) exchange->on_origin_fault(slot, what, nothing_sent);
}

void OriginLink::on_timer(Timer&) {
  switch (phase_) {
    case Phase::kConnecting:
      return fault(OriginFault::kConnect);
    case Phase::kHead:
      // A body that is still coming is not the origin's delay.
      if (!request_complete_) return arm(timeouts().first_byte);
      return fault(OriginFault::kFirstByte);
    case Phase::kBody:
      // Nor is a client that reads slowly.
      if (exchange_ != nullptr && !exchange_->origin_may_send(slot_))
        return arm(timeouts().origin_idle);
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
  if (phase_ == Phase::kIdle) std::erase(group_->idle[origin_], this);
  phase_ = Phase::kDead;
  timer_.disarm();
  exchange_ = nullptr;
  io_.close();
  loop_.link_gone(*this);
}

}  // namespace leeward::edge
