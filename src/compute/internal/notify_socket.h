// The socket behind NOTIFY_SOCKET (sd_notify(3)) of one instance.
//
// It is in the abstract namespace, whose names anybody on the machine can see, so only messages of
// root, of this process's own user and of the user that an image names count. A command that
// changes its user uses an HTTP check.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "compute/notify.h"

namespace leeward::compute {

class NotifySocket {
 public:
  static Result<NotifySocket> open();
  int fd() const { return fd_.get(); }
  const std::string& variable() const { return variable_; }  // "NOTIFY_SOCKET=@…"
  // The next message that counts, also those of `user`; nothing when none waits.
  std::optional<Notification> receive(std::uint32_t user = 0);

 private:
  UniqueFd fd_;
  std::string variable_;
};

}  // namespace leeward::compute
