// One UDP socket's loop: receive a batch, answer it, send the replies.
#pragma once

#include <atomic>

#include "base/metrics.h"
#include "dns/internal/shared_zone.h"

namespace leeward::dns::internal {

// Runs on the calling thread until `stop` is set, which it notices within kReceiveTimeout.
// `fd` as in Sockets::udp. A reply that the kernel does not take is dropped and counted: over UDP
// the client asks again.
void run_udp_loop(int fd, bool any_address, SharedZone& shared, Registry& registry,
                  const std::atomic<bool>& stop);

}  // namespace leeward::dns::internal
