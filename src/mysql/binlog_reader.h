// Reads a server's binary logs over the replication protocol, from a GTID to the end.
#pragma once

#include <functional>

#include "mysql/gtid.h"
#include "mysql/sql.h"

namespace leeward::mysql {

inline constexpr std::size_t kReadEventBytesMax = 256u << 20;  // larger events are kRefused

// Calls `take` with each event after `from`, common header and checksum included; stops at the
// first error that it returns, or at the present end of the log. Needs an account with REPLICATION
// SLAVE. kNotFound: the log no longer has `from`, or never had. kTimeout: `stall` without an event.
Status read_binlog(const SqlTarget& target, const GtidPosition& from, Duration stall,
                   const std::function<Status(std::string_view event)>& take);

}  // namespace leeward::mysql
