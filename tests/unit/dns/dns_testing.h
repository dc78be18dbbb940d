// What the tests of this room share: the zone that they ask, queries, and a decoder of replies that
// knows nothing of the code under test.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dns/responder.h"
#include "dns/zone.h"

namespace leeward::dns::testing {

inline constexpr SiteId kGcp{0};
inline constexpr SiteId kAws{1};

inline DnsRecord record(std::string name, RecordType type, std::vector<std::string> values) {
  DnsRecord r;
  r.name = std::move(name);
  r.type = type;
  r.values = std::move(values);
  return r;
}

inline DnsRecord failover(std::string name, RecordType type, std::string gcp, std::string aws) {
  DnsRecord r;
  r.name = std::move(name);
  r.type = type;
  r.ttl = 10s;
  r.failover = true;
  r.site_values = {{kGcp, std::move(gcp)}, {kAws, std::move(aws)}};
  return r;
}

// shop.test with one of everything; "big" is larger than a UDP reply, "wide" only with additionals.
inline DnsZone shop_zone() {
  DnsZone zone;
  zone.name = "shop.test";
  zone.ttl = 60s;
  zone.negative_ttl = 5s;
  zone.nameservers = {"ns1.shop.test", "ns2.shop.test"};
  zone.contact = "host.master@shop.test";
  zone.records = {
      record("ns1", RecordType::kA, {"192.0.2.1"}),
      record("ns2", RecordType::kA, {"192.0.2.2"}),
      failover("@", RecordType::kA, "198.51.100.1", "203.0.113.1"),
      failover("www", RecordType::kA, "198.51.100.1", "203.0.113.1"),
      failover("alias", RecordType::kCname, "gcp.hosts.shop.test", "aws.hosts.shop.test"),
      record("gcp.hosts", RecordType::kA, {"198.51.100.9"}),
      record("aws.hosts", RecordType::kAaaa, {"2001:db8::9"}),
      record("shop", RecordType::kCname, {"www"}),
      record("away", RecordType::kCname, {"www.example.org."}),
      record("dangling", RecordType::kCname, {"nothing.shop.test."}),
      record("nodata", RecordType::kCname, {"mail"}),
      record("a.b.deep", RecordType::kTxt, {"found"}),
      record("*.wild", RecordType::kA, {"192.0.2.77"}),
      record("*.wild", RecordType::kMx, {"10 mail"}),
      record("real.wild", RecordType::kTxt, {"\"no\" \"wildcard\""}),
      record("*.cwild", RecordType::kCname, {"www"}),
      record("mail", RecordType::kA, {"192.0.2.25"}),
      record("mail", RecordType::kAaaa, {"2001:db8::25"}),
      record("@", RecordType::kMx, {"10 mail", "20 mx.example.org."}),
      record("@", RecordType::kCaa, {"0 issue \"ca.example\""}),
      record("_sip._tcp", RecordType::kSrv, {"10 20 5060 www"}),
      record("sub", RecordType::kNs, {"ns.sub.shop.test.", "ns.example.org."}),
      record("ns.sub", RecordType::kA, {"192.0.2.53"}),
  };
  std::vector<std::string> texts;
  for (int i = 0; i < 20; ++i) texts.push_back(std::string(100, static_cast<char>('a' + i)));
  zone.records.push_back(record("big", RecordType::kTxt, texts));
  std::vector<std::string> targets;
  for (int i = 0; i < 16; ++i) {
    std::string host = "mx" + std::to_string(i) + ".wide-hosts";
    zone.records.push_back(record(host, RecordType::kA, {"192.0.2.100"}));
    zone.records.push_back(record(host, RecordType::kAaaa, {"2001:db8::100"}));
    targets.push_back(std::to_string(i) + " " + host + ".shop.test");
  }
  zone.records.push_back(record("wide", RecordType::kMx, targets));
  return zone;
}

struct Ask {
  std::string name;
  std::uint16_t type = kTypeA;
  std::uint16_t klass = 1;
  int edns_size = -1;  // -1: no OPT
  std::uint8_t edns_version = 0;
  bool dnssec_ok = false;
  std::string options = {};  // raw EDNS options
  std::uint8_t opcode = 0;
};

inline std::string to_query(const Ask& ask, std::uint16_t id = 0x1234) {
  std::string q;
  append16(q, id);
  append16(q, static_cast<std::uint16_t>(ask.opcode << 11 | 0x0100));  // RD
  for (int count : {1, 0, 0, ask.edns_size < 0 ? 0 : 1})
    append16(q, static_cast<std::uint16_t>(count));
  q += name_from_text(ask.name).value();
  append16(q, ask.type);
  append16(q, ask.klass);
  if (ask.edns_size < 0) return q;
  q += '\0';
  append16(q, kTypeOpt);
  append16(q, static_cast<std::uint16_t>(ask.edns_size));
  q += '\0';
  q += static_cast<char>(ask.edns_version);
  append16(q, ask.dnssec_ok ? 0x8000 : 0);
  append16(q, static_cast<std::uint16_t>(ask.options.size()));
  q += ask.options;
  return q;
}

inline std::span<const std::uint8_t> octets(const std::string& s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

// A decoded reply; a record is written "owner ttl TYPE-number data" with data as text.
struct Decoded {
  bool good = false;  // it decoded to its last octet
  std::uint16_t id = 0;
  int rcode = -1;  // with the upper bits from the OPT
  bool qr = false, aa = false, tc = false, rd = false, ra = false;
  int opcode = 0;
  std::string question;  // with the reply's own case
  std::vector<std::string> answer, authority, additional;
  bool opt = false, dnssec_ok = false;
  int opt_size = 0;
};

class Decoder {
 public:
  explicit Decoder(std::span<const std::uint8_t> m) : m_(m) {}

  Decoded run() {
    Decoded d;
    if (m_.size() < 12) return d;
    d.id = u16();
    std::uint16_t flags = u16();
    d.qr = flags & 0x8000, d.opcode = flags >> 11 & 15, d.aa = flags & 0x0400;
    d.tc = flags & 0x0200, d.rd = flags & 0x0100, d.ra = flags & 0x0080, d.rcode = flags & 15;
    int counts[4];
    for (int& count : counts) count = u16();
    if (counts[0] == 1) {
      d.question = name();
      at_ += 4;
    }
    for (int i = 0; i < counts[1]; ++i) take_record(d, d.answer);
    for (int i = 0; i < counts[2]; ++i) take_record(d, d.authority);
    for (int i = 0; i < counts[3]; ++i) take_record(d, d.additional);
    d.good = ok_ && at_ == m_.size() && counts[0] <= 1;
    return d;
  }

 private:
  std::uint8_t u8() {
    if (at_ >= m_.size()) {
      ok_ = false;
      return 0;
    }
    return m_[at_++];
  }
  std::uint16_t u16() {
    int high = u8();
    return static_cast<std::uint16_t>(high << 8 | u8());
  }
  std::uint32_t u32() {
    std::uint32_t high = u16();
    return high << 16 | u16();
  }
  std::string name() {
    std::string text;
    std::size_t resume = 0;
    for (int labels = 0; ok_ && labels < 200; ++labels) {
      std::size_t length = u8();
      if ((length & 0xc0) == 0xc0) {
        std::size_t target = (length & 0x3f) << 8 | u8();
        if (resume == 0) resume = at_;
        if (target >= at_ - 2) ok_ = false;  // pointers go backwards
        at_ = target;
        continue;
      }
      if (length == 0) break;
      for (std::size_t i = 0; i < length; ++i) text += static_cast<char>(u8());
      text += '.';
    }
    if (resume != 0) at_ = resume;
    return text.empty() ? "." : text;
  }
  std::string data(std::uint16_t type, std::size_t end) {
    char text[64];
    if (type == kTypeA && end - at_ == 4) {
      inet_ntop(AF_INET, &m_[at_], text, sizeof text);
      at_ = end;
      return text;
    }
    if (type == kTypeAaaa && end - at_ == 16) {
      inet_ntop(AF_INET6, &m_[at_], text, sizeof text);
      at_ = end;
      return text;
    }
    std::string out;
    auto number = [&](std::uint64_t n) { out += (out.empty() ? "" : " ") + std::to_string(n); };
    if (type == kTypeMx || type == kTypeSrv)
      for (int i = 0; i < (type == kTypeMx ? 1 : 3); ++i) number(u16());
    if (type == kTypeMx || type == kTypeSrv || type == kTypeNs || type == kTypeCname)
      return out += (out.empty() ? "" : " ") + name();
    if (type == kTypeSoa) {
      out = name();
      out += " " + name();
      for (int i = 0; i < 5; ++i) number(u32());
      return out;
    }
    while (ok_ && at_ < end) out += static_cast<char>(u8());
    return out;
  }
  void take_record(Decoded& d, std::vector<std::string>& section) {
    std::string owner = name();
    std::uint16_t type = u16();
    std::uint16_t klass = u16();
    std::uint32_t ttl = u32();
    std::size_t end = u16();
    end += at_;
    if (!ok_ || end > m_.size()) {
      ok_ = false;
      return;
    }
    if (type == kTypeOpt) {
      d.opt = true, d.opt_size = klass, d.dnssec_ok = ttl & 0x8000;
      d.rcode |= static_cast<int>(ttl >> 24) << 4;
      at_ = end;
      return;
    }
    std::string text = owner + " " + std::to_string(ttl) + " " + std::to_string(type) + " ";
    section.push_back(text + data(type, end));
    ok_ = ok_ && at_ == end;
  }

  std::span<const std::uint8_t> m_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace leeward::dns::testing
