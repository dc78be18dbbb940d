// Signed URLs and cookies: what other programs make is accepted, what nobody signed is not.
#include "edge/signed_url.h"

#include <gtest/gtest.h>

namespace leeward::edge {
namespace {

const std::vector<SigningKey> kKeys = {{"new", "0123456789abcdef"}, {"old", "fedcba9876543210"}};
constexpr std::int64_t kNow = 1'700'000'000, kLater = 1'700'003'600;

ClientAddress v4(std::uint8_t last) {
  ClientAddress a;
  a.bytes[10] = a.bytes[11] = 0xff;
  a.bytes[12] = 192;
  a.bytes[14] = 2;
  a.bytes[15] = last;
  return a;
}

SignatureCheck check(std::string_view target, std::string_view cookie = "", std::int64_t now = kNow,
                     std::string_view host = "shop.test") {
  return check_signature(
      {.scheme = "https", .host = host, .target = target, .cookie = cookie, .client = v4(7)}, kKeys,
      now);
}

SignedUrl sign(std::string url, bool prefix = false, std::string network = "",
               std::size_t key = 0) {
  auto made = sign_url({.url = std::move(url),
                        .prefix = prefix,
                        .expires = kLater,
                        .client_network = std::move(network)},
                       kKeys[key]);
  EXPECT_TRUE(made) << made.error().message;
  return made ? *made : SignedUrl{};
}

std::string target_of(const SignedUrl& made) { return made.url.substr(made.url.find('/', 8)); }

TEST(SignedUrl, WhatOpensslSignsIsGood) {
  // printf %s "https://shop.test/film.mp4?q=1&Expires=1700003600&KeyName=new" |
  //   openssl dgst -sha256 -hmac 0123456789abcdef -binary | base64 | tr +/ -_
  const std::string target =
      "/film.mp4?q=1&Expires=1700003600&KeyName=new&Signature="
      "uKJKvX4b0Wa6Q2Kef0wU2v8uWsRTLIVLWZUdU1SpGEo=";
  const SignatureCheck found = check(target);
  EXPECT_TRUE(found.good) << found.reason;
  EXPECT_EQ(target.substr(0, found.target_size), "/film.mp4?q=1");
  EXPECT_EQ(sign("https://shop.test/film.mp4?q=1").url, "https://shop.test" + target);
  // printf %s "URLPrefix=aHR0cHM6Ly9zaG9wLnRlc3QvZmlsbXMv:Expires=1700003600:KeyName=new" | …
  const std::string cookie =
      "URLPrefix=aHR0cHM6Ly9zaG9wLnRlc3QvZmlsbXMv:Expires=1700003600:KeyName=new:Signature="
      "fTYZKLWvDHTAcHwq9ZyHKpTSOCuf47o_8VNhzfWr-_s=";
  EXPECT_TRUE(check("/films/1?x=y", cookie).good);
  EXPECT_EQ(check("/films/1?x=y", cookie).target_size, 12u);
  EXPECT_EQ(sign("https://shop.test/films/", true).cookie, "Leeward-Signed=" + cookie);
}

TEST(SignedUrl, ParametersDisappearAndTheQueryStays) {
  for (const char* target : {"/", "/a", "/a?", "/a?b=c", "/a?b?c&d"}) {
    const std::string made = target_of(sign(std::string("https://shop.test") + target));
    const SignatureCheck found = check(made);
    EXPECT_TRUE(found.good) << made;
    EXPECT_EQ(made.substr(0, found.target_size), target);
  }
}

TEST(SignedUrl, EveryOtherByteIsAnotherUrl) {
  const std::string good = target_of(sign("https://shop.test/film.mp4?q=1"));
  ASSERT_TRUE(check(good).good);
  for (std::size_t i = 0; i < good.size(); ++i) {
    if (good[i] == '=' && i + 1 == good.size()) continue;  // padding says nothing
    std::string other = good;
    other[i] = other[i] == 'x' ? 'y' : 'x';
    EXPECT_FALSE(check(other).good) << other;
  }
  EXPECT_FALSE(check(good, "", kNow, "other.test").good);
  EXPECT_FALSE(check(good + "&more=1").good);
  EXPECT_FALSE(check("/film.mp4?q=1&x=2" + good.substr(13)).good);
}

TEST(SignedUrl, SaysWhyNot) {
  const std::string good = target_of(sign("https://shop.test/a"));
  EXPECT_EQ(check("/a").reason, "signature:none");
  EXPECT_EQ(check("/a?Signature=x").reason, "signature:malformed");
  EXPECT_EQ(check("/a?Expires=-1&KeyName=new&Signature=x").reason, "signature:malformed");
  EXPECT_EQ(check("/a?Expires=1&KeyName=gone&Signature=x").reason, "signature:unknown-key");
  EXPECT_EQ(check("/b" + good.substr(2)).reason, "signature:wrong");
  EXPECT_EQ(check(good, "", kLater - 1).reason, "");
  EXPECT_EQ(check(good, "", kLater).reason, "signature:expired");
  EXPECT_EQ(check("/a", "nonsense").reason, "signature:malformed");
}

TEST(SignedUrl, EitherKeyMaySignWhileTheyAreChanged) {
  EXPECT_TRUE(check(target_of(sign("https://shop.test/a", false, "", 0))).good);
  EXPECT_TRUE(check(target_of(sign("https://shop.test/a", false, "", 1))).good);
}

TEST(SignedUrl, APrefixIsGoodForWhatBeginsLikeIt) {
  const std::string p = sign("https://shop.test/films/", true).parameters;
  EXPECT_TRUE(check("/films/1.mp4?" + p).good);
  EXPECT_TRUE(check("/films/1.mp4?part=2&" + p).good);
  EXPECT_TRUE(check("/films/?" + p).good);
  for (const char* path :
       {"/film", "/", "/other/films/", "/films/../secret", "/films/%2e%2e/secret",
        "/films/..%2fsecret", "/films/.%2E;x/secret", "/films/a/..\\..\\secret", "/films/./a"})
    EXPECT_EQ(check(std::string(path) + "?" + p).reason, "signature:wrong-prefix") << path;
  EXPECT_TRUE(check("/films/..hidden/a...b?" + p).good);
}

TEST(SignedUrl, MayBeForOneNetworkOnly) {
  EXPECT_TRUE(check(target_of(sign("https://shop.test/a", false, "192.0.2.0/24"))).good);
  EXPECT_EQ(check(target_of(sign("https://shop.test/a", false, "192.0.2.8"))).reason,
            "signature:wrong-client");
  EXPECT_EQ(check(target_of(sign("https://shop.test/a", false, "2001:db8::/32"))).reason,
            "signature:wrong-client");
}

TEST(SignedUrl, HostsAreSignedInTheirNormalForm) {
  EXPECT_TRUE(check(target_of(sign("https://SHOP.test:443/a"))).good);
  EXPECT_TRUE(sign("https://shop.test").url.starts_with("https://shop.test/?Expires="));
}

TEST(SignedUrl, WhatIsNoUrlCannotBeSigned) {
  auto refused = [](std::string url, bool prefix = false, std::string network = "") {
    return !sign_url({.url = std::move(url),
                      .prefix = prefix,
                      .expires = kLater,
                      .client_network = std::move(network)},
                     kKeys[0]);
  };
  EXPECT_TRUE(refused("/a"));
  EXPECT_TRUE(refused("ftp://shop.test/"));
  EXPECT_TRUE(refused("https:///a"));
  EXPECT_TRUE(refused("https://shop.test/a b"));
  EXPECT_TRUE(refused("https://shop.test/a#b"));
  EXPECT_TRUE(refused("https://shop.test/a?b", true));
  EXPECT_TRUE(refused("https://shop.test/a?b=c&URLPrefix=aH/R0"));
  EXPECT_TRUE(refused("https://shop.test/a", false, "192.0.2.0/33"));
}

}  // namespace
}  // namespace leeward::edge
