#include "edge/signed_url.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "edge/http1.h"
#include "edge/internal/mac.h"
#include "edge/network_list.h"

namespace leeward::edge {
namespace {

constexpr std::string_view kPrefix = "URLPrefix", kExpires = "Expires", kKeyName = "KeyName",
                           kNetwork = "ClientNetwork", kSignature = "Signature";

int digit_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '-' ? 62 : c == '_' ? 63 : -1;
}

std::string_view without_padding(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  return text;
}

std::optional<std::string> from_base64url(std::string_view text) {
  std::string out;
  unsigned bits = 0;
  int count = 0;
  for (char c : without_padding(text)) {
    const int digit = digit_of(c);
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

// What a query or a cookie says of its signature; the parameters are its end.
struct Parameters {
  bool any = false;       // it ends with a signature
  bool complete = false;  // and has what belongs to it
  std::string_view prefix, expires, key, network, mac;
  std::size_t begin = 0;      // of the first parameter
  std::size_t mac_begin = 0;  // of the separator in front of the signature
};

// The value of the last parameter when it has that name; `end` moves in front of it.
std::optional<std::string_view> take_last(std::string_view text, std::string_view separators,
                                          std::string_view name, std::size_t& end,
                                          std::size_t& begin) {
  if (end == 0) return std::nullopt;
  const std::size_t separator = text.substr(0, end).find_last_of(separators);
  const std::size_t start = separator == std::string_view::npos ? 0 : separator + 1;
  const std::string_view piece = text.substr(start, end - start);
  if (!piece.starts_with(name) || piece.size() <= name.size() || piece[name.size()] != '=')
    return std::nullopt;
  begin = start;
  end = separator == std::string_view::npos ? 0 : separator;
  return piece.substr(name.size() + 1);
}

Parameters parameters_of(std::string_view text, std::string_view separators) {
  Parameters p;
  std::size_t end = text.size();
  auto take = [&](std::string_view name, std::string_view& value) {
    auto found = take_last(text, separators, name, end, p.begin);
    value = found.value_or(std::string_view());
    return found.has_value();
  };
  p.any = take(kSignature, p.mac);
  p.mac_begin = end;
  if (!p.any) return p;
  take(kNetwork, p.network);
  p.complete = take(kKeyName, p.key) && take(kExpires, p.expires);
  if (p.complete) take(kPrefix, p.prefix);
  return p;
}

// Whether an origin could read the path as another one: "." and ".." as segments, also encoded,
// also with parameters behind them.
bool has_dot_segments(std::string_view path) {
  std::string plain;
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    unsigned code = 0;
    if (c == '%' && i + 2 < path.size() &&
        std::from_chars(path.data() + i + 1, path.data() + i + 3, code, 16).ptr ==
            path.data() + i + 3) {
      c = static_cast<char>(code);
      i += 2;
    }
    plain += c == '\\' ? '/' : c;
  }
  for (std::size_t at = 0; at < plain.size();) {
    const std::size_t next = std::min(plain.find('/', at), plain.size());
    const std::string_view segment = std::string_view(plain).substr(at, next - at);
    const std::string_view name = segment.substr(0, segment.find(';'));
    if (name == "." || name == "..") return true;
    at = next + 1;
  }
  return false;
}

// "https://host/" and what may follow, but no query.
bool is_prefix(std::string_view text) {
  const std::size_t scheme = text.starts_with("https://") ? 8 : text.starts_with("http://") ? 7 : 0;
  const std::size_t slash = text.find('/', scheme);
  return scheme != 0 && slash != std::string_view::npos && slash > scheme &&
         text.find_first_of("?#") == std::string_view::npos;
}

bool covers(const std::string& prefix, const SignedRequest& request, std::size_t target_size) {
  const std::string_view target = request.target.substr(0, target_size);
  const std::string_view path = target.substr(0, target.find('?'));
  const std::string url = fmt::format("{}://{}{}", request.scheme, request.host, path);
  return is_prefix(prefix) && url.starts_with(prefix) && !has_dot_segments(path);
}

bool is_network(std::string_view text) {
  return !text.empty() &&
         text.find_first_not_of("0123456789abcdefABCDEF.:/") == std::string_view::npos;
}

bool in_network(const ClientAddress& client, std::string_view network) {
  if (!is_network(network)) return false;
  auto list = NetworkList::parse(network, "ClientNetwork");
  return list && list->contains(client);
}

SignatureCheck refused(std::string_view why) { return {.good = false, .reason = why}; }

// `signed_text`: what the MAC is of.
SignatureCheck judge(const Parameters& p, const SignedRequest& request, std::size_t target_size,
                     const std::string& signed_text, const std::vector<SigningKey>& keys,
                     std::int64_t now_seconds) {
  if (!p.complete) return refused("signature:malformed");
  std::int64_t expires = 0;
  const char* end = p.expires.data() + p.expires.size();
  if (p.expires.empty() || p.expires.front() == '-' ||
      std::from_chars(p.expires.data(), end, expires).ptr != end)
    return refused("signature:malformed");
  auto key =
      std::find_if(keys.begin(), keys.end(), [&](const SigningKey& k) { return k.id == p.key; });
  if (key == keys.end()) return refused("signature:unknown-key");
  if (!is_mac(p.mac, signed_text, key->secret)) return refused("signature:wrong");
  if (now_seconds >= expires) return refused("signature:expired");
  if (!p.network.empty() && !in_network(request.client, p.network))
    return refused("signature:wrong-client");
  if (!p.prefix.empty()) {
    const auto prefix = from_base64url(p.prefix);
    if (!prefix || !covers(*prefix, request, target_size)) return refused("signature:wrong-prefix");
  }
  return {.good = true, .reason = "", .target_size = target_size};
}

}  // namespace

SignatureCheck check_signature(const SignedRequest& request, const std::vector<SigningKey>& keys,
                               std::int64_t now_seconds) {
  const std::size_t question = request.target.find('?');
  Parameters p;
  if (question != std::string_view::npos) {
    p = parameters_of(request.target.substr(question), "?&");
    p.begin += question;
    p.mac_begin += question;
  }
  if (p.any) {
    const std::string_view before = request.target.substr(0, p.mac_begin);
    const std::string text = p.prefix.empty()
                                 ? fmt::format("{}://{}{}", request.scheme, request.host, before)
                                 : std::string(before.substr(std::min(p.begin, before.size())));
    return judge(p, request, p.begin - 1, text, keys, now_seconds);
  }
  if (request.cookie.empty()) return refused("signature:none");
  p = parameters_of(request.cookie, ":");
  if (!p.any || p.begin != 0 || p.prefix.empty()) return refused("signature:malformed");
  return judge(p, request, request.target.size(),
               std::string(request.cookie.substr(0, p.mac_begin)), keys, now_seconds);
}

Result<SignedUrl> sign_url(const SigningOrder& order, const SigningKey& key) {
  const std::string_view url = order.url;
  const std::size_t scheme = url.starts_with("https://") ? 8 : url.starts_with("http://") ? 7 : 0;
  const std::size_t slash = std::min(url.find_first_of("/?#", scheme), url.size());
  const std::string_view authority = url.substr(scheme, slash - scheme);
  HostText host;
  if (scheme == 0 || !valid_host(authority) || !normalize_host(authority, scheme == 8, host))
    return fail(Code::kInvalid, "'{}': write http://HOST/PATH or https://HOST/PATH", url);
  for (char c : url)
    if (c <= ' ' || c == 0x7f || c == '#')
      return fail(Code::kInvalid, "'{}': white space and '#' cannot be signed", url);
  if (!order.client_network.empty() && (!is_network(order.client_network) ||
                                        !NetworkList::parse(order.client_network, "ClientNetwork")))
    return fail(Code::kInvalid, "'{}' is no network; write for example 192.0.2.0/24",
                order.client_network);
  std::string text =
      fmt::format("{}{}{}{}", url.substr(0, scheme), host.view(),
                  slash < url.size() && url[slash] == '/' ? "" : "/", url.substr(slash));
  const std::string_view query =
      std::string_view(text).substr(std::min(text.find('?'), text.size()));
  std::size_t end = query.size(), begin = 0;
  if (take_last(query, "?&", kPrefix, end, begin))
    return fail(Code::kInvalid, "'{}' ends with a URLPrefix already", url);
  if (order.prefix && !is_prefix(text))
    return fail(Code::kInvalid, "'{}': a prefix has no query", url);
  auto parameters = [&](char separator) {
    std::string out;
    if (order.prefix) out = fmt::format("{}={}{}", kPrefix, base64url(text), separator);
    out += fmt::format("{}={}{}{}={}", kExpires, order.expires, separator, kKeyName, key.id);
    if (!order.client_network.empty())
      out += fmt::format("{}{}={}", separator, kNetwork, order.client_network);
    return out;
  };
  auto with_mac = [&](const std::string& signed_text, char separator) {
    return fmt::format("{}{}{}=", signed_text, separator, kSignature) +
           mac_of(signed_text, key.secret);
  };
  SignedUrl made;
  const char joint = text.find('?') == std::string::npos ? '?' : '&';
  if (!order.prefix) {
    made.url = with_mac(text + joint + parameters('&'), '&');
    return made;
  }
  made.parameters = with_mac(parameters('&'), '&');
  made.url = text + joint + made.parameters;
  // A network of IPv6 has the cookie's separator in it.
  if (order.client_network.find(':') == std::string::npos)
    made.cookie = fmt::format("{}={}", kSignedCookie, with_mac(parameters(':'), ':'));
  return made;
}

}  // namespace leeward::edge
