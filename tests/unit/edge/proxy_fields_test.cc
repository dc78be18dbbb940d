#include "edge/internal/proxy_fields.h"

#include <gtest/gtest.h>

namespace leeward::edge {
namespace {

const std::string kKey = "the key of this platform's edges", kOther = "that of somebody else's";

WallTime at(Duration since) { return WallTime{} + 480000h + since; }

std::string client_of(std::string_view hop, const std::string& key, WallTime now) {
  const auto client = hop_client(hop, key, now);
  return client ? to_string(*client) : "nobody";
}

std::string hop_of(std::string_view client, const std::string& key = kKey) {
  return edge_hop(*parse_client_address(client), key, at(0s));
}

TEST(EdgeHop, NamesTheClientToWhoHasTheKeyForSomeMinutes) {
  for (const char* client : {"192.0.2.7", "2001:db8::7"}) {
    const std::string hop = hop_of(client);
    for (const Duration later : {Duration(0s), Duration(-5min), Duration(5min)})
      EXPECT_EQ(client_of(hop, kKey, at(later)), client);
    for (const Duration later : {Duration(-301s), Duration(301s), Duration(48h)})
      EXPECT_EQ(client_of(hop, kKey, at(later)), "nobody");
  }
}

TEST(EdgeHop, WithoutTheKeyNobodyIsNamed) {
  EXPECT_EQ(client_of(hop_of("192.0.2.7", kOther), kKey, at(0s)), "nobody");
  EXPECT_EQ(client_of(hop_of("192.0.2.7"), kOther, at(0s)), "nobody");
  EXPECT_EQ(client_of(hop_of("192.0.2.7", ""), "", at(0s)), "nobody");  // no key is no key
  const std::string hop = hop_of("192.0.2.7");
  for (std::size_t i = 0; i < hop.size(); ++i) {
    std::string other = hop;
    other[i] = static_cast<char>(other[i] ^ 1);
    EXPECT_EQ(client_of(other, kKey, at(0s)), "nobody") << other;
    EXPECT_EQ(client_of(hop.substr(0, i), kKey, at(0s)), "nobody") << i;
  }
  for (const char* text :
       {"192.0.2.7", ";", ";;", ";;;", "192.0.2.7;;", "192.0.2.7;1;", "192.0.2.7;1728000000;",
        "192.0.2.7;999999999999999999999;x", "192.0.2.7;-9223372036854775808;x", "unknown;1;x"})
    EXPECT_EQ(client_of(text, kKey, at(0s)), "nobody") << text;
}

TEST(ForwardedClient, IsNotTakenFromTheFieldOfEdges) {
  const ClientAddress peer = *parse_client_address("127.0.0.1");
  const Field hop{kEdgeHopField, "192.0.2.7"}, proxied{"X-Forwarded-For", "203.0.113.7, 192.0.2.1"};
  const Field both[] = {hop, proxied}, alone[] = {hop};
  EXPECT_EQ(to_string(forwarded_client(both, peer)), "192.0.2.1");
  EXPECT_EQ(to_string(forwarded_client(alone, peer)), "127.0.0.1");
}

TEST(Via, TellsHowOftenAnEdgeHasHadARequest) {
  EXPECT_EQ(times_passed("", "gcp"), 0u);
  EXPECT_EQ(times_passed("1.1 gcp-edge", "gcp"), 1u);
  EXPECT_EQ(times_passed("1.1 gcp-edge, 2.0 aws-edge ,1.1  gcp-edge (again),", "gcp"), 2u);
  EXPECT_EQ(times_passed("gcp-edge, 1.1 xgcp-edge, 1.1 gcp-edges, 1.1 gcp, 1.1, ,", "gcp"), 0u);
}

TEST(RequestTrailers, AreNoneThatAHeadWouldLoseOrThatSayAnewWhatIsAskedFor) {
  std::string kept;
  append_request_trailers(kept,
                          "X-Sum: 1\r\nX-Forwarded-For: 127.0.0.1\r\nx_forwarded_host: a\r\n"
                          "X-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nVia: 1.1 a\r\n"
                          "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nProxy: a\r\n"
                          "X-HTTP-Method-Override: DELETE\r\nLeeward-Edge-Hop: 127.0.0.1\r\n"
                          "leeward_edge_hop: 127.0.0.1\r\nIf-Match: a\r\nx-empty: \r\n");
  EXPECT_EQ(kept, "X-Sum: 1\r\nx-empty: \r\n");
}

// An origin that does not hear of it reads another body than the rules have.
TEST(ConnectionOptions, CannotTakeAwayWhatTheBodyIs) {
  const Field fields[] = {{"Connection", "Content-Encoding, content-type, X-Hop"},
                          {"Content-Encoding", "gzip"},
                          {"Content-Type", "text/plain"},
                          {"X-Hop", "1"}};
  const ConnectionOptions options(fields);
  EXPECT_FALSE(options.names("content-encoding"));
  EXPECT_FALSE(options.names("Content-Type"));
  EXPECT_TRUE(options.names("x-hop"));
}

}  // namespace
}  // namespace leeward::edge
