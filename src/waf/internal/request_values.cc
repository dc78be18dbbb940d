// The variables that a request and a response give, as libmodsecurity 3.0.9 has them.
#include <algorithm>

#include "base/hex.h"
#include "waf/body_json.h"
#include "waf/body_multipart.h"
#include "waf/body_urlencoded.h"
#include "waf/body_xml.h"
#include "waf/bot_signals.h"
#include "waf/cookies.h"
#include "waf/inflate.h"
#include "waf/internal/content_disposition.h"
#include "waf/internal/runner.h"
#include "waf/operators.h"

namespace leeward::waf {
namespace {

// Without SecArgumentsLimit. A request with more is refused: what is not looked at must not pass.
constexpr std::size_t kArgumentsMax = 20'000;

// %HH only; '+' and malformed escapes stay.
std::string_view percent_decoded(std::string_view text, Arena& arena) {
  if (text.find('%') == std::string_view::npos) return text;
  char* const begin = arena.allocate(text.size());
  char* out = begin;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        *out++ = static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    *out++ = text[i];
  }
  return {begin, static_cast<std::size_t>(out - begin)};
}

// "scheme://host/path" without scheme and host.
std::string_view without_host(std::string_view uri) {
  if (uri.empty() || uri[0] == '/') return uri;
  const std::size_t colon = uri.find(':');
  if (colon == std::string_view::npos || uri.substr(colon + 1, 2) != "//") return uri;
  const std::size_t path = uri.find('/', colon + 3);
  return path == std::string_view::npos ? uri : uri.substr(path);
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && same_ignoring_case(text.substr(0, prefix.size()), prefix);
}

bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }

// What an origin may take for the name of an argument in a body that is not text; empty: nothing.
std::string_view readable_name(std::string_view name) {
  name = name.substr(0, name.find('\0'));  // as PHP does
  const bool text = std::all_of(name.begin(), name.end(), [](char c) {
    return is_printable(c) || static_cast<unsigned char>(c) >= 0x80;
  });
  return text && !first_utf8_fault(name) ? name : std::string_view();
}

// The text in a value that may not be text: all of it when it is, and otherwise its runs of three
// characters and more. Chance makes shorter ones all the time. An attack that is broken up by other
// bytes has to hide them in comments or strings, whose own characters make its pieces longer.
std::string readable_text(std::string_view text) {
  const auto is_text = [](char c) { return is_printable(c) || (c >= '\t' && c <= '\r'); };
  if (std::all_of(text.begin(), text.end(), is_text)) return std::string(text);
  constexpr std::ptrdiff_t kRunMin = 3;
  std::string out;
  for (auto at = text.begin(); at != text.end();) {
    const auto end = std::find_if_not(at, text.end(), is_text);
    if (end - at >= kRunMin) out.append(out.empty() ? "" : " ").append(at, end);
    at = std::find_if(end, text.end(), is_text);
  }
  return out;
}

}  // namespace

void Runner::add(Variable variable, std::string_view name, std::string_view text) {
  ValueList& list = rooms_.lists[index(variable)];
  if (text.data() == nullptr) text = "";
  list.values.push_back({name, text});
  list.columns = nullptr;  // they were made for fewer values
}

void Runner::set(Variable variable, std::string_view text) {
  ValueList& list = rooms_.lists[index(variable)];
  if (text.data() == nullptr) text = "";
  list.values[0] = {{}, text};
  list.columns = nullptr;
}

void Runner::set(Variable variable, std::size_t number) {
  char digits[24];
  const auto end = fmt::format_to_n(digits, sizeof digits, "{}", number);
  set(variable, rooms_.arena.copy({digits, end.size}));
}

