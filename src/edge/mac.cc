#include "edge/internal/mac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/sha256.h"

namespace leeward::edge {

std::string base64url(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  std::replace(out.begin(), out.end(), '+', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

std::string mac_of(std::string_view text, const std::string& secret) {
  return base64url(hmac_sha256(secret, text));
}

bool is_mac(std::string_view given, std::string_view text, const std::string& secret) {
  if (given.ends_with('=')) given.remove_suffix(1);
  return given.size() == kMacText &&
         CRYPTO_memcmp(mac_of(text, secret).data(), given.data(), kMacText) == 0;
}

}  // namespace leeward::edge
