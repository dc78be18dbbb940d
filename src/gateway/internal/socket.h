// Non-blocking TCP sockets for the gateway.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "base/file.h"
#include "model/platform.h"

namespace leeward::gateway {

Result<UniqueFd> listen_on(const Endpoint& endpoint);
// A connection under way; finished_connect() tells its outcome once it is writable.
Result<UniqueFd> start_connect(const Endpoint& endpoint);
Status finished_connect(int fd);
// An accepted connection, ready for use; invalid when none waits. `error` gets errno then.
UniqueFd accept_from(int listener, int& error);

Endpoint local_endpoint(int fd);
// Linux would take minutes to notice a dead peer: small packets at once, keepalive in seconds.
void tune(int fd);

}  // namespace leeward::gateway