void Runner::take_head(const RequestHead& head) {
  country_ = head.country;
  for (const HeaderField& fact : head.facts) rooms_.tx.set(fact.name, fact.value);
  set(Variable::kRemoteAddr, head.client_address);
  set(Variable::kRemoteHost, head.client_address);
  set(Variable::kRemotePort, std::size_t{head.client_port});
  set(Variable::kServerAddr, head.server_address);
  set(Variable::kServerPort, std::size_t{head.server_port});
  set(Variable::kUniqueId, head.unique_id);
  take_target(head);
  for (const HeaderField& field : head.fields) take_field(field);
  set(Variable::kLeewardJa4, head.ja4);
  set(Variable::kLeewardCrawler, head.crawler);
  if (!wanted(Variable::kLeewardBot)) return;
  const std::uint32_t signals = bot_signals(head.fields, head.protocol);
  for (std::size_t i = 0; i < kBotSignals.size(); ++i)
    if ((signals >> i & 1) != 0) add(Variable::kLeewardBot, kBotSignals[i], kBotSignals[i]);
}

void Runner::take_target(const RequestHead& head) {
  Arena& arena = rooms_.arena;
  set(Variable::kRequestMethod, head.method);
  set(Variable::kRequestUriRaw, head.target);
  const std::string_view protocol = arena.join("HTTP/", head.protocol, "");
  set(Variable::kRequestProtocol, protocol);
  if (wanted(Variable::kRequestLine))
    set(Variable::kRequestLine,
        arena.join(arena.join(head.method, " ", head.target), " ", protocol));
  // A fragment is only kept in what is raw.
  const std::string_view target = head.target.substr(0, head.target.find('#'));
  const std::string_view decoded = percent_decoded(target, arena);
  const std::string_view path = decoded.substr(0, decoded.find('?'));
  set(Variable::kRequestUri, without_host(decoded));
  set(Variable::kRequestFilename, path);
  set(Variable::kPathInfo, path);
  const std::size_t slash = path.find_last_of("/\\");
  if (slash != std::string_view::npos && slash + 1 < path.size())
    set(Variable::kRequestBasename, path.substr(slash + 1));
  const std::size_t question = target.find('?');
  if (question != std::string_view::npos) {
    set(Variable::kQueryString, target.substr(question + 1));
    take_arguments(target.substr(question + 1), false);
  }
}

void Runner::take_field(const HeaderField& field) {
  add(Variable::kRequestHeaders, field.name, field.value);
  add(Variable::kRequestHeadersNames, field.name, field.name);
  switch (field.name.size()) {
    case 4:
      if (same_ignoring_case(field.name, "host"))
        set(Variable::kServerName, field.value.substr(0, field.value.find(':')));
      break;
    case 6:
      if (same_ignoring_case(field.name, "cookie")) take_cookies(field.value);
      break;
    case 12:
      if (!same_ignoring_case(field.name, "content-type")) break;
      ++content_types_;
      content_type_ = field.value;
      if (starts_with_ignoring_case(field.value, "multipart/form-data")) {
        body_processor_ = "MULTIPART";
        set(Variable::kReqbodyProcessor, body_processor_);
      } else if (starts_with_ignoring_case(field.value, "application/x-www-form-urlencoded")) {
        body_processor_ = "URLENCODED";
        set(Variable::kReqbodyProcessor, body_processor_);
      }
      break;
    case 16:
      if (same_ignoring_case(field.name, "content-encoding"))
        content_coding_ = content_coding_.empty()
                              ? trimmed(field.value)
                              : rooms_.arena.join(content_coding_, ", ", trimmed(field.value));
      break;
    case 13:
      if (same_ignoring_case(field.name, "authorization")) {
        set(Variable::kAuthType, field.value.substr(0, field.value.find(' ')));
        if (!starts_with_ignoring_case(field.value, "Basic ")) break;
        std::string user(field.value.substr(6));
        apply(Transform::kBase64Decode, user);
        set(Variable::kRemoteUser, rooms_.arena.copy(user.substr(0, user.find(':'))));
      }
      break;
    default:
      break;
  }
}

void Runner::take_cookies(std::string_view text) {
  FieldList& cookies = rooms_.cookies;
  cookies.clear();
  if (!parse_cookies(text, cookies, kArgumentsMax)) refuse_body();
  for (const Field cookie : cookies) {
    const std::string_view name = rooms_.arena.copy(cookie.name);
    add(Variable::kRequestCookies, name, rooms_.arena.copy(cookie.value));
    add(Variable::kRequestCookiesNames, name, name);
  }
}

