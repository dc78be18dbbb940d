// HMAC-SHA256 as text, for what the edge signs and recognises: URLs, cookies, questions. Pure.
#pragma once

#include <string>
#include <string_view>

namespace leeward::edge {

inline constexpr std::size_t kMacText = 43;  // base64 of 32 bytes without its '='

// With '-' and '_' (RFC 4648 §5), and '=' where it does not come out even.
std::string base64url(std::string_view bytes);
// base64url of the MAC: kMacText characters and a '='.
std::string mac_of(std::string_view text, const std::string& secret);
// `given` is mac_of(text, secret), with or without '='. Takes the same time wherever they differ.
bool is_mac(std::string_view given, std::string_view text, const std::string& secret);

}  // namespace leeward::edge
