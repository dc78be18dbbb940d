#include "compute/internal/notify_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/token.h"

namespace leeward::compute {

Result<NotifySocket> NotifySocket::open() {
  NotifySocket s;
  auto token = random_token();
  if (!token) return fail(std::move(token.error()));
  std::string name = "leeward/" + *token;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  s.fd_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int on = 1;
  if (!s.fd_.valid() || ::bind(s.fd_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::setsockopt(s.fd_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
    return fail(os_error(errno, "notification socket"));
  s.variable_ = "NOTIFY_SOCKET=@" + name;
  return s;
}

void NotifySocket::receive(std::uint32_t user,
                           const std::function<void(const Notification&)>& take) {
  for (int i = 0; i < kNotifyMessagesMax; ++i) {
    char message[kNotifyBytesMax];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(16 * sizeof(int))];
    iovec part{message, sizeof message};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    ssize_t n = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC);
    if (n < 0) return;
    bool trusted = false;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level != SOL_SOCKET) continue;
      if (c->cmsg_type == SCM_CREDENTIALS) {
        ucred sender{};
        std::memcpy(&sender, CMSG_DATA(c), sizeof sender);
        trusted = sender.uid == 0 || sender.uid == ::geteuid() || sender.uid == user;
      }
      if (c->cmsg_type == SCM_RIGHTS) {  // descriptors to be stored: not offered here
        std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t f = 0; f < count; ++f) {
          int fd = -1;
          std::memcpy(&fd, CMSG_DATA(c) + f * sizeof fd, sizeof fd);
          ::close(fd);
        }
      }
    }
    if (trusted && (header.msg_flags & MSG_TRUNC) == 0)
      take(parse_notification({message, static_cast<std::size_t>(n)}));
  }
}

}  // namespace leeward::compute
