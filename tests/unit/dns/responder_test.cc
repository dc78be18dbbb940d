#include "dns/responder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns_testing.h"

namespace leeward::dns {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr char kSoaNegative[] =
    "shop.test. 5 6 ns1.shop.test. host.master.shop.test. 2026 900 300 604800 5";

class Responder : public ::testing::Test {
 protected:
  std::string raw(const std::string& query, bool tcp = false) {
    std::vector<std::uint8_t> out(tcp ? kMessageMax : kUdpAnswerMax);
    Reply reply = answer(*zone_, active_, octets(query), tcp, out);
    return std::string(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(reply.size));
  }
  Decoded decode(const std::string& query, bool tcp = false) {
    std::string reply = raw(query, tcp);
    Decoded d = Decoder(octets(reply)).run();
    EXPECT_TRUE(d.good) << ::testing::PrintToString(reply);
    EXPECT_TRUE(d.qr);
    EXPECT_FALSE(d.ra);
    EXPECT_EQ(d.id, 0x1234);
    return d;
  }
  Decoded ask(const Ask& a, bool tcp = false) { return decode(to_query(a), tcp); }

  std::shared_ptr<const Zone> zone_ = compile(shop_zone(), 7).value();
  ActiveState active_{{kGcp, 2026}};
};

TEST_F(Responder, AnswersAStaticAddressWithTheZonesTtl) {
  Decoded d = ask({"ns1.shop.test"});
  EXPECT_EQ(d.rcode, 0);
  EXPECT_TRUE(d.aa);
  EXPECT_TRUE(d.rd);
  EXPECT_THAT(d.answer, ElementsAre("ns1.shop.test. 60 1 192.0.2.1"));
  EXPECT_THAT(d.authority, IsEmpty());
  EXPECT_FALSE(d.opt);
}

TEST_F(Responder, FailoverAnswersFollowThePublishedSite) {
  EXPECT_THAT(ask({"www.shop.test"}).answer, ElementsAre("www.shop.test. 10 1 198.51.100.1"));
  active_.publish({kAws, 2027});
  EXPECT_THAT(ask({"www.shop.test"}).answer, ElementsAre("www.shop.test. 10 1 203.0.113.1"));
  EXPECT_THAT(ask({"shop.test"}).answer, ElementsAre("shop.test. 10 1 203.0.113.1"));
}

TEST_F(Responder, ASiteWithoutAValueStillGetsAnAnswer) {
  active_.publish({SiteId{2}, 2027});
  EXPECT_THAT(ask({"www.shop.test"}).answer, ElementsAre("www.shop.test. 10 1 198.51.100.1"));
}

TEST_F(Responder, WritesThePublishedSerialIntoTheSoa) {
  EXPECT_THAT(
      ask({"shop.test", kTypeSoa}).answer,
      ElementsAre("shop.test. 60 6 ns1.shop.test. host.master.shop.test. 2026 900 300 604800 5"));
  active_.publish({kGcp, 4000000000});
  EXPECT_THAT(ask({"nope.shop.test"}).authority,
              ElementsAre("shop.test. 5 6 ns1.shop.test. host.master.shop.test. 4000000000 900 300 "
                          "604800 5"));
}

TEST_F(Responder, AMissingNameIsNxdomainWithTheNegativeTtl) {
  Decoded d = ask({"nope.shop.test"});
  EXPECT_EQ(d.rcode, 3);
  EXPECT_TRUE(d.aa);
  EXPECT_THAT(d.answer, IsEmpty());
  EXPECT_THAT(d.authority, ElementsAre(kSoaNegative));
  EXPECT_EQ(ask({"a.very.deep.name.that.is.nowhere.shop.test"}).rcode, 3);
}

TEST_F(Responder, AMissingTypeIsNodata) {
  Decoded d = ask({"www.shop.test", kTypeAaaa});
  EXPECT_EQ(d.rcode, 0);
  EXPECT_THAT(d.answer, IsEmpty());
  EXPECT_THAT(d.authority, ElementsAre(kSoaNegative));
  EXPECT_THAT(ask({"www.shop.test", 65280}).authority, ElementsAre(kSoaNegative));
  EXPECT_THAT(ask({"www.shop.test", 0}).authority, ElementsAre(kSoaNegative));
}

TEST_F(Responder, AnEmptyNonTerminalExists) {
  for (const char* name : {"b.deep.shop.test", "deep.shop.test", "_tcp.shop.test"}) {
    Decoded d = ask({name});
    EXPECT_EQ(d.rcode, 0) << name;
    EXPECT_THAT(d.authority, ElementsAre(kSoaNegative)) << name;
    EXPECT_THAT(ask({name, kTypeAny}).answer, IsEmpty()) << name;
  }
  EXPECT_EQ(ask({"c.deep.shop.test"}).rcode, 3);
}

TEST_F(Responder, FollowsCnamesInsideTheZone) {
  EXPECT_THAT(ask({"shop.shop.test"}).answer, ElementsAre("shop.shop.test. 60 5 www.shop.test.",
                                                          "www.shop.test. 10 1 198.51.100.1"));
  EXPECT_THAT(ask({"shop.shop.test", kTypeCname}).answer,
              ElementsAre("shop.shop.test. 60 5 www.shop.test."));
  Decoded away = ask({"away.shop.test"});
  EXPECT_EQ(away.rcode, 0);
  EXPECT_THAT(away.answer, ElementsAre("away.shop.test. 60 5 www.example.org."));
  EXPECT_THAT(away.authority, IsEmpty());
}

TEST_F(Responder, ACnameToNothingCarriesTheCodeOfItsEnd) {
  Decoded missing = ask({"dangling.shop.test"});
  EXPECT_EQ(missing.rcode, 3);
  EXPECT_THAT(missing.answer, ElementsAre("dangling.shop.test. 60 5 nothing.shop.test."));
  EXPECT_THAT(missing.authority, ElementsAre(kSoaNegative));
  Decoded nodata = ask({"nodata.shop.test", kTypeTxt});
  EXPECT_EQ(nodata.rcode, 0);
  EXPECT_THAT(nodata.answer, SizeIs(1));
  EXPECT_THAT(nodata.authority, ElementsAre(kSoaNegative));
}

TEST_F(Responder, ACnameCanFailOverToHostsOfOtherTypes) {
  EXPECT_THAT(ask({"alias.shop.test"}).answer,
              ElementsAre("alias.shop.test. 10 5 gcp.hosts.shop.test.",
                          "gcp.hosts.shop.test. 60 1 198.51.100.9"));
  EXPECT_THAT(ask({"alias.shop.test", kTypeAaaa}).authority, ElementsAre(kSoaNegative));
  active_.publish({kAws, 2026});
  EXPECT_THAT(ask({"alias.shop.test"}).authority, ElementsAre(kSoaNegative));
  EXPECT_THAT(ask({"alias.shop.test", kTypeAaaa}).answer,
              ElementsAre("alias.shop.test. 10 5 aws.hosts.shop.test.",
                          "aws.hosts.shop.test. 60 28 2001:db8::9"));
}

TEST_F(Responder, WildcardsAnswerForMissingNamesOnly) {
  EXPECT_THAT(ask({"x.wild.shop.test"}).answer, ElementsAre("x.wild.shop.test. 60 1 192.0.2.77"));
  EXPECT_THAT(ask({"x.y.wild.shop.test"}).answer, SizeIs(1));
  EXPECT_THAT(ask({"*.wild.shop.test"}).answer, ElementsAre("*.wild.shop.test. 60 1 192.0.2.77"));
  Decoded nodata = ask({"x.wild.shop.test", kTypeTxt});
  EXPECT_EQ(nodata.rcode, 0);
  EXPECT_THAT(nodata.authority, ElementsAre(kSoaNegative));
  EXPECT_THAT(ask({"real.wild.shop.test"}).answer, IsEmpty()) << "the name exists";
  EXPECT_EQ(ask({"x.real.wild.shop.test"}).rcode, 3) << "its closest encloser has no wildcard";
  EXPECT_THAT(ask({"wild.shop.test"}).answer, IsEmpty());
}

TEST_F(Responder, WildcardsCarryCnamesAndAdditionals) {
  EXPECT_THAT(
      ask({"any.cwild.shop.test"}).answer,
      ElementsAre("any.cwild.shop.test. 60 5 www.shop.test.", "www.shop.test. 10 1 198.51.100.1"));
  EXPECT_THAT(ask({"x.wild.shop.test", kTypeMx}).additional,
              ElementsAre("mail.shop.test. 60 1 192.0.2.25", "mail.shop.test. 60 28 2001:db8::25"));
}

TEST_F(Responder, AddsTheAddressesOfServersInTheZone) {
  Decoded ns = ask({"shop.test", kTypeNs});
  EXPECT_THAT(ns.answer,
              ElementsAre("shop.test. 60 2 ns1.shop.test.", "shop.test. 60 2 ns2.shop.test."));
  EXPECT_THAT(ns.additional,
              ElementsAre("ns1.shop.test. 60 1 192.0.2.1", "ns2.shop.test. 60 1 192.0.2.2"));
  Decoded srv = ask({"_sip._tcp.shop.test", kTypeSrv});
  EXPECT_THAT(srv.answer, ElementsAre("_sip._tcp.shop.test. 60 33 10 20 5060 www.shop.test."));
  EXPECT_THAT(srv.additional, ElementsAre("www.shop.test. 10 1 198.51.100.1"));
  active_.publish({kAws, 1});
  EXPECT_THAT(ask({"_sip._tcp.shop.test", kTypeSrv}).additional,
              ElementsAre("www.shop.test. 10 1 203.0.113.1"));
}

TEST_F(Responder, WritesTxtAndCaaAsTheirStrings) {
  EXPECT_THAT(ask({"real.wild.shop.test", kTypeTxt}).answer,
              ElementsAre("real.wild.shop.test. 60 16 \2no\10wildcard"));
  EXPECT_THAT(ask({"shop.test", kTypeCaa}).answer,
              ElementsAre(std::string("shop.test. 60 257 ") + '\0' + "\5issueca.example"));
}

TEST_F(Responder, RefersToADelegationWithGlue) {
  for (const char* name : {"sub.shop.test", "x.sub.shop.test", "ns.sub.shop.test"}) {
    Decoded d = ask({name});
    EXPECT_EQ(d.rcode, 0) << name;
    EXPECT_FALSE(d.aa) << name;
    EXPECT_THAT(d.answer, IsEmpty()) << name;
    EXPECT_THAT(d.authority, ElementsAre("sub.shop.test. 60 2 ns.sub.shop.test.",
                                         "sub.shop.test. 60 2 ns.example.org."));
    EXPECT_THAT(d.additional, ElementsAre("ns.sub.shop.test. 60 1 192.0.2.53"));
  }
  Decoded ds = ask({"sub.shop.test", kTypeDs});
  EXPECT_TRUE(ds.aa);
  EXPECT_THAT(ds.authority, ElementsAre(kSoaNegative));
  EXPECT_FALSE(ask({"x.sub.shop.test", kTypeDs}).aa);
}

TEST_F(Responder, AnyGetsOneSmallRecord) {
  EXPECT_THAT(ask({"shop.test", kTypeAny}).answer,
              ElementsAre(std::string("shop.test. 3600 13 \7RFC8482") + '\0'));
  EXPECT_THAT(ask({"shop.shop.test", kTypeAny}).answer,
              ElementsAre("shop.shop.test. 60 5 www.shop.test."));
  EXPECT_THAT(ask({"q.wild.shop.test", kTypeAny}).answer, SizeIs(1));
  EXPECT_EQ(ask({"nope.shop.test", kTypeAny}).rcode, 3);
}

TEST_F(Responder, KeepsTheCaseOfTheQuestion) {
  Decoded d = ask({"wWw.ShOp.TeSt"});
  EXPECT_EQ(d.question, "wWw.ShOp.TeSt.");
  EXPECT_THAT(d.answer, ElementsAre("wWw.ShOp.TeSt. 10 1 198.51.100.1"));
  EXPECT_EQ(ask({"NoPe.SHOP.test"}).question, "NoPe.SHOP.test.");
}

TEST_F(Responder, RefusesWhatIsNotItsBusiness) {
  for (const char* name : {"example.org", "test", ".", "xshop.test", "shop.test.example"}) {
    Decoded d = ask({name});
    EXPECT_EQ(d.rcode, 5) << name;
    EXPECT_FALSE(d.aa) << name;
  }
  EXPECT_EQ(ask({"version.bind", kTypeTxt, 3}).rcode, 5);
  EXPECT_EQ(ask({"shop.test", kTypeA, 255}).rcode, 5);
  EXPECT_EQ(ask({"shop.test", kTypeAxfr}).rcode, 5);
  EXPECT_EQ(ask({"shop.test", kTypeIxfr}, true).rcode, 5);
  EXPECT_EQ(ask({"shop.test", 253}).rcode, 4);
  EXPECT_EQ(ask({"shop.test", kTypeOpt}).rcode, 1);
}

TEST_F(Responder, EdnsIsAnsweredWithEdns) {
  Decoded d = ask({.name = "www.shop.test", .edns_size = 4096, .dnssec_ok = true});
  EXPECT_EQ(d.rcode, 0);
  EXPECT_TRUE(d.opt);
  EXPECT_TRUE(d.dnssec_ok);
  EXPECT_EQ(d.opt_size, 1232);
  EXPECT_THAT(d.answer, SizeIs(1));
  EXPECT_TRUE(ask({.name = "example.org", .edns_size = 512}).opt) << "errors carry it too";
}

TEST_F(Responder, AnUnknownEdnsVersionIsBadvers) {
  Decoded d = ask({.name = "www.shop.test", .edns_size = 1232, .edns_version = 1});
  EXPECT_EQ(d.rcode, 16);
  EXPECT_TRUE(d.opt);
  EXPECT_THAT(d.answer, IsEmpty());
}

TEST_F(Responder, SkipsUnknownEdnsOptionsAndRefusesBrokenOnes) {
  const std::string unknown(
      "\xfd\xe9\x00\x04"
      "abcd",
      8);
  EXPECT_THAT(ask({.name = "www.shop.test", .edns_size = 1232, .options = unknown}).answer,
              SizeIs(1));
  EXPECT_EQ(
      ask({.name = "www.shop.test", .edns_size = 1232, .options = unknown.substr(0, 6)}).rcode, 1);
}

TEST_F(Responder, TruncatesAtTheClientsSizeAndNotOverTcp) {
  for (int size : {-1, 512, 1232, 4096}) {
    Decoded d = ask({.name = "big.shop.test", .type = kTypeTxt, .edns_size = size});
    EXPECT_TRUE(d.tc) << size;
    EXPECT_THAT(d.answer, IsEmpty()) << size;
    EXPECT_EQ(d.opt, size >= 0);
  }
  Decoded whole = ask({"big.shop.test", kTypeTxt}, true);
  EXPECT_FALSE(whole.tc);
  EXPECT_THAT(whole.answer, SizeIs(20));
}

TEST_F(Responder, LeavesOutAdditionalsBeforeItTruncates) {
  Ask mx{.name = "wide.shop.test", .type = kTypeMx, .edns_size = 1232};
  EXPECT_THAT(ask(mx).additional, SizeIs(32));
  mx.edns_size = 512;
  Decoded small = ask(mx);
  EXPECT_FALSE(small.tc);
  EXPECT_THAT(small.answer, SizeIs(16));
  EXPECT_THAT(small.additional, IsEmpty());
}

TEST_F(Responder, DropsResponsesAndFragmentsOfHeaders) {
  std::string query = to_query({"www.shop.test"});
  query[2] = static_cast<char>(0x80);
  EXPECT_EQ(raw(query), "");
  for (std::size_t n = 0; n < kHeaderSize; ++n)
    EXPECT_EQ(raw(to_query({"www.shop.test"}).substr(0, n)), "");
}

TEST_F(Responder, GarbageWithAnIdIsFormerr) {
  const std::string good = to_query({.name = "www.shop.test", .edns_size = 1232});
  for (std::size_t n = kHeaderSize; n < good.size(); ++n) {
    Decoded d = decode(good.substr(0, n));
    EXPECT_EQ(d.rcode, 1) << n;
  }
  EXPECT_EQ(decode(good + "x").rcode, 1) << "octets after the last record";
  std::string two = good;
  two[5] = 2;
  EXPECT_EQ(decode(two).rcode, 1);
  std::string none = good.substr(0, kHeaderSize);
  none[5] = 0;
  EXPECT_EQ(decode(none).rcode, 1);
  std::string pointer = good;
  pointer[12] = static_cast<char>(0xc0);
  EXPECT_EQ(decode(pointer).rcode, 1) << "a compressed question";
  std::string second_opt = good + good.substr(good.size() - kOptSize);
  second_opt[11] = 2;
  EXPECT_EQ(decode(second_opt).rcode, 1);
}

TEST_F(Responder, OtherOpcodesAreNotImplemented) {
  for (std::uint8_t opcode : {1, 2, 4, 5, 15}) {
    Decoded d = ask({.name = "shop.test", .opcode = opcode});
    EXPECT_EQ(d.rcode, 4);
    EXPECT_EQ(d.opcode, opcode);
  }
}

}  // namespace
}  // namespace leeward::dns
