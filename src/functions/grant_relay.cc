#include "functions/grant_relay.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <list>
#include <mutex>

#include "base/socket_address.h"

namespace leeward::functions {
namespace {

// Bytes on their way from one socket to another.
struct Pipe {
  std::array<char, GrantRelay::kBufferBytes> bytes;
  std::size_t begin = 0, end = 0;
  bool ended = false;   // the source has sent all
  bool closed = false;  // and the sink knows

  // False when either socket is broken.
  bool move(int from, int to) {
    for (;;) {
      if (begin < end) {
        const ssize_t n = ::send(to, bytes.data() + begin, end - begin, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        begin += static_cast<std::size_t>(n);
        continue;
      }
      begin = end = 0;
      if (ended) {
        if (!closed) ::shutdown(to, SHUT_WR);
        closed = true;
        return true;
      }
      const ssize_t n = ::recv(from, bytes.data(), bytes.size(), 0);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) ended = true;
      end = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    }
  }
};

struct Connection {
  UniqueFd inside, outside;
  bool connected = false;
  Pipe to_server, to_client;
  std::list<std::unique_ptr<Connection>>::iterator self;
};

Result<std::vector<SocketAddress>> addresses_of(const std::vector<Endpoint>& servers) {
  std::vector<SocketAddress> all;
  for (const Endpoint& server : servers) {
    auto address = parse_socket_address(to_string(server));
    if (!address) return fail(address.error());
    all.push_back(*address);
  }
  if (all.empty()) return fail(Code::kInvalid, "no server to pass connections on to");
  return all;
}

}  // namespace

class GrantRelay::Loop {
 public:
  using Servers = std::vector<SocketAddress>;  // of one listener; they take turns

  Loop(std::vector<UniqueFd> listeners, std::vector<Servers> servers, std::size_t connections_max)
      : connections_max_(connections_max),
        listeners_(std::move(listeners)),
        servers_(std::move(servers)) {}

  void set_servers(Servers servers) {
    std::lock_guard lock(mutex_);
    servers_.front() = std::move(servers);
  }

  Status prepare(int stop) {
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) return fail(os_error(errno, "epoll"));
    for (UniqueFd& listener : listeners_)
      if (!watch(listener.get(), EPOLLIN, &listener)) return fail(os_error(errno, "epoll"));
    if (!watch(stop, EPOLLIN, nullptr)) return fail(os_error(errno, "epoll"));
    return {};
  }

