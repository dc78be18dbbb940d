#include "edge/fair_share.h"

#include "base/check.h"

namespace leeward::edge {

FairShare::Network FairShare::network_of(const ClientAddress& client) {
  const ClientAddress network = subscriber_network(client);
  return std::to_array(network.bytes);
}

bool FairShare::take(const ClientAddress& client, std::uint64_t units, std::uint64_t whole) {
  if (units == 0) return true;
  const Network network = network_of(client);
  const auto found = shares_.find(network);
  const std::uint64_t share = units + (found == shares_.end() ? 0 : found->second);
  if (taken_ + units + share > whole + 1) return false;
  taken_ += units;
  shares_[network] = share;
  return true;
}

void FairShare::give_back(const ClientAddress& client, std::uint64_t units) {
  if (units == 0) return;
  const auto found = shares_.find(network_of(client));
  LEEWARD_CHECK(found != shares_.end() && found->second >= units);
  taken_ -= units;
  found->second -= units;
  if (found->second == 0) shares_.erase(found);
}

}  // namespace leeward::edge
