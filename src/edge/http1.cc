#include "edge/http1.h"

#include <charconv>
#include <cstring>
#include <utility>

#include "base/hex.h"

namespace leeward::edge {
namespace {

// What an octet may be.
enum : std::uint8_t { kTokenChar = 1, kTargetChar = 2, kValueChar = 4, kHostChar = 8 };

constexpr std::array<std::uint8_t, 256> make_table() {
  std::array<std::uint8_t, 256> t{};
  for (int c = 0; c < 256; ++c) {
    bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    std::uint8_t bits = 0;
    bool token = alnum;
    for (char x : std::string_view("!#$%&'*+-.^_`|~")) token = token || c == x;
    if (token) bits |= kTokenChar;
    if (c > 0x20 && c < 0x7f && c != '#') bits |= kTargetChar;
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) bits |= kValueChar;
    bool host = alnum;  // reg-name of RFC 3986 without what no DNS name has
    for (char x : std::string_view("-._")) host = host || c == x;
    if (host) bits |= kHostChar;
    t[static_cast<std::size_t>(c)] = bits;
  }
  return t;
}
constexpr auto kTable = make_table();

bool is(char c, std::uint8_t what) { return (kTable[static_cast<unsigned char>(c)] & what) != 0; }
bool all(std::string_view text, std::uint8_t what) {
  for (char c : text)
    if (!is(c, what)) return false;
  return true;
}
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Outcome bad(int status, const char* why) {
  return {.kind = Outcome::Kind::kBad, .consumed = 0, .status = status, .why = why};
}

// Finds the empty line that ends the head; kDone: consumed is behind it.
Outcome find_end(std::string_view bytes, const Http1Limits& limits, HeadScan& scan) {
  for (;;) {
    const char* from = bytes.data() + scan.position;
    const void* found = std::memchr(from, '\n', bytes.size() - scan.position);
    if (found == nullptr) {
      scan.position = bytes.size();
      if (bytes.size() > limits.head_bytes_max) return bad(431, "the head is too large");
      return {};
    }
    const std::size_t lf = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
    if (lf == 0 || bytes[lf - 1] != '\r') return bad(400, "a line ends without CR");
    const bool empty = lf - 1 == scan.line_start;
    scan.position = scan.line_start = lf + 1;
    if (lf + 1 > limits.head_bytes_max) return bad(431, "the head is too large");
    if (!empty) continue;
    if (lf == 1 && scan.skipped == 0) {
      scan.skipped = 2;
      continue;
    }
    return {.kind = Outcome::Kind::kDone, .consumed = lf + 1};
  }
}

// Takes the next line off `rest`, without its CR LF. REQUIRES: there is one.
std::string_view take_line(std::string_view& rest) {
  const std::size_t lf = static_cast<std::size_t>(
      static_cast<const char*>(std::memchr(rest.data(), '\n', rest.size())) - rest.data());
  std::string_view line = rest.substr(0, lf - 1);
  rest.remove_prefix(lf + 1);
  return line;
}

// Null, or what is wrong.
const char* parse_field(std::string_view line, Field& field) {
  if (line.front() == ' ' || line.front() == '\t') return "a folded line (obs-fold)";
  std::size_t colon = 0;
  while (colon < line.size() && is(line[colon], kTokenChar)) ++colon;
  if (colon == line.size()) return "a field line without a colon";
  if (colon == 0) return "a field without a name";
  if (line[colon] != ':')
    return line[colon] == ' ' || line[colon] == '\t' ? "white space before the colon of a field"
                                                     : "a character that no field name may have";
  field.name = line.substr(0, colon);
  field.value = trim(line.substr(colon + 1));
  if (!all(field.value, kValueChar)) return "a control character in a field's value";
  return nullptr;
}

enum class Special : std::uint8_t {
  kNone,
  kHost,
  kContentLength,
  kTransferEncoding,
  kConnection,
  kContentType,
  kExpect,
  kUpgrade,
  kLookalike,     // of a field of the framing
  kBodyLookalike  // of one that says what a body is
};

Special special(std::string_view name) {
  auto known_as = [name](std::string_view known, Special what, Special lookalike) {
    if (!folds_to(name, known)) return Special::kNone;
    return name.find('_') == std::string_view::npos ? what : lookalike;
  };
  switch (name.size()) {
    case 4:
      return same_name(name, "host") ? Special::kHost : Special::kNone;
    case 6:
      return same_name(name, "expect") ? Special::kExpect : Special::kNone;
    case 7:
      return same_name(name, "upgrade") ? Special::kUpgrade : Special::kNone;
    case 10:
      return same_name(name, "connection") ? Special::kConnection : Special::kNone;
    case 12:
      return known_as("content-type", Special::kContentType, Special::kBodyLookalike);
    case 14:
      return known_as("content-length", Special::kContentLength, Special::kLookalike);
    case 16:
      return known_as("content-encoding", Special::kNone, Special::kBodyLookalike);
    case 17:
      return known_as("transfer-encoding", Special::kTransferEncoding, Special::kLookalike);
    default:
      return Special::kNone;
  }
}

struct Seen {
  bool of_response = false;
  bool length = false;
  bool chunked = false;
  bool unknown_coding = false;  // of a response only
  bool host = false;
  bool close = false;
  bool keep_alive = false;
  bool upgrade_token = false;
  bool upgrade_field = false;
  bool upgrade_h2 = false;
  bool expect = false;
  bool content_type = false;
  std::string_view host_value;
};

bool parse_length(std::string_view text, std::uint64_t& value) {
  if (text.empty() || text.size() > 18) return false;
  for (char c : text)
    if (c < '0' || c > '9') return false;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{};
}

// A token that neither is a registered transfer coding nor could be taken for one.
bool names_no_coding(std::string_view text) {
  std::string lowered;
  for (char c : text) lowered += lower(c);
  for (std::string_view known : {"chunk", "compress", "deflate", "gzip"})
    if (lowered.find(known) != std::string::npos) return false;
  return !text.empty() && all(text, kTokenChar);
}

Outcome note_special(Special what, const Field& field, Head& head, Seen& seen) {
  switch (what) {
    case Special::kHost:
      if (seen.host) return bad(400, "more than one Host");
      seen.host = true;
      seen.host_value = field.value;
      break;
    case Special::kContentLength:
      if (seen.length) return bad(400, "more than one Content-Length");
      if (!parse_length(field.value, head.content_length))
        return bad(400, "a Content-Length that is no number");
      seen.length = true;
      break;
    case Special::kTransferEncoding:
      if (seen.chunked || seen.unknown_coding) return bad(400, "more than one Transfer-Encoding");
      if (seen.of_response && names_no_coding(field.value)) {
        seen.unknown_coding = true;
        break;
      }
      if (field.value.empty()) return bad(400, "an empty Transfer-Encoding");
      if (!same_name(field.value, "chunked"))
        return bad(501, "a transfer coding other than chunked");
      seen.chunked = true;
      break;
    case Special::kConnection:
      seen.close = seen.close || list_has(field.value, "close");
      seen.keep_alive = seen.keep_alive || list_has(field.value, "keep-alive");
      seen.upgrade_token = seen.upgrade_token || list_has(field.value, "upgrade");
      break;
    case Special::kContentType:
      // Origins go by the first or by the last, and rules look at the body as one of them.
      if (seen.content_type && !seen.of_response) return bad(400, "more than one Content-Type");
      seen.content_type = true;
      break;
    case Special::kUpgrade:
      seen.upgrade_field = true;
      seen.upgrade_h2 =
          seen.upgrade_h2 || list_has(field.value, "h2c") || list_has(field.value, "h2");
      break;
    case Special::kExpect:
      if (!same_name(field.value, "100-continue")) return bad(417, "an unknown expectation");
      seen.expect = true;
      break;
    case Special::kLookalike:
      return bad(400, "a field that could be taken for a framing one");
    case Special::kBodyLookalike:
      // An origin that folds names would read the body by it, and rules do not.
      if (!seen.of_response) return bad(400, "a field that could be taken for another");
      break;
    case Special::kNone:
      break;
  }
  return {.kind = Outcome::Kind::kDone};
}

Outcome parse_fields(std::string_view rest, const Http1Limits& limits, Head& head, Seen& seen) {
  const std::size_t fields_max = std::min(limits.fields_max, kFieldsMax);
  head.field_count = 0;
  head.content_length = 0;
  for (;;) {
    std::string_view line = take_line(rest);
    if (line.empty()) break;
    if (head.field_count == fields_max) return bad(431, "too many fields");
    Field& field = head.field_array[head.field_count];
    if (const char* why = parse_field(line, field)) return bad(400, why);
    ++head.field_count;
    const Special what = special(field.name);
    if (what == Special::kNone) continue;
    if (Outcome noted = note_special(what, field, head, seen); noted.kind == Outcome::Kind::kBad)
      return noted;
  }
  const bool coded = seen.chunked || seen.unknown_coding;
  if (seen.length && coded) return bad(400, "both Content-Length and Transfer-Encoding");
  if (coded && head.minor_version == 0) return bad(400, "a transfer coding in HTTP/1.0");
  head.has_length = seen.length;
  head.keep_alive = !seen.close && (head.minor_version == 1 || seen.keep_alive);
  // HTTP/2 in a tunnel would be requests that nobody here has read; an Upgrade may be ignored (RFC
  // 9113 §3.1, RFC 9110 §7.8).
  head.upgrade =
      seen.upgrade_token && seen.upgrade_field && !seen.upgrade_h2 && head.minor_version == 1;
  return {.kind = Outcome::Kind::kDone};
}

// "HTTP/1.x" → x; -1: no version; -2: another major version.
int parse_version(std::string_view text) {
  if (text.size() != 8 || !text.starts_with("HTTP/") || text[6] != '.' || text[5] < '0' ||
      text[5] > '9' || text[7] < '0' || text[7] > '9')
    return -1;
  if (text[5] != '1') return -2;
  return text[7] == '0' ? 0 : 1;  // a higher minor version is served as 1.1 (RFC 9110 §2.5)
}

Outcome parse_target(std::string_view target, RequestHead& head, std::string_view& authority) {
  if (target.empty() || !all(target, kTargetChar))
    return bad(400, "a character that no target may have");
  if (head.method == Method::kConnect) return bad(405, "CONNECT is not served");
  head.target = target;
  if (target.front() == '/') return {.kind = Outcome::Kind::kDone};
  if (target == "*")
    return head.method == Method::kOptions
               ? Outcome{.kind = Outcome::Kind::kDone}
               : bad(400, "'*' as target of another method than OPTIONS");
  std::size_t scheme = 0;
  for (std::string_view known : {std::string_view("http://"), std::string_view("https://")})
    if (target.size() > known.size() && same_name(target.substr(0, known.size()), known))
      scheme = known.size();
  if (scheme == 0) return bad(400, "a target that is no path");
  const std::size_t slash = target.find_first_of("/?", scheme);
  authority = target.substr(scheme, slash - scheme);
  head.target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  if (head.target.front() == '?') return bad(400, "an absolute target without a path");
  return {.kind = Outcome::Kind::kDone};
}

Outcome parse_request_line(std::string_view line, const Http1Limits& limits, RequestHead& head,
                           std::string_view& authority) {
  std::size_t end = 0;
  while (end < line.size() && is(line[end], kTokenChar)) ++end;
  if (end == 0 || end == line.size() || line[end] != ' ' || end > 32)
    return bad(400, "the request line has no method");
  head.method_text = line.substr(0, end);
  head.method = method_of(head.method_text);
  line.remove_prefix(end + 1);
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return bad(400, "the request line has no version");
  if (space > limits.target_bytes_max) return bad(414, "the target is too long");
  head.minor_version = parse_version(line.substr(space + 1));
  if (head.minor_version == -1) return bad(400, "the request line has no version");
  if (head.minor_version == -2) return bad(505, "not HTTP/1");
  return parse_target(line.substr(0, space), head, authority);
}

}  // namespace

