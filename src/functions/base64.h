// Base64 as in RFC 4648 §4, with padding: how the Lambda API carries bytes in JSON and headers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace leeward::functions {

std::string base64(std::string_view bytes);
// nullopt for anything that base64() would not make; line ends are not allowed.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace leeward::functions
