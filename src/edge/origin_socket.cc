#include "edge/internal/origin_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "edge/internal/tls_client.h"

namespace leeward::edge {
namespace {

constexpr Duration kBetweenReports = 1s;

}  // namespace

bool OriginSocket::connect(Loop& loop, Target& target, std::shared_ptr<GroupState> group,
                           std::size_t origin, std::string preamble) {
  loop_ = &loop;
  group_ = std::move(group);
  origin_ = origin;
  preamble_ = std::move(preamble);
  if (!group_->spec().origins[origin].edge) tls_ = group_->tls;
  session_ = group_->origins[origin].session;
  const SocketAddress& address = group_->snapshot->groups[group_->at].addresses[origin];
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  group_->stats->origins[origin].connects.add();
  const int one = 1;
  if (fd.valid() && !address.is_unix())
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!fd.valid() || (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage),
                                address.size) != 0 &&
                      errno != EINPROGRESS))
    return false;
  state_ = State::kConnecting;
  const int number = fd.get();
  io_.open(std::move(fd));
  loop.watch(number, target);
  return true;
}

OriginSocket::State OriginSocket::advance() {
  if (state_ == State::kConnecting) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(io_.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0 ||
        !send_preamble())
      return state_ = State::kFailed;
    if (tls_ == nullptr) return state_ = State::kOpen;
    io_.secure(tls_->connect(group_->spec().origins[origin_].address, *session_));
    state_ = State::kHandshake;
  }
  if (state_ != State::kHandshake) return state_;
  switch (io_.handshake().result) {
    case Transport::Result::kOk:
      return state_ = State::kOpen;
    case Transport::Result::kAgain:
      return state_;
    default:
      report_tls_failure();
      return state_ = State::kFailed;
  }
}

// A few octets into an empty socket: they go at once or never.
bool OriginSocket::send_preamble() {
  if (preamble_.empty()) return true;
  const auto moved = io_.write(preamble_);
  return moved.result == Transport::Result::kOk && moved.bytes == preamble_.size();
}

bool OriginSocket::current() const {
  return !group_->retired && (tls_ == group_->tls || group_->spec().origins[origin_].edge);
}

void OriginSocket::report_tls_failure() {
  if (io_.ssl() != nullptr) report_tls_failure(io_.tls_failure());
}

void OriginSocket::report_tls_failure(const std::string& why) {
  group_->stats->origins[origin_].tls_failures.add();
  report("TLS: " + why);
}

void OriginSocket::report(const std::string& why) {
  OriginState& origin = group_->origins[origin_];
  if (loop_->now() - origin.reported_at < kBetweenReports) return;
  origin.reported_at = loop_->now();
  const OriginSpec& spec = group_->spec().origins[origin_];
  loop_->shared().options.logger.warn(
      "origin cannot be used",
      {{"group", group_->spec().name}, {"origin", spec.name}, {"why", why}});
}

}  // namespace leeward::edge
