// Signed URLs and signed cookies: who has one may read until it expires, without the application
// being asked. Their form is that of Google's Cloud CDN
// (cloud.google.com/cdn/docs/using-signed-urls and …/using-signed-cookies), with HMAC-SHA256 in the
// place of HMAC-SHA1:
//
//   one URL     https://HOST/PATH?QUERY&Expires=UNIX&KeyName=ID&Signature=MAC
//               MAC of everything in front of "&Signature="
//   many URLs   https://HOST/PATH?URLPrefix=BASE64URL&Expires=UNIX&KeyName=ID&Signature=MAC
//               MAC of "URLPrefix=…&Expires=…&KeyName=…"; good for every URL that begins so
//   cookie      Leeward-Signed=URLPrefix=BASE64URL:Expires=UNIX:KeyName=ID:Signature=MAC
//               MAC of "URLPrefix=…:Expires=…:KeyName=…"
//
// BASE64URL and MAC are base64 with '-' and '_' (RFC 4648 §5); a final '=' may be there or not. An
// optional "ClientNetwork=ADDRESS[/BITS]" (in cookies IPv4 only) between KeyName and Signature
// binds it to who asks; Cloud CDN has no such thing. The parameters are the last of the query and
// in this order. Host names are signed in lower case and without the scheme's own port.
//
// Pure: the time is passed in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "edge/exchange.h"

namespace leeward::edge {

inline constexpr std::string_view kSignedCookie = "Leeward-Signed";
inline constexpr std::size_t kSigningSecretMin = 16;  // bytes

struct SigningKey {
  std::string id;
  std::string secret;
  bool operator==(const SigningKey&) const = default;
};

struct SignedRequest {
  std::string_view scheme;  // "http" or "https", as the client's
  std::string_view host;    // normalized
  std::string_view target;  // path and query as received
  std::string_view cookie;  // value of kSignedCookie; empty: none
  ClientAddress client;
};

struct SignatureCheck {
  bool good = false;
  // Why not, for the access log; static text: "signature:" and none, malformed, unknown-key, wrong,
  // expired, wrong-client or wrong-prefix.
  std::string_view reason = "signature:none";
  std::size_t target_size = 0;  // good: of the target without the parameters, which end it
};

// Any of `keys` may have signed it. The query's parameters count before the cookie.
SignatureCheck check_signature(const SignedRequest& request, const std::vector<SigningKey>& keys,
                               std::int64_t now_seconds);

struct SigningOrder {
  std::string url;  // "https://host/path?query"; with `prefix` the beginning of those that are good
  bool prefix = false;
  std::int64_t expires = 0;    // seconds since 1970
  std::string client_network;  // empty: anybody
};
struct SignedUrl {
  std::string url;         // with `prefix`: of that URL, as an example
  std::string parameters;  // what is put behind any other URL of the prefix, without '?' or '&'
  std::string cookie;      // "Leeward-Signed=…"; with `prefix` only
};
// kInvalid says what cannot be signed.
Result<SignedUrl> sign_url(const SigningOrder& order, const SigningKey& key);

}  // namespace leeward::edge
