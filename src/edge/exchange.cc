#include "edge/exchange.h"

#include <arpa/inet.h>

#include <cstring>

namespace leeward::edge {
namespace {

constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

}  // namespace

std::unique_ptr<Fill> Body::take_fetch() { return nullptr; }

Method method_of(std::string_view text) {
  struct Known {
    std::string_view text;
    Method method;
  };
  static constexpr Known kKnown[] = {
      {"GET", Method::kGet},         {"HEAD", Method::kHead},     {"POST", Method::kPost},
      {"PUT", Method::kPut},         {"DELETE", Method::kDelete}, {"PATCH", Method::kPatch},
      {"OPTIONS", Method::kOptions}, {"TRACE", Method::kTrace},   {"CONNECT", Method::kConnect}};
  for (const Known& known : kKnown)
    if (known.text == text) return known.method;
  return Method::kOther;
}

bool same_name(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

bool folds_to(std::string_view name, std::string_view lower_name) {
  if (name.size() != lower_name.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i)
    if ((name[i] == '_' ? '-' : lower(name[i])) != lower_name[i]) return false;
  return true;
}

std::string_view find_field(Fields fields, std::string_view name) {
  for (const Field& field : fields)
    if (same_name(field.name, name)) return field.value;
  return {};
}

bool ClientAddress::is_v4() const { return std::memcmp(bytes, kMapped, sizeof kMapped) == 0; }

std::string to_string(const ClientAddress& a) {
  char text[INET6_ADDRSTRLEN] = "";
  if (a.is_v4())
    inet_ntop(AF_INET, a.bytes + sizeof kMapped, text, sizeof text);
  else
    inet_ntop(AF_INET6, a.bytes, text, sizeof text);
  return text;
}

ClientAddress subscriber_network(ClientAddress address) {
  const std::size_t kept = address.is_v4() ? 15 : 8;
  std::memset(address.bytes + kept, 0, sizeof address.bytes - kept);
  return address;
}

std::optional<ClientAddress> parse_client_address(std::string_view text) {
  char copy[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof copy) return {};
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  if (std::strlen(copy) != text.size()) return {};
  ClientAddress a;
  if (inet_pton(AF_INET, copy, a.bytes + sizeof kMapped) == 1) {
    std::memcpy(a.bytes, kMapped, sizeof kMapped);
    return a;
  }
  if (inet_pton(AF_INET6, copy, a.bytes) == 1) return a;
  return {};
}

}  // namespace leeward::edge
