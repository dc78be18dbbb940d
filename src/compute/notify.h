// What a process tells its supervisor about itself: the messages of sd_notify(3), as far as they
// mean something here. Lines "NAME=value"; unknown names are passed over, as the protocol wants.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace leeward::compute {

inline constexpr std::size_t kNotifyBytesMax = 4096;  // of one message; longer ones are dropped
inline constexpr std::size_t kNotifyStatusMax = 200;  // of STATUS=; longer ones are cut

struct Notification {
  bool ready = false;                 // READY=1
  bool stopping = false;              // STOPPING=1
  std::optional<std::string> status;  // STATUS=…, made safe to show
};

Notification parse_notification(std::string_view message);

}  // namespace leeward::compute
