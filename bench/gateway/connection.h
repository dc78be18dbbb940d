// A blocking connection of the benchmark's account to the table bench.t, for one thread. The first
// failure throws: a benchmark with errors has no result.
#pragma once

#include <mysql.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace bench {

inline constexpr const char* kUser = "bench";
inline constexpr const char* kPassword = "bench-password";
inline constexpr const char* kDatabase = "bench";
inline constexpr int kRows = 10'000;  // ids 1 to kRows

class Connection {
 public:
  explicit Connection(std::uint16_t port) : handle_(mysql_init(nullptr), mysql_close) {
    if (mysql_real_connect(handle_.get(), "127.0.0.1", kUser, kPassword, kDatabase, port, nullptr,
                           0) == nullptr)
      fail("connect");
  }

  // Runs one statement and reads its result to the end.
  void run(const std::string& statement) {
    if (mysql_real_query(handle_.get(), statement.data(), statement.size()) != 0) fail(statement);
    MYSQL_RES* rows = mysql_store_result(handle_.get());
    if (rows == nullptr && mysql_field_count(handle_.get()) != 0) fail(statement);
    mysql_free_result(rows);
  }

 private:
  [[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + mysql_error(handle_.get()));
  }

  std::unique_ptr<MYSQL, decltype(&mysql_close)> handle_;
};

}  // namespace bench
