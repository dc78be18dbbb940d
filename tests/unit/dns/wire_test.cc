#include "dns/wire.h"

#include <gtest/gtest.h>

#include "dns_testing.h"

namespace leeward::dns {
namespace {

using testing::octets;

TEST(Name, GoesToWireFormAndBack) {
  for (const char* text :
       {"shop.test", "a.b.c.d", "*.wild.shop.test", "_sip._tcp.shop.test", "."}) {
    auto wire = name_from_text(text);
    ASSERT_TRUE(wire) << text;
    EXPECT_EQ(name_to_text(*wire), text);
  }
  EXPECT_EQ(name_from_text("shop.test.").value(), std::string("\4shop\4test\0", 11));
  EXPECT_EQ(name_to_text(name_from_text("a\\.b\\032c.test").value()), "a\\.b\\032c.test");
}

TEST(Name, RefusesWhatNoServerCouldHold) {
  const std::string label(63, 'x');
  EXPECT_TRUE(name_from_text(label + ".test"));
  EXPECT_FALSE(name_from_text(label + "x.test"));
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'x');
  EXPECT_EQ(name_from_text(longest).value().size(), kNameMax);
  EXPECT_FALSE(name_from_text(longest + "x"));
  for (const char* text : {"", ".shop", "shop..test", "shop\\", "shop\\12", "shop\\999"})
    EXPECT_FALSE(name_from_text(text)) << text;
}

TEST(Query, IsReadWithItsLabelsLowerCased) {
  Query query;
  ASSERT_EQ(
      parse_query(octets(testing::to_query({.name = "WwW.Shop.test", .type = kTypeMx})), query),
      Parsed::kOk);
  EXPECT_EQ(query.name.labels, 3);
  EXPECT_EQ(query.name.suffix(0), name_from_text("www.shop.test").value());
  EXPECT_EQ(query.name.suffix(2), std::string_view("\4test\0", 6));
  EXPECT_EQ(query.name.suffix(3), std::string_view("\0", 1));
  EXPECT_EQ(query.type, kTypeMx);
  EXPECT_FALSE(query.edns);
}

TEST(Query, AcceptsTheLongestName) {
  std::string name;
  for (int i = 0; i < 127; ++i) name += "a.";
  Query query;
  ASSERT_EQ(parse_query(octets(testing::to_query({.name = name})), query), Parsed::kOk);
  EXPECT_EQ(query.name.labels, kLabelsMax);
  EXPECT_EQ(query.name.length, kNameMax);
}

TEST(Query, RefusesANameOfOneOctetTooMany) {
  std::string message = testing::to_query({.name = "x"}).substr(0, kHeaderSize);
  for (int i = 0; i < 128; ++i) message += "\1a";
  message += std::string("\0\0\1\0\1", 5);
  Query query;
  EXPECT_EQ(parse_query(octets(message), query), Parsed::kFormErr);
}

TEST(Query, TakesTheOptFromTheAdditionalSectionOnly) {
  std::string message = testing::to_query({.name = "shop.test", .edns_size = 1400});
  Query query;
  ASSERT_EQ(parse_query(octets(message), query), Parsed::kOk);
  EXPECT_TRUE(query.edns);
  EXPECT_EQ(query.edns_udp_size, 1400);
  std::swap(message[7], message[11]);  // now it counts as an answer
  EXPECT_EQ(parse_query(octets(message), query), Parsed::kFormErr);
}

}  // namespace
}  // namespace leeward::dns
