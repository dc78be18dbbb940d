// What a server may answer while we log in: the input is a series of packets, each behind its
// length in two bytes; the first byte says whether TLS is wanted.
#include <cstdint>
#include <string_view>

#include "mysql/bytes.h"
#include "mysql/internal/login.h"

namespace mysql = leeward::mysql;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mysql::Bytes bytes(std::string_view(reinterpret_cast<const char*>(data), size));
  mysql::internal::Login login({"repl", "secret"}, bytes.little(1) & 1);
  while (bytes.left() > 0) {
    auto step = login.take(bytes.take(bytes.little(2)));
    if (!step || step->done) break;
    if (step->start_tls && !login.encrypted()) break;
  }
  return 0;
}
