#include "edge/ja4.h"

#include <gtest/gtest.h>

#include <vector>

namespace leeward::edge {
namespace {

std::string octets(std::size_t value, std::size_t count) {
  std::string out;
  for (std::size_t i = count; i-- > 0;) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}
std::string vector_of(const std::string& bytes, std::size_t length_octets) {
  return octets(bytes.size(), length_octets) + bytes;
}
std::string list_of(const std::vector<unsigned>& numbers) {
  std::string out;
  for (unsigned n : numbers) out += octets(n, 2);
  return out;
}
std::string extension(unsigned type, const std::string& body) {
  return octets(type, 2) + vector_of(body, 2);
}

std::string hello_of(unsigned version, const std::vector<unsigned>& ciphers,
                     const std::string& extensions, bool with_extensions = true) {
  std::string body = octets(version, 2) + std::string(32, 'r') + vector_of("session", 1) +
                     vector_of(list_of(ciphers), 2) + vector_of(std::string(1, '\0'), 1);
  if (with_extensions) body += vector_of(extensions, 2);
  return octets(1, 1) + vector_of(body, 3);
}

// The example of FoxIO's description, with GREASE as Chrome sends it: what it gives is written
// there.
const std::vector<unsigned> kCiphers = {0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f,
                                        0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
                                        0x009c, 0x009d, 0x002f, 0x0035};
std::string example_extensions(const std::string& first_protocol = "h2") {
  std::string all = extension(0xdada, "");
  for (unsigned type : {0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005,
                        0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015}) {
    std::string body;
    if (type == 0x0010)
      body = vector_of(vector_of(first_protocol, 1) + vector_of("http/1.1", 1), 2);
    if (type == 0x002b) body = vector_of(list_of({0x7a7a, 0x0304, 0x0303}), 1);
    if (type == 0x000d)
      body =
          vector_of(list_of({0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}), 2);
    all += extension(type, body);
  }
  return all;
}

TEST(Ja4, IsWhatTheDescriptionSaysOfItsExample) {
  EXPECT_EQ(ja4_of(hello_of(0x0303, kCiphers, example_extensions())),
            "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

TEST(Ja4, TheOrderOfCiphersAndExtensionsDoesNotMatterThatOfAlgorithmsDoes) {
  std::vector<unsigned> ciphers(kCiphers.rbegin(), kCiphers.rend());
  EXPECT_EQ(ja4_of(hello_of(0x0303, ciphers, example_extensions())),
            "t13d1516h2_8daaf6152771_e5627efa2ab1");
  const std::string a = extension(0x000d, vector_of(list_of({0x0403, 0x0804}), 2));
  const std::string b = extension(0x000d, vector_of(list_of({0x0804, 0x0403}), 2));
  EXPECT_NE(ja4_of(hello_of(0x0303, kCiphers, a)), ja4_of(hello_of(0x0303, kCiphers, b)));
}

TEST(Ja4, ProtocolsThatAreNoTextAreShownByTheirDigits) {
  auto shown = [](const std::string& protocol) {
    return ja4_of(hello_of(0x0303, kCiphers, example_extensions(protocol))).substr(8, 2);
  };
  EXPECT_EQ(shown("http/1.1"), "h1");
  EXPECT_EQ(shown("h"), "hh");
  EXPECT_EQ(shown("\xab"), "ab");
  EXPECT_EQ(shown("\xab\xcd"), "ad");
  EXPECT_EQ(shown("\x30\xab"), "3b");
  EXPECT_EQ(shown("\x30\x31\xab\xcd"), "3d");
  EXPECT_EQ(shown("\x30\xab\xcd\x31"), "01");
}

TEST(Ja4, WhatIsMissingIsZeros) {
  EXPECT_EQ(ja4_of(hello_of(0x0303, {}, "", false)), "t12i000000_000000000000_000000000000");
  EXPECT_EQ(ja4_of(hello_of(0x0301, {0x002f}, "")).substr(0, 11), "t10i010000_");
}

TEST(Ja4, ACutHelloHasNone) {
  const std::string hello = hello_of(0x0303, kCiphers, example_extensions());
  for (std::size_t size = 0; size < hello.size(); ++size)
    EXPECT_EQ(ja4_of(hello.substr(0, size)), "") << size;
  std::string other = hello;
  other[0] = 2;  // a ServerHello
  EXPECT_EQ(ja4_of(other), "");
}

}  // namespace
}  // namespace leeward::edge
