#include "base/token.h"

#include <sys/random.h>

#include <cerrno>

namespace leeward {

Result<std::string> random_token() {
  unsigned char bytes[32];
  // Up to 256 bytes come whole or not at all (getrandom(2)).
  if (getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes))
    return fail(os_error(errno, "getrandom"));
  std::string text;
  for (unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace leeward
