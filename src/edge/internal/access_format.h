// Lines of the access log.
#pragma once

#include <string>
#include <string_view>

#include "edge/edge.h"
#include "edge/exchange.h"

namespace leeward::edge {

struct AccessEntry {
  ClientAddress client;
  WallTime wall;  // when the response was complete
  RequestView request;
  std::string_view protocol = "1.1";
  int status = 0;
  std::uint64_t bytes = 0;  // of the response's body
  Duration took{};
  Duration origin_took{};  // to the head of the response
  std::string_view route, origin;
  int attempts = 0;
  bool hedged = false;
  std::string_view cache;     // "hit", "miss" or "-"
  std::string_view rule;      // of the firewall, when it refused, or would have in mode detect
  std::string_view waf;       // name() of a WafOutcome; empty: not inspected
  std::string_view ja4 = {};  // of the client's TLS (ja4.h); empty: without TLS
};

// Replaces `line`, which ends with a newline. Control characters and quotes of the client's are
// escaped, so that nobody can write a line of his own. Query strings are in it; bodies and cookies
// never.
void format_access(AccessLogFormat format, const AccessEntry& entry, std::string& line);

}  // namespace leeward::edge
