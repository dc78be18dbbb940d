#include "waf/operator_ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "waf/internal/bytes.h"

namespace leeward::waf {
namespace {

__extension__ using Wide = unsigned __int128;

std::optional<std::uint32_t> v4_of(std::string_view text) {
  const std::string address(text.substr(0, INET_ADDRSTRLEN));
  in_addr parsed;
  if (text.size() >= INET_ADDRSTRLEN || address.find('\0') != std::string::npos ||
      inet_pton(AF_INET, address.c_str(), &parsed) != 1)
    return std::nullopt;
  return ntohl(parsed.s_addr);
}

std::optional<Wide> v6_of(std::string_view text) {
  const std::string address(text.substr(0, INET6_ADDRSTRLEN));
  in6_addr parsed;
  if (text.size() >= INET6_ADDRSTRLEN || address.find('\0') != std::string::npos ||
      inet_pton(AF_INET6, address.c_str(), &parsed) != 1)
    return std::nullopt;
  Wide value = 0;
  for (const unsigned char byte : parsed.s6_addr) value = value << 8 | byte;
  return value;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

// Bits of a network's prefix: 0 to `max`, which is also what no '/' stands for.
std::optional<unsigned> prefix_of(std::string_view network, std::size_t slash, unsigned max) {
  if (slash == std::string_view::npos) return max;
  const std::string_view digits = network.substr(slash + 1);
  if (digits.empty() || digits.size() > 3) return std::nullopt;
  unsigned bits = 0;
  for (const char c : digits) {
    if (!is_digit(static_cast<unsigned char>(c))) return std::nullopt;
    bits = bits * 10 + static_cast<unsigned>(c - '0');
  }
  return bits <= max ? std::optional(bits) : std::nullopt;
}

template <typename Address>
Address host_bits(unsigned prefix) {
  constexpr unsigned kBits = sizeof(Address) * 8;
  return prefix == 0 ? ~Address{0} : (Address{1} << (kBits - prefix)) - 1;
}

template <typename Ranges>
void sort_and_join(Ranges& ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::size_t kept = 0;
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first <= ranges[kept].last)
      ranges[kept].last = std::max(ranges[kept].last, ranges[i].last);
    else
      ranges[++kept] = ranges[i];
  }
  if (!ranges.empty()) ranges.resize(kept + 1);
}

template <typename Ranges, typename Address>
bool is_in(const Ranges& ranges, Address address) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                [](Address a, const auto& range) { return a < range.first; });
  return after != ranges.begin() && address <= std::prev(after)->last;
}

}  // namespace

Status IpSet::add(std::string_view network) {
  const std::size_t slash = network.find('/');
  const std::string_view address = network.substr(0, slash);
  if (v4_.size() + v6_.size() >= kNetworksMax)
    return fail(Code::kInvalid, "more than {} networks; split the list", kNetworksMax);
  if (const auto v4 = v4_of(address)) {
    if (const auto prefix = prefix_of(network, slash, 32)) {
      const auto host = host_bits<std::uint32_t>(*prefix);
      v4_.push_back({*v4 & ~host, *v4 | host});
      return {};
    }
  } else if (const auto v6 = v6_of(address)) {
    if (const auto prefix = prefix_of(network, slash, 128)) {
      const auto host = host_bits<Wide>(*prefix);
      v6_.push_back({*v6 & ~host, *v6 | host});
      return {};
    }
  }
  return fail(Code::kInvalid,
              "'{}' is no address and no network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
              network.substr(0, 64));
}

void IpSet::seal() {
  sort_and_join(v4_);
  sort_and_join(v6_);
}

Result<IpSet> IpSet::parse_list(std::string_view list) {
  IpSet set;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    if (Status added = set.add(trimmed(list.substr(at, end - at))); !added)
      return fail(std::move(added.error()));
    at = end + 1;
  }
  set.seal();
  return set;
}

Result<IpSet> IpSet::parse_file(std::string_view text, std::string_view file) {
  IpSet set;
  std::size_t number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::string_view network = trimmed(line.substr(0, line.find('#')));
    at = end + 1;
    if (network.empty()) continue;
    if (Status added = set.add(network); !added)
      return fail(std::move(added.error()).wrap(fmt::format("{}:{}", file, number)));
  }
  set.seal();
  return set;
}

bool IpSet::contains(std::string_view address) const {
  if (const auto v4 = v4_of(address)) return is_in(v4_, *v4);
  if (const auto v6 = v6_of(address)) return is_in(v6_, *v6);
  return false;
}

}  // namespace leeward::waf
