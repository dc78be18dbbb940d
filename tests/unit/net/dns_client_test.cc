#include "net/dns_client.h"

#include <gtest/gtest.h>

#include <array>

namespace leeward::net {
namespace {

std::string wire_name(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    out += static_cast<char>(label.size());
    out += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  return out + '\0';
}

std::string number(std::uint32_t value, int bytes) {
  std::string out;
  for (int i = bytes; i-- > 0;) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

struct Record {
  std::string owner;
  int type;
  std::uint32_t ttl;
  std::string data;
};

std::string message(const std::string& name, DnsType type, const std::vector<Record>& records,
                    int code = 0) {
  std::string out = number(7, 2) + number(0x8180u | static_cast<std::uint32_t>(code), 2) +
                    number(1, 2) + number(static_cast<std::uint32_t>(records.size()), 2) +
                    number(0, 4) + wire_name(name) + number(static_cast<std::uint16_t>(type), 2) +
                    number(1, 2);
  for (const Record& r : records)
    out += wire_name(r.owner) + number(static_cast<std::uint32_t>(r.type), 2) + number(1, 2) +
           number(r.ttl, 4) + number(static_cast<std::uint32_t>(r.data.size()), 2) + r.data;
  return out;
}

Result<DnsRecords> parsed(const std::string& bytes, const std::string& name, DnsType type) {
  return parse_dns_answer(
      std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), name, type);
}

using Texts = std::vector<std::string>;
const std::string kFour("\xc0\x00\x02\x01", 4);
constexpr int kCname = 5;

TEST(DnsAnswer, HasTheValuesOfTheNameAndTheLeastTtl) {
  const auto found = parsed(message("A.test", DnsType::kA,
                                    {{"a.test", 1, 300, kFour},
                                     {"a.TEST", 1, 60, std::string("\x0a\x00\x00\x01", 4)},
                                     {"b.test", 1, 1, kFour}}),
                            "a.test", DnsType::kA);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->values, (Texts{"192.0.2.1", "10.0.0.1"}));
  EXPECT_EQ(found->ttl.count(), 60);
}

TEST(DnsAnswer, FollowsAliasesInAnyOrder) {
  // RFC 2317: a reverse zone that was cut into parts.
  const std::string name = "1.2.0.192.in-addr.arpa", part = "1.0-25.2.0.192.in-addr.arpa";
  const auto found = parsed(message(name, DnsType::kPtr,
                                    {{part, 12, 100, wire_name("Crawl.GoogleBot.com")},
                                     {name, kCname, 50, wire_name(part)}}),
                            name, DnsType::kPtr);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->values, Texts{"crawl.googlebot.com"});
  EXPECT_EQ(found->ttl.count(), 50);
}

TEST(DnsAnswer, OfAliasesThatGoInACircleIsNone) {
  const auto found = parsed(message("a.test", DnsType::kA,
                                    {{"a.test", kCname, 1, wire_name("b.test")},
                                     {"b.test", kCname, 1, wire_name("a.test")}}),
                            "a.test", DnsType::kA);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->values.empty());
}

TEST(DnsAnswer, ThatThereIsNoneIsKnownAndARefusalIsNot) {
  EXPECT_TRUE(parsed(message("a.test", DnsType::kA, {}), "a.test", DnsType::kA)->values.empty());
  EXPECT_TRUE(parsed(message("a.test", DnsType::kA, {}, 3), "a.test", DnsType::kA)->values.empty());
  for (const int code : {1, 2, 5})
    EXPECT_EQ(parsed(message("a.test", DnsType::kA, {}, code), "a.test", DnsType::kA).error().code,
              Code::kUnavailable);
}

TEST(DnsAnswer, ThatIsNoneIsAnError) {
  const std::string good = message("a.test", DnsType::kA, {{"a.test", 1, 300, kFour}});
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(parsed(good.substr(0, size), "a.test", DnsType::kA)) << size;
  std::string question = good;
  question[2] = 1;  // no response
  EXPECT_EQ(parsed(question, "a.test", DnsType::kA).error().code, Code::kInvalid);
  // Values that are none are left out.
  EXPECT_TRUE(
      parsed(message("a.test", DnsType::kA, {{"a.test", 1, 300, "abc"}}), "a.test", DnsType::kA)
          ->values.empty());
  EXPECT_TRUE(parsed(message("a.test", DnsType::kPtr,
                             {{"a.test", 12, 300,
                               std::string("\x03"
                                           "a b\x00",
                                           5)}}),
                     "a.test", DnsType::kPtr)
                  ->values.empty());
}

TEST(ReverseName, IsOfBothFamilies) {
  std::array<std::uint8_t, 16> four{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 66, 249, 66, 1};
  EXPECT_EQ(reverse_name(four), "1.66.249.66.in-addr.arpa");
  std::array<std::uint8_t, 16> six{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa1};
  EXPECT_EQ(reverse_name(six),
            "1.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

}  // namespace
}  // namespace leeward::net
