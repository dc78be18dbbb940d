// Questions to name servers by the C library's stub resolver (res_nsend): over UDP, over TCP where
// an answer does not fit, each question from a port of its own. It blocks, so it is for threads
// that may wait.
//
// Threading: any thread, several at a time; each question has a resolver state of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/platform.h"

namespace leeward::net {

// TYPE numbers (IANA "Domain Name System (DNS) Parameters").
enum class DnsType : std::uint16_t { kA = 1, kPtr = 12, kAaaa = 28 };

// What there is of a name and a type. No values: it is known that there are none.
struct DnsRecords {
  // Addresses as inet_ntop(3) writes them; names in lower case without the final dot.
  std::vector<std::string> values;
  std::chrono::seconds ttl{0};  // the least of the records that led here
};

// Reads a response message: its answers to `name` (without regard to case), CNAMEs followed. Of
// more than kDnsValuesMax values the first are kept; values that are no host names are left out.
// kUnavailable: the server did not say (any code but NOERROR and NXDOMAIN); kInvalid: no message of
// DNS.
inline constexpr std::size_t kDnsValuesMax = 16;
Result<DnsRecords> parse_dns_answer(std::span<const std::uint8_t> message, const std::string& name,
                                    DnsType type);

// "4.3.2.1.in-addr.arpa" (RFC 1035 §3.5), nibbles below ip6.arpa (RFC 3596 §2.5). `address`:
// 16 bytes, IPv4 mapped into IPv6.
std::string reverse_name(std::span<const std::uint8_t, 16> address);

class DnsClient {
 public:
  // `server`: the address (IPv4) of the one that is asked; without a port those of
  // /etc/resolv.conf. `timeout`: for one try; there are two.
  DnsClient(Endpoint server, std::chrono::seconds timeout)
      : server_(std::move(server)), timeout_(timeout) {}

  // kUnavailable: nobody answered in time, or answered that it cannot say; kInvalid: the server's
  // address is none, or what came is no answer.
  Result<DnsRecords> ask(const std::string& name, DnsType type) const;

 private:
  Endpoint server_;
  std::chrono::seconds timeout_;
};

}  // namespace leeward::net
