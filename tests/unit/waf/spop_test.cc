#include "waf/spop.h"

#include <gtest/gtest.h>

namespace leeward::waf::spop {
namespace {

using std::string_literals::operator""s;

TEST(Spop, IntegersOfEveryLength) {
  std::string one;
  append_integer(one, 239);
  EXPECT_EQ(one, "\xef"s);
  std::string two;
  append_integer(two, 240);
  EXPECT_EQ(two, "\xf0\x00"s);
  for (std::uint64_t value : {0ull, 1ull, 239ull, 240ull, 2287ull, 2288ull, 264431ull, 264432ull,
                              0xffffffffull, 0xffffffffffffffffull}) {
    std::string bytes;
    append_integer(bytes, value);
    std::string_view rest = bytes;
    EXPECT_EQ(take_integer(rest), value);
    EXPECT_TRUE(rest.empty());
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      rest = std::string_view(bytes).substr(0, cut);
      EXPECT_EQ(take_integer(rest), std::nullopt);
    }
  }
}

TEST(Spop, ANotifyIsReadAndAnswered) {
  // As HAProxy 2.6 sends it: message "check", src an address, method a string, a flag, a number.
  const std::string payload =
      "\x05"
      "check"
      "\x04"
      "\x03src\x06\x7f\x00\x00\x01"
      "\x06method\x08\x03GET"
      "\x03tls\x11"
      "\x04port\x03\xf0\x01"s;
  const std::string bytes = "\x03\x00\x00\x00\x01\x07\x09"s + payload;
  auto frame = read_frame(bytes);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->type, FrameType::kNotify);
  EXPECT_EQ(frame->stream, 7u);
  EXPECT_EQ(frame->frame, 9u);
  auto messages = read_messages(frame->payload);
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 1u);
  const Message& m = messages->front();
  EXPECT_EQ(m.name, "check");
  ASSERT_EQ(m.arguments.size(), 4u);
  EXPECT_EQ(std::get<Address>(m.arguments[0].value).octets, "\x7f\x00\x00\x01"s);
  EXPECT_EQ(std::get<std::string_view>(m.arguments[1].value), "GET");
  EXPECT_EQ(std::get<bool>(m.arguments[2].value), true);
  EXPECT_EQ(std::get<std::uint64_t>(m.arguments[3].value), 256u);
  EXPECT_EQ(write_ack(7, 9, {{"verdict", "pass"}}),
            "\x00\x00\x00\x18\x67\x00\x00\x00\x01\x07\x09\x01\x03\x02\x07verdict\x08\x04pass"s);
}

TEST(Spop, FieldsEndWithAnEmptyPair) {
  const std::string bytes =
      "\x04host\x04shop\x06"
      "accept\x00\x00\x00"s;
  auto fields = read_fields(bytes);
  ASSERT_TRUE(fields);
  ASSERT_EQ(fields->size(), 2u);
  EXPECT_EQ((*fields)[1].first, "accept");
  EXPECT_FALSE(read_fields("\x04hos"));
}

TEST(Spop, WhatIsBrokenOrFragmentedIsRefused) {
  EXPECT_FALSE(read_frame(""));
  EXPECT_FALSE(read_frame("\x03\x00\x00\x00\x00\x07\x09"s));  // not the last part
  EXPECT_FALSE(
      read_messages("\x05"
                    "check\xff"s));
  EXPECT_FALSE(
      read_messages("\x05"
                    "check\x01\x03src\x06\x7f"s));
  EXPECT_FALSE(
      read_arguments("\x01"
                     "a\x0e"s));
}

}  // namespace
}  // namespace leeward::waf::spop
