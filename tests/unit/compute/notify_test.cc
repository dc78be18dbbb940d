#include "compute/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "compute/internal/notify_socket.h"

namespace leeward::compute {
namespace {

TEST(Notify, ReadsWhatMeansSomethingHere) {
  Notification n = parse_notification("MAINPID=12\nREADY=1\nSTATUS=two \x1b[31mred\nFDSTORE=1");
  EXPECT_TRUE(n.ready);
  EXPECT_FALSE(n.stopping);
  EXPECT_EQ(n.status, "two ?[31mred");
  EXPECT_TRUE(parse_notification("STOPPING=1\n").stopping);
}

TEST(Notify, TakesNoHalfWords) {
  for (const char* text : {"", "\n\n", "READY", "READY=0", "READY=10", "XREADY=1", "ready=1"})
    EXPECT_FALSE(parse_notification(text).ready) << text;
  EXPECT_EQ(parse_notification("STATUS=").status, "");
  EXPECT_EQ(parse_notification("STATUS=" + std::string(5000, 'x')).status->size(),
            kNotifyStatusMax);
}

TEST(NotifySocket, AProcessThatSendsWithoutEndIsNotReadWithoutEnd) {
  auto socket = NotifySocket::open();
  ASSERT_TRUE(socket) << socket.error().message;
  const std::string prefix = "NOTIFY_SOCKET=@";
  ASSERT_TRUE(socket->variable().starts_with(prefix));
  const std::string name = socket->variable().substr(prefix.size());
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const UniqueFd sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  auto tell = [&] {
    EXPECT_EQ(::sendto(sender.get(), "READY=1", 7, 0, reinterpret_cast<sockaddr*>(&to), size), 7);
  };
  tell();
  int taken = 0;
  socket->receive(0, [&](const Notification& message) {
    EXPECT_TRUE(message.ready);
    if (++taken < 10 * kNotifyMessagesMax) tell();  // the next is there before this one is done
  });
  EXPECT_EQ(taken, kNotifyMessagesMax);
  int later = 0;
  socket->receive(0, [&](const Notification&) { ++later; });
  EXPECT_EQ(later, 1) << "what was not read waits";
}

}  // namespace
}  // namespace leeward::compute
