// Conditions of the firewall's own rules, as texts in leeward.yaml:
//
//   path starts_with "/admin" and not address in ["10.0.0.0/8", "192.0.2.7"]
//   method == "POST" and (header("user-agent") matches "(?i)curl" or size(args) > 200)
//
//   expression := conjunction ("or" conjunction)*
//   conjunction := term ("and" term)*
//   term := "not" term | "(" expression ")" | comparison
//   comparison := value operator operand | value                        alone: it is there
//   value := field | header("NAME") | cookie("NAME") | arg("NAME") | size(value)
//   operand := "text" | number | ["text", …]
//
// Fields: address country method host path query target protocol headers header_names cookies
// cookie_names args arg_names body files bot ja4 crawler. Fields with several values (headers,
// cookies, args …) hold when one of them does. arg and args are of the query and of the body: such
// an expression is judged once the body is here. Operators: == != contains starts_with ends_with
// matches (PCRE) in (one of; of address: networks), and < <= > >= of size(…), which is a value's
// length, and the number of values where there can be several. Texts are compared as they are;
// lower(value) in lower case. In a text \" and \\ stand for themselves.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward {

enum class WafField : std::uint8_t {
  kAddress,
  kCountry,
  kMethod,
  kHost,
  kPath,
  kQuery,
  kTarget,
  kProtocol,
  kHeaders,
  kHeaderNames,
  kCookies,
  kCookieNames,
  kArgs,
  kArgNames,
  kBody,
  kFiles,
  kBot,
  kJa4,
  kCrawler,
};

// What `bot` can hold: what each means is in waf/bot_signals.h.
inline constexpr std::array<std::string_view, 9> kBotSignals = {
    "no-user-agent",      "tool",
    "headless",           "crawler",
    "no-accept",          "no-accept-language",
    "no-accept-encoding", "old-protocol",
    "host-not-first"};

// What `crawler` can be (edge/crawlers.h), when it is not empty.
inline constexpr std::array<std::string_view, 3> kCrawlerStates = {"unverified", "verified",
                                                                   "false"};

struct WafValue {
  WafField field = WafField::kPath;
  std::string name;  // of one header, cookie or argument; empty: all of them, or a field without
  bool size = false;
  bool lower = false;
};

enum class WafTest : std::uint8_t {
  kPresent,
  kEquals,
  kContains,
  kStartsWith,
  kEndsWith,
  kMatches,
  kIn,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
};

struct WafExpression {
  enum class Kind : std::uint8_t { kAll, kAny, kNot, kTest };
  static constexpr std::size_t kTextMax = 8192;  // of the whole
  static constexpr std::size_t kDepthMax = 32;
  static constexpr std::size_t kTestsMax = 256;

  Kind kind = Kind::kTest;
  std::vector<WafExpression> parts;  // kAll, kAny: two or more; kNot: one
  // kTest
  WafValue value;
  WafTest test = WafTest::kPresent;
  std::vector<std::string> texts;  // one; kIn: one or more; kPresent and numbers: none
  std::uint64_t number = 0;

  // Whether it can only be judged once the request's body is here.
  bool needs_body() const;
  bool asks_for(WafField field) const;
};

// kInvalid with "column N: what is wrong", N from 1.
Result<WafExpression> parse_waf_expression(std::string_view text);
// A value alone: args, header("x-token").
Result<WafValue> parse_waf_value(std::string_view text);

}  // namespace leeward
