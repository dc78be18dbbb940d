// The socket behind NOTIFY_SOCKET (sd_notify(3)) of one instance.
//
// It is in the abstract namespace, whose names anybody on the machine can see, so only messages of
// root, of this process's own user and of the user that an image names count. A command that
// changes its user uses an HTTP check.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "compute/notify.h"

namespace leeward::compute {

inline constexpr int kNotifyMessagesMax = 64;  // read in one receive()

class NotifySocket {
 public:
  static Result<NotifySocket> open();
  int fd() const { return fd_.get(); }
  const std::string& variable() const { return variable_; }  // "NOTIFY_SOCKET=@…"
  // Reads the messages that wait, but not more than kNotifyMessagesMax: a process that sends
  // without end must not keep the loop, and fd() stays readable for the rest. `take` gets those
  // that count, also those of `user`.
  void receive(std::uint32_t user, const std::function<void(const Notification&)>& take);

 private:
  UniqueFd fd_;
  std::string variable_;
};

}  // namespace leeward::compute