void Runner::add_argument(std::string_view name, std::string_view text, bool post) {
  const std::size_t bound = program_.settings.arguments_max;
  const std::size_t count = rooms_.lists[index(Variable::kArgs)].values.size();
  if (bound > 0 && count >= bound) return;  // as the rules' author has said
  if (count >= kArgumentsMax && bound == 0) {
    refuse_body();
    return;
  }
  add(Variable::kArgs, name, text);
  add(Variable::kArgsNames, name, name);
  add(post ? Variable::kArgsPost : Variable::kArgsGet, name, text);
  add(post ? Variable::kArgsPostNames : Variable::kArgsGetNames, name, name);
  arguments_bytes_ += name.size() + text.size();
}

void Runner::take_arguments(std::string_view text, bool post) {
  FieldList& fields = post ? rooms_.body_fields : rooms_.query_fields;
  fields.clear();
  BodyLimits bounds;
  bounds.fields_max = 10 * kArgumentsMax;  // the bound is add_argument's
  bounds.text_bytes_max = text.size() + 1;
  const Urlencoded read =
      parse_urlencoded(text, fields, bounds, program_.settings.argument_separator);
  if (read.invalid_escape) set(Variable::kUrlencodedError, "1");
  if (read.error) refuse_body();
  for (const Field field : fields) add_argument(field.name, field.value, post);
  set(Variable::kArgsCombinedSize, arguments_bytes_);
}

void Runner::body_error(std::string_view what, std::string_view why) {
  const std::string_view message = rooms_.arena.join(what, ": ", why);
  set(Variable::kReqbodyError, "1");
  set(Variable::kReqbodyErrorMsg, message);
  set(Variable::kReqbodyProcessorError, "1");
  set(Variable::kReqbodyProcessorErrorMsg, message);
}

void Runner::take_json(std::string_view body) {
  BodyLimits bounds;
  bounds.fields_max = 10 * kArgumentsMax;
  bounds.depth_max = program_.settings.json_depth_max;
  rooms_.body_fields.clear();
  JsonBody json(rooms_.body_fields, bounds);
  json.feed(body);
  json.finish();
  for (const Field field : rooms_.body_fields) add_argument(field.name, field.value, true);
  set(Variable::kArgsCombinedSize, arguments_bytes_);
  if (json.error() && !body.empty()) body_error("JSON parsing error", json.error()->message);
}

void Runner::take_xml(std::string_view body) {
  XmlBody xml({});
  xml.feed(body);
  xml.finish();
  add(Variable::kXml, "/*", rooms_.arena.copy(xml.text()));
  for (const std::string& attribute : xml.attributes())
    add(Variable::kXml, "//@*", rooms_.arena.copy(attribute));
  if (xml.error()) body_error("XML parsing error", xml.error()->message);
}

void Runner::take_multipart(std::string_view body) {
  BodyLimits bounds;
  bounds.fields_max = 10 * kArgumentsMax;
  MultipartBody multipart(content_type_, bounds);
  multipart.feed(body);
  multipart.finish();
  const MultipartResult& parts = multipart.result();
  add_parts(parts);
  set(Variable::kFilesCombinedSize, parts.files_bytes);
  const MultipartFlags& flags = parts.flags;
  const auto flag = [&](Variable variable, bool value) { set(variable, value ? "1" : "0"); };
  flag(Variable::kMultipartBoundaryQuoted, flags.boundary_quoted);
  flag(Variable::kMultipartBoundaryWhitespace, flags.boundary_whitespace);
  flag(Variable::kMultipartDataBefore, flags.data_before);
  flag(Variable::kMultipartDataAfter, flags.data_after);
  flag(Variable::kMultipartHeaderFolding, flags.header_folding);
  flag(Variable::kMultipartLfLine, flags.lf_line);
  flag(Variable::kMultipartCrlfLfLines, flags.crlf_lf_lines());
  flag(Variable::kMultipartMissingSemicolon, flags.missing_semicolon);
  flag(Variable::kMultipartInvalidQuoting, flags.invalid_quoting);
  flag(Variable::kMultipartInvalidPart, flags.invalid_part);
  flag(Variable::kMultipartInvalidHeaderFolding, flags.invalid_header_folding);
  flag(Variable::kMultipartFileLimitExceeded, flags.file_limit_exceeded);
  set(Variable::kMultipartUnmatchedBoundary, static_cast<std::size_t>(flags.unmatched_boundary));
  flag(Variable::kMultipartStrictError, flags.strict_error());
  if (multipart.error()) body_error("Multipart parsing error", multipart.error()->message);
}

