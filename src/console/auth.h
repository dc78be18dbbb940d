// Bearer tokens (RFC 6750 §2.1). Two roles: agents report and ask for the lease, operators may do
// everything. Comparison takes the same time wherever two tokens differ.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "net/http.h"

namespace leeward::console {

struct Tokens {
  std::string agent;
  std::string operator_;
};

enum class Role { kAgent, kOperator };

// Success when the request's token gives `needed` or more. kUnauthorized otherwise; the message
// never repeats the token.
Status authorize(const net::HttpRequest& request, const Tokens& tokens, Role needed);

}  // namespace leeward::console
