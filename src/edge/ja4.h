// JA4, a fingerprint of how a client speaks TLS: the same for the same library and settings,
// whatever its address. By FoxIO's description (github.com/FoxIO-LLC/ja4, technical_details/JA4.md;
// JA4 alone, which is under the BSD 3-Clause licence, without the other methods of JA4+).
//
//   t13d1516h2_8daaf6152771_e5627efa2ab1
//   TCP, TLS 1.3, with a server name, 15 ciphers, 16 extensions, first ALPN h2;
//   hash of the ciphers, sorted; hash of the extensions, sorted, and the signature algorithms
//
// Pure.
#pragma once

#include <string>
#include <string_view>

namespace leeward::edge {

// Of a ClientHello (RFC 8446 §4.1.2) with its handshake header, as it came. "" when it is none that
// can be read to its end.
std::string ja4_of(std::string_view client_hello);

}  // namespace leeward::edge
