// Any bytes as a name server's answer: what is taken from it is a bounded number of host names or
// addresses.
#include <arpa/inet.h>

#include <cstdint>
#include <span>

#include "base/check.h"
#include "net/dns_client.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward::net;
  for (const DnsType type : {DnsType::kPtr, DnsType::kA, DnsType::kAaaa}) {
    const auto found = parse_dns_answer(std::span(data, size), "a.test", type);
    if (!found) continue;
    LEEWARD_CHECK(found->values.size() <= kDnsValuesMax);
    for (const std::string& value : found->values) {
      unsigned char address[16];
      if (type == DnsType::kPtr)
        LEEWARD_CHECK(value.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-._") ==
                      std::string::npos);
      else
        LEEWARD_CHECK(inet_pton(type == DnsType::kA ? AF_INET : AF_INET6, value.c_str(), address) ==
                      1);
    }
  }
  return 0;
}