bool is_token(std::string_view text) { return !text.empty() && all(text, kTokenChar); }
bool is_field_value(std::string_view text) { return all(text, kValueChar); }

bool list_has(std::string_view list, std::string_view element) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (same_name(trim(list.substr(0, comma)), element)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

bool is_hop_by_hop(std::string_view name) {
  switch (name.size()) {
    case 2:
      return same_name(name, "te");
    case 7:
      return same_name(name, "upgrade");
    case 10:
      return same_name(name, "connection") || same_name(name, "keep-alive");
    case 16:
      return same_name(name, "proxy-connection");
    case 17:
      return same_name(name, "transfer-encoding");
    default:
      return false;
  }
}

bool valid_host(std::string_view host) {
  if (host.empty() || host.size() > 261) return false;
  std::string_view name = host, port;
  if (host.front() == '[') {
    const std::size_t close = host.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    for (char c : host.substr(1, close - 1))
      if (!((c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f') || c == ':' || c == '.'))
        return false;
    name = {};
    port = host.substr(close + 1);
    if (!port.empty() && port.front() != ':') return false;
  } else {
    const std::size_t colon = std::min(host.find(':'), host.size());
    name = host.substr(0, colon);
    port = host.substr(colon);
    if (name.empty() || name.size() > 255 || !all(name, kHostChar)) return false;
  }
  if (port.empty()) return true;
  port.remove_prefix(1);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  return error == std::errc{} && end == port.data() + port.size() && port.size() <= 5 &&
         value >= 1 && value <= 65535;
}

bool normalize_host(std::string_view host, bool https, HostText& out) {
  const std::size_t bracket = host.rfind(']');
  const std::size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  std::string_view name = host.substr(0, colon);
  std::string_view port = colon == std::string_view::npos ? std::string_view() : host.substr(colon);
  if (name.size() > 1 && name.back() == '.') name.remove_suffix(1);
  if (port == (https ? ":443" : ":80")) port = {};
  if (name.size() + port.size() > out.bytes.size()) return false;
  out.size = 0;
  for (char c : name) out.bytes[out.size++] = lower(c);
  for (char c : port) out.bytes[out.size++] = c;
  return true;
}

Outcome parse_request(std::string_view bytes, const Http1Limits& limits, HeadScan& scan,
                      RequestHead& head) {
  const Outcome end = find_end(bytes, limits, scan);
  if (end.kind != Outcome::Kind::kDone) return end;
  std::string_view rest = bytes.substr(scan.skipped, end.consumed - scan.skipped);
  std::string_view authority;
  Outcome line = parse_request_line(take_line(rest), limits, head, authority);
  if (line.kind == Outcome::Kind::kBad) return line;
  Seen seen;
  Outcome fields = parse_fields(rest, limits, head, seen);
  if (fields.kind == Outcome::Kind::kBad) return fields;
  if (!seen.host) return bad(400, "no Host");
  if (!valid_host(seen.host_value)) return bad(400, "a Host that is none");
  if (!authority.empty() && !same_name(authority, seen.host_value))
    return bad(400, "the target's authority is not the Host");
  head.host = seen.host_value;
  head.expects_continue = seen.expect && head.minor_version == 1;
  head.framing = seen.chunked                             ? Framing::kChunked
                 : seen.length && head.content_length > 0 ? Framing::kLength
                                                          : Framing::kNone;
  return end;
}

Outcome parse_response(std::string_view bytes, const Http1Limits& limits, bool to_head,
                       HeadScan& scan, ResponseHead& head) {
  const Outcome end = find_end(bytes, limits, scan);
  if (end.kind == Outcome::Kind::kBad) return bad(502, end.why);
  if (end.kind == Outcome::Kind::kMore) return end;
  if (scan.skipped != 0) return bad(502, "an empty line before the response");
  std::string_view rest = bytes.substr(0, end.consumed);
  std::string_view line = take_line(rest);
  if (line.size() < 12 || line[8] != ' ') return bad(502, "no status line");
  head.minor_version = parse_version(line.substr(0, 8));
  if (head.minor_version < 0) return bad(502, "no status line");
  unsigned status = 0;
  const char* digits = line.data() + 9;
  if (std::from_chars(digits, digits + 3, status).ptr != digits + 3 || status < 100 || status > 599)
    return bad(502, "no status code");
  if (line.size() > 12 && line[12] != ' ') return bad(502, "no status code");
  head.status = static_cast<int>(status);
  head.reason = line.size() > 13 ? line.substr(13) : std::string_view();
  if (!is_field_value(head.reason)) return bad(502, "a control character in the status line");
  Seen seen;
  seen.of_response = true;
  Outcome fields = parse_fields(rest, limits, head, seen);
  if (fields.kind == Outcome::Kind::kBad) return bad(502, fields.why);
  if (head.status == 101)
    head.framing = Framing::kTunnel;
  else if (to_head || head.status < 200 || head.status == 204 || head.status == 304)
    head.framing = Framing::kNone;
  else if (seen.chunked)
    head.framing = Framing::kChunked;
  else if (seen.length)
    head.framing = head.content_length > 0 ? Framing::kLength : Framing::kNone;
  else
    head.framing = Framing::kUntilClose;
  return end;
}

// ---- chunked coding

bool allowed_in_trailer(std::string_view name) {
  static constexpr std::string_view kNot[] = {"host",
                                              "content-length",
                                              "transfer-encoding",
                                              "content-encoding",
                                              "content-type",
                                              "content-range",
                                              "authorization",
                                              "proxy-authorization",
                                              "cache-control",
                                              "expect",
                                              "max-forwards",
                                              "pragma",
                                              "range",
                                              "trailer",
                                              "set-cookie",
                                              "cookie",
                                              "www-authenticate",
                                              "proxy-authenticate",
                                              "age",
                                              "date",
                                              "expires",
                                              "location",
                                              "retry-after",
                                              "vary",
                                              "warning",
                                              "cdn-cache-control"};
  if (is_hop_by_hop(name)) return false;
  for (std::string_view not_allowed : kNot)
    if (folds_to(name, not_allowed)) return false;
  return true;
}

void ChunkedDecoder::reset() {
  state_ = State::kSizeStart;
  left_ = 0;
  digits_ = line_ = extensions_ = trailer_bytes_ = 0;
  trailer_.clear();
  kept_trailers_.clear();
}

ChunkedDecoder::Step ChunkedDecoder::bad(const char* why) {
  return {.kind = Step::Kind::kBad, .consumed = 0, .data = {}, .why = why};
}

// A chunk's size line: 1*HEXDIG [extensions] CR LF. Ends in kData, or in kTrailer for the last
// chunk.
ChunkedDecoder::Step ChunkedDecoder::size_line(std::string_view input) {
  for (std::size_t i = 0; i < input.size(); ++i) {
    const char c = input[i];
    if (++line_ > kSizeLineMax) return bad("a chunk's line is too long");
    switch (state_) {
      case State::kSizeStart:
      case State::kSize:
        if (const int digit = hex_digit(c); digit >= 0) {
          if (++digits_ > 15) return bad("a chunk's size is too large");
          left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
          state_ = State::kSize;
        } else if (state_ == State::kSize && c == ';') {
          state_ = State::kExtension;
        } else if (state_ == State::kSize && c == '\r') {
          state_ = State::kSizeLf;
        } else {
          return bad("a chunk's size is no number");
        }
        break;
      case State::kExtension:
        if (c == '\r') {
          state_ = State::kSizeLf;
        } else if (!is(c, kValueChar)) {
          return bad("a control character in a chunk extension");
        } else if (++extensions_ > kExtensionsMax) {
          return bad("too many chunk extensions");
        }
        break;
      default:  // kSizeLf
        if (c != '\n') return bad("a chunk's line ends without LF");
        state_ = left_ == 0 ? State::kTrailer : State::kData;
        return {.kind = Step::Kind::kMore, .consumed = i + 1};
    }
  }
  return {.kind = Step::Kind::kMore, .consumed = input.size()};
}

ChunkedDecoder::Step ChunkedDecoder::trailer(std::string_view input) {
  std::size_t used = 0;
  while (used < input.size()) {
    const void* found = std::memchr(input.data() + used, '\n', input.size() - used);
    const std::size_t end =
        found == nullptr
            ? input.size()
            : static_cast<std::size_t>(static_cast<const char*>(found) - input.data()) + 1;
    const std::size_t from = std::exchange(used, end);
    trailer_.append(input.substr(from, end - from));
    trailer_bytes_ += end - from;
    if (trailer_bytes_ > kTrailerBytesMax) return bad("the trailer section is too large");
    if (found == nullptr) break;
    if (trailer_.size() < 2 || trailer_[trailer_.size() - 2] != '\r')
      return bad("a line ends without CR");
    std::string_view line(trailer_.data(), trailer_.size() - 2);
    if (line.empty()) {
      state_ = State::kDone;
      return {.kind = Step::Kind::kEnd, .consumed = used};
    }
    Field field;
    if (const char* why = parse_field(line, field)) return bad(why);
    if (allowed_in_trailer(field.name)) {
      kept_trailers_.append(field.name).append(": ").append(field.value).append("\r\n");
    }
    trailer_.clear();
  }
  return {.kind = Step::Kind::kMore, .consumed = input.size()};
}

ChunkedDecoder::Step ChunkedDecoder::next(std::string_view input) {
  std::size_t used = 0;
  while (used < input.size()) {
    std::string_view rest = input.substr(used);
    switch (state_) {
      case State::kSizeStart:
      case State::kSize:
      case State::kExtension:
      case State::kSizeLf: {
        Step step = size_line(rest);
        if (step.kind == Step::Kind::kBad) return step;
        used += step.consumed;
        break;
      }
      case State::kData: {
        const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size()));
        left_ -= n;
        if (left_ == 0) state_ = State::kDataCr;
        return {.kind = Step::Kind::kData, .consumed = used + n, .data = rest.substr(0, n)};
      }
      case State::kDataCr:
        if (rest.front() != '\r') return bad("a chunk is longer than its size");
        state_ = State::kDataLf;
        ++used;
        break;
      case State::kDataLf:
        if (rest.front() != '\n') return bad("a chunk is longer than its size");
        state_ = State::kSizeStart;
        digits_ = line_ = 0;
        ++used;
        break;
      case State::kTrailer: {
        Step step = trailer(rest);
        step.consumed += used;
        return step;
      }
      case State::kDone:
        return {.kind = Step::Kind::kEnd, .consumed = used};
    }
  }
  return {.kind = Step::Kind::kMore, .consumed = used};
}

}  // namespace leeward::edge
