#include "app/edge_handover.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace leeward::app {
namespace {

constexpr std::size_t kBatch = 200;  // descriptors a message; the kernel takes 253 (SCM_MAX_FD)
constexpr Duration kSuccessorPatience = 60s;
constexpr int kAnswerMilliseconds = 10'000;

// Reached through the directory's descriptor: a path in a socket address has 107 characters at
// most.
struct Address {
  static Result<Address> in(const std::string& directory) {
    Address a;
    a.directory = UniqueFd(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!a.directory.valid()) return fail(os_error(errno, "open " + directory));
    const std::string path = fmt::format("/proc/self/fd/{}/handover", a.directory.get());
    a.un.sun_family = AF_UNIX;
    std::memcpy(a.un.sun_path, path.c_str(), path.size() + 1);
    return a;
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&un); }

  UniqueFd directory;
  sockaddr_un un{};
};

bool send_message(int line, char word, const int* fds, std::size_t count) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kBatch)] = {};
  iovec part{&word, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * count);
    std::memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
  }
  return sendmsg(line, &message, MSG_NOSIGNAL) == 1;
}

// The word of the next message; its descriptors are appended to `fds`. 0: the line is broken.
char receive_message(int line, std::vector<UniqueFd>& fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kBatch)];
  char word = 0;
  iovec part{&word, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(line, &message, MSG_CMSG_CLOEXEC) != 1) return 0;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; at + sizeof(int) <= head->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + at, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0 ? word : 0;
}

}  // namespace

// ---------------------------------------------------------------------------------- the successor

Result<Predecessor> Predecessor::ask(const std::string& directory) {
  auto address = Address::in(directory);
  if (!address) return fail(std::move(address.error()));
  Predecessor p;
  p.line_ = UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!p.line_.valid()) return fail(os_error(errno, "socket"));
  if (connect(p.line_.get(), address->get(), sizeof address->un) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED)
      return fail(Code::kNotFound, "no edge serves with the state directory {}", directory);
    return fail(os_error(errno, "connect to " + directory + "/handover"));
  }
  for (;;) {
    pollfd readable{.fd = p.line_.get(), .events = POLLIN, .revents = 0};
    if (poll(&readable, 1, kAnswerMilliseconds) <= 0)
      return fail(Code::kTimeout, "the edge that serves does not answer at {}/handover", directory);
    const char word = receive_message(p.line_.get(), p.sockets_);
    if (word == 'E') return p;
    if (word != 'F')
      return fail(Code::kUnavailable,
                  "the edge that serves broke off; it hands over to one successor at a time");
  }
}

Status Predecessor::serving() {
  if (!send_message(line_.get(), 'S', nullptr, 0))
    return fail(os_error(errno, "tell the predecessor"));
  return {};
}

// -------------------------------------------------------------------------------- the predecessor

Result<std::unique_ptr<Handover>> Handover::start(net::EventLoop& loop,
                                                  const std::string& directory, Steps steps,
                                                  Logger logger) {
  auto address = Address::in(directory);
  if (!address) return fail(std::move(address.error()));
  std::unique_ptr<Handover> self(new Handover(loop, std::move(steps), std::move(logger)));
  self->listener_ = UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const int fd = self->listener_.get();
  unlink(address->un.sun_path);  // of a predecessor, or of a process that was killed
  // Nobody can connect before listen().
  if (fd < 0 || bind(fd, address->get(), sizeof address->un) != 0 ||
      chmod(address->un.sun_path, 0600) != 0 || listen(fd, 1) != 0)
    return fail(os_error(errno, "listen at " + directory + "/handover"));
  auto watch = loop.watch_readable(fd, [s = self.get()] { s->on_successor(); });
  if (!watch) return fail(std::move(watch.error()));
  self->listener_watch_ = *watch;
  return self;
}

Handover::~Handover() {
  if (listener_.valid()) loop_.unwatch(listener_watch_);
  if (line_.valid()) hang_up();
}

void Handover::on_successor() {
  UniqueFd line(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!line.valid() || line_.valid()) return;  // one at a time: the other finds its line closed
  auto watch = loop_.watch_readable(line.get(), [this] { on_word(); });
  if (!watch) return;
  line_ = std::move(line);
  line_watch_ = *watch;
  timer_ = loop_.call_after(kSuccessorPatience, [this] { end(false); });
  logger_.info("a successor asks for the sockets");
  steps_.release();
  const std::vector<int> sockets = steps_.sockets();
  bool sent = true;
  for (std::size_t at = 0; sent && at < sockets.size(); at += kBatch)
    sent =
        send_message(line_.get(), 'F', sockets.data() + at, std::min(kBatch, sockets.size() - at));
  if (!sent || !send_message(line_.get(), 'E', nullptr, 0)) end(false);
}

void Handover::on_word() {
  char word = 0;
  end(recv(line_.get(), &word, 1, 0) == 1 && word == 'S');
}

void Handover::hang_up() {
  loop_.cancel(timer_);
  loop_.unwatch(line_watch_);
  line_.reset();
}

void Handover::end(bool served) {
  hang_up();
  if (served) {
    logger_.info("the successor serves");
    return steps_.done();
  }
  logger_.warn("the successor ended before it served; this process goes on");
  steps_.take_back();
}

}  // namespace leeward::app
