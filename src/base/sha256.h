// SHA-256 (FIPS 180-4) as 64 hexadecimal digits in lower case, and HMAC over it (RFC 2104).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace leeward {

std::string sha256_hex(std::string_view bytes);
bool is_sha256_hex(std::string_view text);                              // whether it is such digits
std::string hmac_sha256(std::string_view key, std::string_view bytes);  // 32 octets

// The digest of bytes that come piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void add(const char* bytes, std::size_t size);
  std::string hex();  // REQUIRES: called once, last

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace leeward
