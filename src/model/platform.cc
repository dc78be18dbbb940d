#include "model/platform.h"

#include <charconv>
#include <cmath>

namespace leeward {

std::string to_string(const Endpoint& e) { return fmt::format("{}:{}", e.host, e.port); }

Result<Endpoint> parse_endpoint(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0)
    return fail(Code::kInvalid,
                "'{}' is not an address; write HOST:PORT, for example 10.0.0.1:3306", text);
  unsigned port = 0;
  auto digits = text.substr(colon + 1);
  auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || rest != digits.data() + digits.size() || port == 0 || port > 65535)
    return fail(Code::kInvalid, "'{}' is not a port in '{}'; write a number from 1 to 65535",
                digits, text);
  return Endpoint{std::string(text.substr(0, colon)), static_cast<std::uint16_t>(port)};
}

Duration LeaseTimings::takeover_min() const {
  double sum = static_cast<double>((duration + grace).count());
  return Duration(
      static_cast<std::int64_t>(std::ceil(sum * (1 + clock_drift) / (1 - clock_drift))));
}

std::optional<SiteId> Platform::find_site(std::string_view wanted) const {
  for (std::size_t i = 0; i < sites.size(); ++i)
    if (sites[i].name == wanted) return SiteId{static_cast<std::uint8_t>(i)};
  return std::nullopt;
}

std::vector<SiteId> Platform::workload_sites() const {
  std::vector<SiteId> ids;
  for (std::size_t i = 0; i < sites.size(); ++i)
    if (sites[i].role != SiteRole::kWitness) ids.push_back(SiteId{static_cast<std::uint8_t>(i)});
  return ids;
}

SiteId Platform::configured_primary() const {
  for (std::size_t i = 0; i < sites.size(); ++i)
    if (sites[i].role == SiteRole::kPrimary) return SiteId{static_cast<std::uint8_t>(i)};
  return kNoSite;
}

const Database* Platform::find_database(Engine engine) const {
  for (const Database& d : databases)
    if (d.engine == engine) return &d;
  return nullptr;
}

}  // namespace leeward
