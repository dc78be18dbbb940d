// The listening sockets: IPv4, one UDP socket a thread and one TCP listener on the same port.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "model/platform.h"

namespace leeward::dns::internal {

struct Sockets {
  std::vector<UniqueFd> udp;  // blocking, with a receive timeout of kReceiveTimeout
  UniqueFd tcp;               // non-blocking, listening
  Endpoint local;
  bool any_address = false;  // bound to 0.0.0.0: messages carry their destination (IP_PKTINFO)
};

// How long a UDP thread may sleep before it looks whether it is to stop.
inline constexpr Duration kReceiveTimeout = 100ms;

// kInvalid: not an IPv4 address. kIo: the address is taken or not ours.
Result<Sockets> open_sockets(const Endpoint& listen, unsigned udp_count);

}  // namespace leeward::dns::internal
