#include "compute/notify.h"

namespace leeward::compute {

Notification parse_notification(std::string_view message) {
  Notification n;
  while (!message.empty()) {
    std::size_t end = message.find('\n');
    std::string_view line = message.substr(0, end);
    message.remove_prefix(end == std::string_view::npos ? message.size() : end + 1);
    if (line == "READY=1") n.ready = true;
    if (line == "STOPPING=1") n.stopping = true;
    constexpr std::string_view kStatus = "STATUS=";
    if (!line.starts_with(kStatus)) continue;
    std::string text(line.substr(kStatus.size(), kNotifyStatusMax));
    for (char& c : text)
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
    n.status = std::move(text);
  }
  return n;
}

}  // namespace leeward::compute
