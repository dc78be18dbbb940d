// DNS wire format: numbers of the registry, names, and the parser of queries. The query parser is
// the only code that reads bytes from outside; it allocates nothing and its work is linear in the
// size of the message. All functions are pure and thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::dns {

inline constexpr std::size_t kHeaderSize = 12;  // RFC 1035 §4.1.1
inline constexpr std::size_t kNameMax = 255;    // RFC 1035 §2.3.4, wire octets with the root
inline constexpr std::size_t kLabelMax = 63;
inline constexpr std::size_t kLabelsMax = 127;    // 127 one-letter labels and the root: 255 octets
inline constexpr std::size_t kOptSize = 11;       // our OPT record, without options
inline constexpr std::size_t kUdpPlainMax = 512;  // a client without EDNS (RFC 1035 §4.2.1)
inline constexpr std::size_t kUdpAnswerMax =
    1232;                                          // never fragmented (DNS flag day 2020, RFC 9715)
inline constexpr std::size_t kMessageMax = 65535;  // TCP

// TYPE and CLASS numbers that this room names (IANA "Domain Name System (DNS) Parameters").
inline constexpr std::uint16_t kTypeA = 1;
inline constexpr std::uint16_t kTypeNs = 2;
inline constexpr std::uint16_t kTypeCname = 5;
inline constexpr std::uint16_t kTypeSoa = 6;
inline constexpr std::uint16_t kTypeHinfo = 13;
inline constexpr std::uint16_t kTypeMx = 15;
inline constexpr std::uint16_t kTypeTxt = 16;
inline constexpr std::uint16_t kTypeAaaa = 28;
inline constexpr std::uint16_t kTypeSrv = 33;
inline constexpr std::uint16_t kTypeOpt = 41;
inline constexpr std::uint16_t kTypeDs = 43;
inline constexpr std::uint16_t kTypeMetaFirst = 128;  // 128…255: not data (RFC 6895 §3.1)
inline constexpr std::uint16_t kTypeIxfr = 251;
inline constexpr std::uint16_t kTypeAxfr = 252;
inline constexpr std::uint16_t kTypeAny = 255;
inline constexpr std::uint16_t kTypeCaa = 257;
inline constexpr std::uint16_t kClassIn = 1;

enum class Rcode : std::uint16_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kBadVers = 16,  // needs EDNS (RFC 6891 §9)
};

inline std::uint16_t load16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
inline void store16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}
inline void store32(std::uint8_t* p, std::uint32_t v) {
  store16(p, static_cast<std::uint16_t>(v >> 16));
  store16(p + 2, static_cast<std::uint16_t>(v));
}
void append16(std::string& out, std::uint16_t v);
void append32(std::string& out, std::uint32_t v);

inline std::uint8_t to_lower(std::uint8_t c) {
  return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c + ('a' - 'A')) : c;
}
// Wire names may be lower-cased octet by octet: a length octet (at most 63) is never a letter.
std::string lower_name(std::string_view wire_name);

// A name in wire form ("\3www\4shop\4test\0") from its text. `\.` and `\DDD` are understood
// (RFC 1035 §5.1). The final dot is optional; "." is the root. kInvalid tells what is wrong.
Result<std::string> name_from_text(std::string_view text);
std::string name_to_text(std::string_view wire_name);  // without the final dot; "." for the root

// The question name of a query: lower-cased, with the start of each label.
struct QueryName {
  std::array<std::uint8_t, kNameMax> lower;
  std::array<std::uint8_t, kLabelsMax + 1> label_at;  // label_at[labels] is the root's octet
  std::uint8_t length = 0;                            // octets, the root's included
  std::uint8_t labels = 0;                            // without the root

  // Wire form of the last `labels - first` labels and the root.
  std::string_view suffix(std::size_t first) const {
    return {reinterpret_cast<const char*>(lower.data()) + label_at[first],
            static_cast<std::size_t>(length - label_at[first])};
  }
};

struct Query {
  QueryName name;
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  std::size_t question_end = 0;  // offset of the first octet after the question
  bool edns = false;
  std::uint8_t edns_version = 0;
  std::uint16_t edns_udp_size = 0;  // as the client wrote it
  bool dnssec_ok = false;
};

enum class Parsed {
  kOk,
  kDrop,     // shorter than a header, or itself a response: answering could start a loop
  kFormErr,  // has a header, but is not a well-formed query with one question
  kNotImp,   // an opcode other than QUERY
};

// Reads `message` into `query`, which is meaningful only for kOk. Strict: a compressed question
// name, a record that does not fit, a second OPT (RFC 6891 §6.1.1), options that do not add up, and
// octets after the last record are all kFormErr. Unknown EDNS options are skipped.
Parsed parse_query(std::span<const std::uint8_t> message, Query& query);

}  // namespace leeward::dns
