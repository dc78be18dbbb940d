// HTTP/1.1 messages (RFC 9112), strictly. Where a message could be read in two ways, one of which
// is an attacker's, it is refused instead of repaired: an origin behind the edge never sees a
// message that it could cut differently than the edge did (request smuggling).
//
// Refused, with the reason in Outcome::why:
//   line ends other than CR LF; CR, NUL and other control characters inside a line
//   white space before the colon of a field, in front of the first field, or between the parts of
//     the request line other than one space; line folding (obs-fold)
//   Content-Length with Transfer-Encoding; more than one of either; a length that is not digits
//     only
//   a transfer coding other than exactly "chunked"; any in HTTP/1.0
//   a field that an origin could take for a framing one (Content_Length, Transfer_Encoding)
//   more than one Content-Type of a request (RFC 9110 §5.3: it is no list); Content_Type and
//     Content_Encoding of a request
//   HTTP/1.1 without exactly one Host; a Host with user information or anything but host[:port]
//   absolute-form whose authority is not the Host; authority-form; "*" with a method but OPTIONS
//   a target with a fragment, or with octets outside of visible ASCII
// One empty line before a request is skipped (RFC 9112 §2.2). A message has no body, a length, or
// is chunked; a response may end with the connection, as one does whose coding is none that exists
// (§6.3).
//
// Pure and incremental: the caller shows what it has and keeps the bytes; views point into them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "edge/exchange.h"

namespace leeward::edge {

struct Http1Limits {
  std::size_t target_bytes_max = 8u << 10;  // above: 414
  std::size_t head_bytes_max = 32u << 10;   // request line or status line and fields; above: 431
  std::size_t fields_max = 100;             // at most kFieldsMax; above: 431
};
inline constexpr std::size_t kFieldsMax = 128;

enum class Framing : std::uint8_t {
  kNone,
  kLength,
  kChunked,
  kUntilClose,  // responses only
  kTunnel,      // 101: what follows is another protocol
};

struct Head {
  int minor_version = 1;
  Framing framing = Framing::kNone;
  std::uint64_t content_length = 0;  // with kLength; of a HEAD or 304 response, as announced
  bool has_length = false;
  bool keep_alive = true;  // what version and Connection say
  bool upgrade = false;    // Connection: upgrade, and an Upgrade field that does not name HTTP/2
  std::size_t field_count = 0;
  std::array<Field, kFieldsMax> field_array;
  Fields fields() const { return {field_array.data(), field_count}; }
};

struct RequestHead : Head {
  Method method = Method::kGet;
  std::string_view method_text;
  std::string_view target;  // path and query, or "*"; of an absolute-form without its first part
  std::string_view host;    // host[:port] as received
  bool expects_continue = false;
};

struct ResponseHead : Head {
  int status = 0;
  std::string_view reason;
};

// Where the search for the end of a head stands; one for each head, so that a head that comes octet
// by octet is not searched again and again.
struct HeadScan {
  std::size_t position = 0;
  std::size_t line_start = 0;
  std::size_t skipped = 0;  // of the empty line in front
};

struct Outcome {
  enum class Kind : std::uint8_t { kMore, kDone, kBad };
  Kind kind = Kind::kMore;
  std::size_t consumed = 0;  // kDone: octets of the head
  int status = 400;          // kBad: what to answer (request) or 502
  const char* why = "";      // kBad: static text
};

// `bytes`: all that has come of this message so far, beginning at its first octet.
Outcome parse_request(std::string_view bytes, const Http1Limits& limits, HeadScan& scan,
                      RequestHead& head);
// `to_head`: the request was HEAD, so that there is no body whatever the fields say.
Outcome parse_response(std::string_view bytes, const Http1Limits& limits, bool to_head,
                       HeadScan& scan, ResponseHead& head);

// Lower case, without the port when it is that of the scheme, without a final dot. False when it
// does not fit into `out` (255 octets and a port).
struct HostText {
  std::array<char, 264> bytes;
  std::size_t size = 0;
  std::string_view view() const { return {bytes.data(), size}; }
};
bool normalize_host(std::string_view host, bool https, HostText& out);
// host[:port] with a registered name, an IPv4 address or a bracketed IPv6 address (RFC 3986 §3.2).
bool valid_host(std::string_view host);

bool is_token(std::string_view text);        // RFC 9110 §5.6.2
bool is_field_value(std::string_view text);  // no control characters but HTAB
// Whether a comma-separated list has the element, without regard to case.
bool list_has(std::string_view list, std::string_view element);
// Fields that mean this connection only (RFC 9110 §7.6.1), whether Connection names them or not.
bool is_hop_by_hop(std::string_view name);
// Not framing, routing, authentication, nor what the message is judged by (RFC 9110 §6.5.1).
bool allowed_in_trailer(std::string_view name);

// The chunked coding, decoded (RFC 9112 §7.1). Chunk extensions are checked and dropped.
class ChunkedDecoder {
 public:
  static constexpr std::size_t kSizeLineMax = 256;       // one chunk's line with its extensions
  static constexpr std::size_t kExtensionsMax = 4096;    // of all chunks of a message
  static constexpr std::size_t kTrailerBytesMax = 8192;  // trailer section

  struct Step {
    enum class Kind : std::uint8_t {
      kMore,  // all consumed, nothing to pass on
      kData,  // `data` is the next part of the body
      kEnd,   // the message is over; trailers() is complete
      kBad,   // `why`; the connection is of no more use
    };
    Kind kind = Kind::kMore;
    std::size_t consumed = 0;
    std::string_view data{};  // into the input
    const char* why = "";
  };
  Step next(std::string_view input);
  // The trailer fields as "Name: value\r\n" lines, without those that may not be there: framing,
  // routing, authentication, and what the response is judged by (RFC 9110 §6.5.1).
  std::string_view trailers() const { return kept_trailers_; }
  void reset();

 private:
  enum class State : std::uint8_t {
    kSizeStart,
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,
    kDone
  };
  Step bad(const char* why);
  Step size_line(std::string_view input);
  Step trailer(std::string_view input);

  State state_ = State::kSizeStart;
  std::uint64_t left_ = 0;
  std::size_t digits_ = 0;
  std::size_t line_ = 0;
  std::size_t extensions_ = 0;
  std::size_t trailer_bytes_ = 0;
  std::string trailer_;
  std::string kept_trailers_;
};

}  // namespace leeward::edge
