#include "console/auth.h"

namespace leeward::console {
namespace {

bool same(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return false;
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i] ^ b[i % b.size()]);
  return difference == 0;
}

}  // namespace

Status authorize(const net::HttpRequest& request, const Tokens& tokens, Role needed) {
  std::string_view header = request.header("Authorization");
  constexpr std::string_view kScheme = "Bearer ";
  if (!header.starts_with(kScheme))
    return fail(Code::kUnauthorized, "{} {} needs an Authorization header with a bearer token",
                request.method, request.path);
  std::string_view token = header.substr(kScheme.size());
  bool is_operator = !tokens.operator_.empty() && same(tokens.operator_, token);
  bool is_agent = !tokens.agent.empty() && same(tokens.agent, token);
  if (is_operator || (is_agent && needed == Role::kAgent)) return {};
  return fail(Code::kUnauthorized, "{} {}: {}", request.method, request.path,
              is_agent ? "needs the operator token, not the agent's"
                       : "the bearer token is not one of this platform");
}

}  // namespace leeward::console