  void run() {
    std::array<epoll_event, 64> events;
    for (;;) {
      const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < n; ++i) {
        void* what = events[static_cast<std::size_t>(i)].data.ptr;
        if (what == nullptr) return;
        if (auto* listener = listener_at(what)) {
          accept(static_cast<std::size_t>(listener - listeners_.data()));
        } else {
          advance(*static_cast<Connection*>(what));
        }
      }
      ended_.clear();  // only now: a later event of this round may have named one
    }
  }

 private:
  bool watch(int fd, std::uint32_t what, void* who) {
    epoll_event event{};
    event.events = what;
    event.data.ptr = who;
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  UniqueFd* listener_at(void* what) {
    for (UniqueFd& listener : listeners_)
      if (&listener == what) return &listener;
    return nullptr;
  }

  // At the bound the listeners are left alone until a connection ends; the epoll is told so,
  // because they stay readable.
  void listen_again(bool on) {
    if (listening_ == on) return;
    listening_ = on;
    for (UniqueFd& listener : listeners_) {
      epoll_event event{};
      event.events = on ? EPOLLIN : 0u;
      event.data.ptr = &listener;
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener.get(), &event);
    }
  }

  void accept(std::size_t which) {
    if (connections_.size() >= connections_max_) return listen_again(false);
    UniqueFd inside(
        ::accept4(listeners_[which].get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!inside.valid()) return;
    const SocketAddress server = next_server(which);
    UniqueFd outside(
        ::socket(server.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!outside.valid()) return;  // refused: `inside` closes
    const auto* at = reinterpret_cast<const sockaddr*>(&server.storage);
    if (::connect(outside.get(), at, server.size) != 0 && errno != EINPROGRESS) return;
    auto connection = std::make_unique_for_overwrite<Connection>();  // its buffers stay untouched
    connection->inside = std::move(inside);
    connection->outside = std::move(outside);
    Connection& c = *connection;
    connections_.push_front(std::move(connection));
    c.self = connections_.begin();
    const bool watched = watch(c.inside.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &c) &&
                         watch(c.outside.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &c);
    if (!watched) end(c);
  }

  SocketAddress next_server(std::size_t which) {
    std::lock_guard lock(mutex_);
    const Servers& servers = servers_[which];
    return servers[turn_++ % servers.size()];
  }

  void advance(Connection& c) {
    if (!c.inside.valid()) return;
    if (!c.connected) {
      sockaddr_storage peer;
      socklen_t size = sizeof peer;
      int error = 0;
      socklen_t error_size = sizeof error;
      ::getsockopt(c.outside.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
      if (error != 0) return end(c);
      if (::getpeername(c.outside.get(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return;
      c.connected = true;
    }
    const bool sound = c.to_server.move(c.inside.get(), c.outside.get()) &&
                       c.to_client.move(c.outside.get(), c.inside.get());
    if (!sound || (c.to_server.closed && c.to_client.closed)) end(c);
  }

  void end(Connection& c) {
    if (c.to_server.closed == false || c.to_client.closed == false) {
      // Broken: the client learns it by a reset rather than by what looks like a proper end.
      const linger at_once{1, 0};
      ::setsockopt(c.inside.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    c.inside.reset();
    c.outside.reset();
    ended_.splice(ended_.begin(), connections_, c.self);
    listen_again(true);
  }

  const std::size_t connections_max_;
  std::vector<UniqueFd> listeners_;
  std::mutex mutex_;
  std::vector<Servers> servers_;  // guarded by mutex_
  std::size_t turn_ = 0;
  UniqueFd epoll_;
  std::list<std::unique_ptr<Connection>> connections_, ended_;
  bool listening_ = true;
};

Result<std::unique_ptr<GrantRelay>> GrantRelay::start(std::vector<UniqueFd> listeners,
                                                      const std::vector<Grant>& grants) {
  if (listeners.size() != grants.size())
    return fail(Code::kInternal, "{} listeners for {} grants", listeners.size(), grants.size());
  std::vector<Loop::Servers> servers;
  for (const Grant& grant : grants) {
    auto address = parse_socket_address(to_string(grant.server));
    if (!address) return fail(address.error());
    servers.push_back({*address});
  }
  return run(std::make_unique<Loop>(std::move(listeners), std::move(servers), kConnectionsMax));
}

Result<std::unique_ptr<GrantRelay>> GrantRelay::open(const Endpoint& port,
                                                     const std::vector<Endpoint>& servers) {
  auto own = parse_socket_address(to_string(port));
  auto found = addresses_of(servers);
  if (!own) return fail(own.error());
  if (!found) return fail(found.error());
  std::vector<UniqueFd> listeners;
  UniqueFd& listener = listeners.emplace_back(
      ::socket(own->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const auto* at = reinterpret_cast<const sockaddr*>(&own->storage);
  if (!listener.valid() ||
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(listener.get(), at, own->size) != 0 || ::listen(listener.get(), SOMAXCONN) != 0)
    return fail(os_error(errno, "listen on " + to_string(port)));
  return run(std::make_unique<Loop>(std::move(listeners), std::vector<Loop::Servers>{*found},
                                    kPortConnectionsMax));
}

Status GrantRelay::set_servers(const std::vector<Endpoint>& servers) {
  auto found = addresses_of(servers);
  if (!found) return fail(found.error());
  loop_->set_servers(std::move(*found));
  return {};
}

Result<std::unique_ptr<GrantRelay>> GrantRelay::run(std::unique_ptr<Loop> loop) {
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return fail(os_error(errno, "eventfd"));
  if (Status ready = loop->prepare(stop.get()); !ready) return fail(ready.error());
  return std::unique_ptr<GrantRelay>(new GrantRelay(std::move(loop), std::move(stop)));
}

GrantRelay::GrantRelay(std::unique_ptr<Loop> loop, UniqueFd stop)
    : loop_(std::move(loop)), stop_(std::move(stop)), thread_([this] { loop_->run(); }) {}

GrantRelay::~GrantRelay() {
  const std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

}  // namespace leeward::functions
