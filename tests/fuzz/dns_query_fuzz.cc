// Any bytes as a query to a zone with a wildcard, a CNAME, a delegation and an answer that is too
// large for UDP: whatever comes back must fit, be a response, and carry the query's id.
#include <vector>

#include "base/check.h"
#include "dns/responder.h"

namespace {

using namespace leeward;
using namespace leeward::dns;

DnsRecord record(const char* name, RecordType type, std::vector<std::string> values) {
  DnsRecord r;
  r.name = name;
  r.type = type;
  r.values = std::move(values);
  return r;
}

std::shared_ptr<const Zone> zone() {
  DnsZone z;
  z.name = "shop.test";
  z.nameservers = {"ns1.shop.test"};
  z.records = {record("ns1", RecordType::kA, {"192.0.2.1"}),
               record("*.wild", RecordType::kA, {"192.0.2.2"}),
               record("shop", RecordType::kCname, {"ns1"}),
               record("sub", RecordType::kNs, {"ns.sub.shop.test"}),
               record("ns.sub", RecordType::kA, {"192.0.2.3"}),
               record("big", RecordType::kTxt, {std::string(1500, 'x')})};
  return compile(z, 1).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<const Zone> kZone = zone();
  static const ActiveState kActive({SiteId{0}, 1});
  for (bool tcp : {false, true}) {
    // Of the exact size, so that the sanitizer sees the first octet too many on either side.
    std::vector<std::uint8_t> query(data, data + size);
    std::vector<std::uint8_t> out(tcp ? kMessageMax : kUdpAnswerMax);
    Reply reply = answer(*kZone, kActive, query, tcp, out);
    if (reply.size == 0) continue;
    LEEWARD_CHECK(reply.size >= kHeaderSize && reply.size <= out.size());
    LEEWARD_CHECK(out[0] == query[0] && out[1] == query[1] && (out[2] & 0x80) != 0);
    LEEWARD_CHECK((query[2] & 0x80) == 0);
  }
  return 0;
}
