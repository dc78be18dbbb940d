// From a query's bytes to the reply's bytes: pure, without allocation, lock or system call.
// Authoritative for one zone over UDP and TCP: RFC 1034/1035, 2308 (negative answers), 4343 and the
// 0x20 habit (the question is echoed as it came), 4592 (wildcards), 6891 (EDNS), 7766 (TCP), 8482
// (ANY).
#pragma once

#include <cstdint>
#include <span>

#include "dns/wire.h"
#include "dns/zone.h"

namespace leeward::dns {

struct Reply {
  std::size_t size = 0;    // octets written; 0: send nothing
  std::uint16_t type = 0;  // of the question; 0: it could not be read
  Rcode rcode = Rcode::kNoError;
};

// Answers `query`, which arrived over TCP or UDP, into `out`. Safe on any thread.
// No reply: shorter than a header, or a response. FORMERR: unreadable beyond that. NOTIMP: other
// opcodes and query-only types other than transfers. BADVERS: EDNS version above 0. REFUSED: a name
// outside the zone, a class other than IN, AXFR and IXFR. Over UDP a reply has at most the client's
// size, between 512 and 1232 octets; the additional section is left out before TC is set.
// REQUIRES: out.size() ≥ kUdpPlainMax. Give kUdpAnswerMax for UDP and kMessageMax for TCP: a
// smaller `out` truncates earlier.
Reply answer(const Zone& zone, const ActiveState& active, std::span<const std::uint8_t> query,
             bool tcp, std::span<std::uint8_t> out);

}  // namespace leeward::dns
