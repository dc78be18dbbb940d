#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <mutex>

#include "base/time.h"

namespace leeward {

struct Logger::Sink {
  int fd;
  LogLevel level;
  LogFormat format;
  std::mutex mutex;
};

namespace {
constexpr std::string_view kLevelNames[] = {"debug", "info", "warn", "error"};
}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

Logger::Logger(int fd, LogLevel level, LogFormat format) : sink_(std::make_shared<Sink>()) {
  sink_->fd = fd;
  sink_->level = level;
  sink_->format = format;
}

Logger Logger::with(std::string_view component) const {
  Logger other = *this;
  other.component_ = component;
  return other;
}

void Logger::write(LogLevel level, std::string_view message,
                   std::initializer_list<LogField> fields) const {
  if (!sink_ || level < sink_->level) return;
  std::string time = format_wall(SystemClock{}.now().wall);
  std::string_view level_name = kLevelNames[static_cast<int>(level)];
  std::string line;
  if (sink_->format == LogFormat::kJson) {
    line += fmt::format(R"({{"time":"{}","level":"{}","component":)", time, level_name);
    append_json_string(line, component_);
    line += ",\"message\":";
    append_json_string(line, message);
    for (const LogField& f : fields) {
      line += ',';
      append_json_string(line, f.key);
      line += ':';
      append_json_string(line, f.value);
    }
    line += "}\n";
  } else {
    line = fmt::format("{} {:5} {}: {}", time, level_name, component_, message);
    for (const LogField& f : fields) {
      line += fmt::format(" {}=", f.key);
      if (f.value.find_first_of(" \"\n") == std::string::npos && !f.value.empty())
        line += f.value;
      else
        append_json_string(line, f.value);
    }
    line += '\n';
  }
  std::lock_guard lock(sink_->mutex);
  // A full or closed stderr must not stop a decision: the entry is lost, nothing else. A pipe that
  // has room takes up to PIPE_BUF at once without blocking (pipe(7)).
  if (line.size() > PIPE_BUF) {
    line.resize(PIPE_BUF - 1);
    line += '\n';
  }
  pollfd ready{sink_->fd, POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT)) return;
  [[maybe_unused]] ssize_t written = ::write(sink_->fd, line.data(), line.size());
}

}  // namespace leeward
