// What a request's head says of who asks: signs that it is a program, each of which a rule may ask
// for, and none of which proves anything. They are told from the head alone; nothing is kept
// between requests.
//
//   no-user-agent       no User-Agent, or an empty one
//   tool                User-Agent names a library or command line tool (curl, python-requests …)
//   headless            User-Agent names a browser without a screen (HeadlessChrome, PhantomJS …)
//   crawler             User-Agent calls itself a bot, crawler or spider
//   no-accept           no Accept
//
// and of who says to be a browser (User-Agent begins with "Mozilla/5.0 (" and is none of the
// above):
//
//   no-accept-language  no Accept-Language
//   no-accept-encoding  no Accept-Encoding
//   old-protocol        HTTP/1.0
//   host-not-first      over HTTP/1.x, Host is not the first field, as it is in every browser
//
// Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "model/waf_expression.h"
#include "waf/transaction.h"

namespace leeward::waf {

// Bit i: kBotSignals[i] (model/waf_expression.h). `protocol`: "1.0", "1.1", "2.0".
std::uint32_t bot_signals(std::span<const HeaderField> fields, std::string_view protocol);

}  // namespace leeward::waf