void Runner::add_parts(const MultipartResult& parts) {
  Arena& arena = rooms_.arena;
  for (const Field field : parts.arguments)
    add_argument(arena.copy(field.name), arena.copy(field.value), true);
  set(Variable::kArgsCombinedSize, arguments_bytes_);
  for (const MultipartFile& file : parts.files) {
    const std::string_view name = arena.copy(file.field);
    add(Variable::kFiles, name, arena.copy(file.filename));
    add(Variable::kFilesNames, name, name);
    add(Variable::kFilesSizes, name, arena.copy(std::to_string(file.bytes)));
  }
  const auto add_all = [&](Variable variable, const FieldList& list) {
    for (const Field field : list) add(variable, arena.copy(field.name), arena.copy(field.value));
  };
  add_all(Variable::kMultipartPartHeaders, parts.part_headers);
  add_all(Variable::kMultipartName, parts.names);
  add_all(Variable::kMultipartFilename, parts.filenames);
}

bool Runner::refuse_body() {
  set(Variable::kInboundDataError, "1");
  if (engine_ != Engine::kOn) return false;
  intervention.due = true;
  intervention.status = 413;
  return true;
}

bool Runner::refuse_coded(int status, std::string why) {
  set(Variable::kInboundDataError, "1");
  if (engine_ != Engine::kOn || program_.settings.coded_body != CodedBody::kRefused) return false;
  intervention.due = true;
  intervention.status = status;
  intervention.why = std::move(why);
  return true;
}

std::optional<Runner::Readings> Runner::unpack(std::string_view body, bool whole) {
  if (program_.settings.coded_body == CodedBody::kAsSent || body.empty() ||
      content_coding_.empty() || same_ignoring_case(content_coding_, "identity"))
    return Readings{.body = body};
  const auto coding = content_coding_named(content_coding_);
  if (!coding) {
    if (refuse_coded(415, fmt::format("the coding of the body is not known: {}", content_coding_)))
      return std::nullopt;
    return Readings{.body = body};
  }
  const std::size_t most = program_.settings.request_body_bytes_max;
  Inflate inflate(*coding, {.output_bytes_max = most, .only_data = true});
  rooms_.unpacked.clear();
  const bool good = inflate.feed(body, rooms_.unpacked) && (!whole || inflate.finish());
  if (!good && refuse_coded(inflate.at_limit() ? 413 : 400,
                            "the body cannot be unpacked: " + inflate.error()->message))
    return std::nullopt;
  const std::string_view unpacked = std::string_view(rooms_.unpacked).substr(0, most);
  if (good || inflate.at_limit()) return Readings{.body = unpacked, .other = body};
  return Readings{.body = body, .other = unpacked};  // it is not what its field says
}

void Runner::take_body(std::string_view body) {
  body_ = body;
  set(Variable::kReqbodyError, "0");
  set(Variable::kReqbodyProcessorError, "0");
  // A field that may be there once (RFC 9110 §5.3): which of them an origin goes by, nobody knows.
  if (content_types_ > 1) body_error("Request body", "there is more than one Content-Type");
  const std::size_t no_files = program_.settings.request_body_no_files_max;
  const bool with_files = body_processor_ == "MULTIPART";
  if (no_files > 0 && body.size() > no_files && !with_files && !body_processor_.empty()) {
    body_error("Request body", "excluding files, it is larger than SecRequestBodyNoFilesLimit");
    set(Variable::kInboundDataError, "1");
  } else if (body_processor_ == "XML") {
    take_xml(body);
  } else if (body_processor_ == "JSON") {
    take_json(body);
  } else if (with_files) {
    take_multipart(body);
  } else if (body_processor_ == "URLENCODED") {
    take_arguments(body, true);
  }
  if (!body.empty()) {
    set(Variable::kRequestBody, body);
    set(Variable::kRequestBodyLength, body.size());
  }
  if (!wanted(Variable::kFullRequest) && !wanted(Variable::kFullRequestLength)) return;
  std::string whole;
  for (const Value& field : rooms_.lists[index(Variable::kRequestHeaders)].values)
    whole.append(field.name).append(": ").append(field.text).append("\n");
  whole.append("\n\n").append(body);
  set(Variable::kFullRequest, rooms_.arena.copy(whole));
  set(Variable::kFullRequestLength, whole.size());
}

