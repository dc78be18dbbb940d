// All TCP connections of the server on one epoll thread: queries with a two-octet length, any
// number of them in flight (RFC 7766), within TcpLimits.
#pragma once

#include "base/error.h"
#include "base/file.h"
#include "base/metrics.h"
#include "dns/internal/shared_zone.h"
#include "dns/server.h"

namespace leeward::dns::internal {

// Runs on the calling thread until `stop_event` (an eventfd) is written to. `listener` must be
// non-blocking; both descriptors stay the caller's. Connections still open then are closed.
// kIo: epoll could not be set up; nothing was served.
Status run_tcp_loop(int listener, int stop_event, const TcpLimits& limits, SharedZone& shared,
                    Registry& registry);

}  // namespace leeward::dns::internal
