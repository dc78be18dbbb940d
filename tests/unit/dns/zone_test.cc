#include "dns/zone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns_testing.h"

namespace leeward::dns {
namespace {

using testing::failover;
using ::testing::HasSubstr;
using testing::record;

// The error for the shop's zone with these records added.
std::string refusal(std::vector<DnsRecord> records) {
  DnsZone zone = testing::shop_zone();
  for (DnsRecord& r : records) zone.records.push_back(std::move(r));
  auto compiled = compile(zone, 1);
  if (compiled) return "compiled";
  EXPECT_EQ(compiled.error().code, Code::kInvalid);
  return compiled.error().message;
}

TEST(Compile, NamesTheRecordThatItCannotUse) {
  EXPECT_THAT(refusal({record("new", RecordType::kA, {"300.0.0.1"})}),
              HasSubstr("zone shop.test: record new A: '300.0.0.1' is not an IPv4 address"));
  EXPECT_THAT(refusal({record("new", RecordType::kAaaa, {"192.0.2.1"})}), HasSubstr("IPv6"));
  EXPECT_THAT(refusal({record("new", RecordType::kMx, {"ten mail"})}), HasSubstr("'ten'"));
  EXPECT_THAT(refusal({record("new", RecordType::kMx, {"10 mail extra"})}), HasSubstr("extra"));
  EXPECT_THAT(refusal({record("new", RecordType::kMx, {"10"})}), HasSubstr("empty name"));
  EXPECT_THAT(refusal({record("new", RecordType::kSrv, {"1 2 70000 www"})}), HasSubstr("70000"));
  EXPECT_THAT(refusal({record("new", RecordType::kCaa, {"256 issue x"})}), HasSubstr("256"));
  EXPECT_THAT(refusal({record("new", RecordType::kCaa, {"0 issue"})}), HasSubstr("value"));
  EXPECT_THAT(refusal({record("new", RecordType::kTxt, {"\"open"})}), HasSubstr("closing quote"));
  EXPECT_THAT(refusal({record("new", RecordType::kTxt, {"\"a\" b"})}), HasSubstr("outside"));
  EXPECT_THAT(refusal({record("new", RecordType::kA, {})}), HasSubstr("at least one"));
  EXPECT_THAT(refusal({record("new", RecordType::kA, {"192.0.2.1", "192.0.2.1"})}),
              HasSubstr("twice"));
  EXPECT_THAT(refusal({record("a..b", RecordType::kA, {"192.0.2.1"})}), HasSubstr("empty label"));
  EXPECT_THAT(refusal({record("www.other.test.", RecordType::kA, {"192.0.2.1"})}),
              HasSubstr("not in the zone"));
  EXPECT_THAT(refusal({record("WWW", RecordType::kA, {"192.0.2.1"})}), HasSubstr("given twice"));
}

TEST(Compile, RefusesZonesThatResolversWouldChokeOn) {
  EXPECT_THAT(refusal({record("@", RecordType::kCname, {"www"})}), HasSubstr("apex"));
  EXPECT_THAT(refusal({record("www", RecordType::kCname, {"mail"})}), HasSubstr("beside"));
  EXPECT_THAT(refusal({record("two", RecordType::kCname, {"www", "mail"})}),
              HasSubstr("more than one"));
  EXPECT_THAT(
      refusal({record("l1", RecordType::kCname, {"l2"}), record("l2", RecordType::kCname, {"l1"})}),
      HasSubstr("loop"));
  EXPECT_THAT(refusal({record("*.loop", RecordType::kCname, {"a.loop.shop.test"})}),
              HasSubstr("loop"));
  EXPECT_THAT(refusal({record("*.cut", RecordType::kNs, {"ns.example.org"})}),
              HasSubstr("wildcard"));
  EXPECT_THAT(refusal({record("@", RecordType::kNs, {"ns.example.org"})}),
              HasSubstr("given twice"));
  std::vector<std::string> many;
  for (int i = 0; i < 300; ++i) many.push_back(std::to_string(i) + std::string(240, 'x'));
  EXPECT_THAT(refusal({record("huge", RecordType::kTxt, many)}), HasSubstr("fits into no message"));
  DnsZone zone = testing::shop_zone();
  zone.nameservers.clear();
  EXPECT_THAT(compile(zone, 1).error().message, HasSubstr("nameservers"));
  zone = testing::shop_zone();
  zone.name = ".";
  EXPECT_FALSE(compile(zone, 1));
  zone = testing::shop_zone();
  zone.ttl = Duration(-1s);
  EXPECT_THAT(compile(zone, 1).error().message, HasSubstr("ttl"));
}

TEST(Compile, AFailoverRecordNeedsAValue) {
  DnsRecord empty = failover("new", RecordType::kA, "192.0.2.1", "192.0.2.2");
  empty.site_values.clear();
  EXPECT_THAT(refusal({empty}), HasSubstr("each site"));
  EXPECT_THAT(refusal({failover("new", RecordType::kA, "192.0.2.1", "nonsense")}),
              HasSubstr("nonsense"));
}

TEST(Compile, AcceptsQuotedTextWithEscapes) {
  EXPECT_EQ(refusal({record("t1", RecordType::kTxt, {"\"a \\\"b\\\" \\065\" \"\""}),
                     record("t2", RecordType::kTxt, {"v=DKIM1; p=" + std::string(600, 'k')}),
                     record("t3", RecordType::kTxt, {""})}),
            "compiled");
}

TEST(Compile, FindsEveryNameOfALargeZone) {
  DnsZone zone = testing::shop_zone();
  for (int i = 0; i < 3000; ++i)
    zone.records.push_back(
        record("h" + std::to_string(i), RecordType::kA,
               {"10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256)}));
  auto compiled = compile(zone, 1).value();
  for (int i = 0; i < 3000; ++i) {
    Query query;
    auto message = testing::to_query({"h" + std::to_string(i) + ".shop.test"});
    ASSERT_EQ(parse_query(testing::octets(message), query), Parsed::kOk);
    const Answer* found = compiled->find(query.name, kTypeA, SiteId{0});
    ASSERT_NE(found, nullptr);
    ASSERT_EQ(found->rcode, Rcode::kNoError);
    ASSERT_EQ(compiled->bytes(*found)[15], i % 256);
  }
}

TEST(Compile, AFailoverRecordCanNameEverySiteTheActiveOneFirst) {
  DnsZone zone = testing::shop_zone();
  zone.records.push_back(failover("both", RecordType::kA, "198.51.100.1", "203.0.113.1"));
  zone.records.back().answer = FailoverAnswer::kAll;
  auto compiled = compile(zone, 1).value();
  Query query;
  auto message = testing::to_query({"both.shop.test"});
  ASSERT_EQ(parse_query(testing::octets(message), query), Parsed::kOk);
  for (SiteId active : {testing::kGcp, testing::kAws}) {
    const Answer* found = compiled->find(query.name, kTypeA, active);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->answers, 2);
    const auto bytes = compiled->bytes(*found);
    const std::uint8_t first = bytes[12], second = bytes[16 + 12];  // of each address's octets
    EXPECT_EQ(first, active == testing::kGcp ? 198 : 203);
    EXPECT_EQ(second, active == testing::kGcp ? 203 : 198);
  }
}

TEST(Serial, GrowsInSerialArithmetic) {
  EXPECT_EQ(next_serial(5, 5), 6u);
  EXPECT_EQ(next_serial(5, 4), 6u);
  EXPECT_EQ(next_serial(5, 2026), 2026u);
  EXPECT_EQ(next_serial(0xffffffff, 0xffffffff), 0u);
  EXPECT_EQ(next_serial(0xffffffff, 3), 3u);
}

TEST(ActiveState, KeepsSiteAndSerialTogether) {
  ActiveState state({SiteId{7}, 0xffffffff});
  EXPECT_EQ(state.load().site, SiteId{7});
  EXPECT_EQ(state.load().serial, 0xffffffff);
}

}  // namespace
}  // namespace leeward::dns