// Packed bytes are no text, but a sender can make any text of them: not only beside the data, but
// by the choice of its Huffman codes and of where its blocks begin. Chance makes an argument with a
// readable name of some 40,000 bytes, and what is text in its value is seldom what rules look for.
// JSON and XML are text from their first byte, and parts begin with the boundary: chance makes none
// of them. So rules look at what is there, and that the rest is malformed is no error.
void Runner::take_other_reading(std::string_view body) {
  if (body.empty()) return;
  BodyLimits bounds;
  bounds.fields_max = 10 * kArgumentsMax;
  FieldList fields;
  if (body_processor_ == "XML") {
    XmlBody xml({});
    if (xml.feed(body)) xml.finish();
    if (!xml.text().empty()) add(Variable::kXml, "/*", rooms_.arena.copy(xml.text()));
    for (const std::string& attribute : xml.attributes())
      add(Variable::kXml, "//@*", rooms_.arena.copy(attribute));
  } else if (body_processor_ == "JSON") {
    bounds.depth_max = program_.settings.json_depth_max;
    JsonBody json(fields, bounds);
    if (json.feed(body)) json.finish();
  } else if (body_processor_ == "MULTIPART") {
    take_other_parts(body);
  } else if (body_processor_ == "URLENCODED") {
    bounds.text_bytes_max = body.size() + 1;
    if (parse_urlencoded(body, fields, bounds, program_.settings.argument_separator).error)
      refuse_body();
  }
  for (const Field field : fields) add_readable(field.name, field.value);
  set(Variable::kArgsCombinedSize, arguments_bytes_);
}

void Runner::take_other_parts(std::string_view body) {
  BodyLimits bounds;
  bounds.fields_max = 10 * kArgumentsMax;
  MultipartBody multipart(content_type_, bounds);
  multipart.feed(body);
  // Some origins take a part that does not end; what stands before and behind them nobody minds.
  multipart.feed("\r\n--" + read_boundary(content_type_).boundary + "--\r\n");
  multipart.finish();
  const MultipartResult& parts = multipart.result();
  if (parts.names.empty()) return;
  add_parts(parts);
  MultipartFlags flags = parts.flags;
  flags.data_before = flags.data_after = false;
  constexpr std::string_view kWhy = "the packed body has parts that cannot be read";
  if ((multipart.error() || flags.strict_error()) && !refuse_coded(400, std::string(kWhy)))
    body_error("Multipart parsing error", kWhy);
}

void Runner::add_readable(std::string_view name, std::string_view text) {
  name = readable_name(name);
  if (!name.empty())
    add_argument(rooms_.arena.copy(name), rooms_.arena.copy(readable_text(text)), true);
}

void Runner::take_response_head(int status, std::string_view protocol,
                                std::span<const HeaderField> fields) {
  set(Variable::kResponseStatus, static_cast<std::size_t>(status));
  set(Variable::kResponseProtocol, rooms_.arena.join("HTTP/", protocol, ""));
  for (const HeaderField& field : fields) {
    add(Variable::kResponseHeaders, field.name, field.value);
    add(Variable::kResponseHeadersNames, field.name, field.name);
    if (same_ignoring_case(field.name, "content-type"))
      set(Variable::kResponseContentType, field.value.substr(0, field.value.find(';')));
    if (same_ignoring_case(field.name, "content-length"))
      set(Variable::kResponseContentLength, field.value);
  }
}

void Runner::take_response_body(std::string_view body) {
  set(Variable::kResponseBody, body);
  set(Variable::kResponseContentLength, body.size());
}

}  // namespace leeward::waf
