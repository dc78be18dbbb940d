// Structured logging to stderr, one line an entry: text for people, JSON for collectors.
// A Logger is a value handed down by constructor; copies share one sink. Thread-safe.
// Never put a secret in a message or a field.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace leeward {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
enum class LogFormat { kText, kJson };

struct LogField {
  std::string_view key;
  std::string value;
  template <typename T>
  LogField(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
};

class Logger {
 public:
  // A logger that drops everything (tests).
  Logger() = default;
  // Writes to file descriptor `fd` (not owned) every entry of at least `level`.
  Logger(int fd, LogLevel level, LogFormat format);

  // A logger whose entries carry the room's or role's name.
  Logger with(std::string_view component) const;

  void write(LogLevel level, std::string_view message,
             std::initializer_list<LogField> fields = {}) const;
  void debug(std::string_view m, std::initializer_list<LogField> f = {}) const {
    write(LogLevel::kDebug, m, f);
  }
  void info(std::string_view m, std::initializer_list<LogField> f = {}) const {
    write(LogLevel::kInfo, m, f);
  }
  void warn(std::string_view m, std::initializer_list<LogField> f = {}) const {
    write(LogLevel::kWarn, m, f);
  }
  void error(std::string_view m, std::initializer_list<LogField> f = {}) const {
    write(LogLevel::kError, m, f);
  }

 private:
  struct Sink;
  std::shared_ptr<Sink> sink_;
  std::string component_;
};

// Appends `text` as a JSON string literal, quotes included.
void append_json_string(std::string& out, std::string_view text);

}  // namespace leeward
