#include "dns/internal/rdata.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>

#include "dns/wire.h"

namespace leeward::dns::internal {
namespace {

struct TypeRow {
  RecordType type;
  std::uint16_t wire;
  std::string_view name;
};
constexpr std::array<TypeRow, 8> kTypes{{{RecordType::kA, kTypeA, "A"},
                                         {RecordType::kAaaa, kTypeAaaa, "AAAA"},
                                         {RecordType::kNs, kTypeNs, "NS"},
                                         {RecordType::kCname, kTypeCname, "CNAME"},
                                         {RecordType::kTxt, kTypeTxt, "TXT"},
                                         {RecordType::kMx, kTypeMx, "MX"},
                                         {RecordType::kSrv, kTypeSrv, "SRV"},
                                         {RecordType::kCaa, kTypeCaa, "CAA"}}};

const TypeRow& row(RecordType type) {
  for (const TypeRow& r : kTypes)
    if (r.type == type) return r;
  return kTypes[0];
}

// Takes the next word, separated by blanks, off the front of `text`.
std::string_view take_word(std::string_view& text) {
  auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) begin = text.size();
  auto end = std::min(text.find_first_of(" \t", begin), text.size());
  std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

bool blank(std::string_view text) {
  return text.find_first_not_of(" \t") == std::string_view::npos;
}

Result<std::uint16_t> take_number(std::string_view& text, unsigned max, std::string_view what) {
  std::string_view word = take_word(text);
  unsigned value = 0;
  auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || rest != word.data() + word.size() || value > max)
    return fail(Code::kInvalid, "'{}' is not a {} from 0 to {}", word, what, max);
  return static_cast<std::uint16_t>(value);
}

Result<Rdata> parse_address(int family, std::size_t size, std::string_view value) {
  std::array<char, 16> octets{};
  if (::inet_pton(family, std::string(value).c_str(), octets.data()) != 1)
    return fail(Code::kInvalid, "'{}' is not an IPv{} address", value, family == AF_INET ? 4 : 6);
  return Rdata{std::string(octets.data(), size), std::nullopt, false};
}

// One quoted string off the front of `text`, which starts with a quote; escapes are resolved.
Result<std::string> take_quoted(std::string_view& text) {
  std::string out;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return out;
    }
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) break;
    unsigned code = 0;
    auto [rest, error] = std::from_chars(&text[i], &text[std::min(i + 3, text.size() - 1)], code);
    if (error == std::errc{} && rest == &text[i] + 3 && code <= 255) {
      out += static_cast<char>(code);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return fail(Code::kInvalid, "a quoted text has no closing quote");
}

Result<Rdata> parse_txt(std::string_view value) {
  Rdata data;
  auto append_string = [&](std::string_view text) {
    data.head += static_cast<char>(text.size());
    data.head += text;
  };
  if (value.empty() || value.front() != '"') {
    do {
      append_string(value.substr(0, 255));
      value.remove_prefix(std::min<std::size_t>(255, value.size()));
    } while (!value.empty());
    return data;
  }
  while (!blank(value)) {
    value.remove_prefix(value.find_first_not_of(" \t"));
    if (value.front() != '"')
      return fail(Code::kInvalid, "text outside of the quotes: '{}'", value);
    auto text = take_quoted(value);
    if (!text) return fail(text.error());
    if (text->size() > 255)
      return fail(Code::kInvalid, "a quoted text is longer than 255 octets; split it in several");
    append_string(*text);
  }
  return data;
}

Result<Rdata> parse_caa(std::string_view value) {
  auto flags = take_number(value, 255, "CAA flags octet");
  if (!flags) return fail(flags.error());
  std::string_view tag = take_word(value);
  bool plain = !tag.empty() && tag.size() <= 255;
  for (char c : tag) plain = plain && std::isalnum(static_cast<unsigned char>(c)) != 0;
  if (!plain)
    return fail(Code::kInvalid, "'{}' is not a CAA tag; write issue, issuewild or iodef", tag);
  if (blank(value))
    return fail(Code::kInvalid, "a CAA record needs a value: 0 issue \"ca.example\"");
  value.remove_prefix(value.find_first_not_of(" \t"));
  std::string text(value);
  if (value.front() == '"') {
    auto quoted = take_quoted(value);
    if (!quoted) return fail(quoted.error());
    if (!blank(value)) return fail(Code::kInvalid, "text after the CAA value: '{}'", value);
    text = *quoted;
  }
  Rdata data;
  data.head += static_cast<char>(*flags);
  data.head += static_cast<char>(tag.size());
  data.head += tag;
  data.head += text;
  return data;
}

// `fields` 16-bit numbers, then a name: CNAME and NS (0), MX (1), SRV (3).
Result<Rdata> parse_with_target(std::string_view value, int fields, bool compressible,
                                std::string_view zone_name) {
  Rdata data;
  for (int i = 0; i < fields; ++i) {
    auto number = take_number(value, 65535, "number");
    if (!number) return fail(number.error());
    append16(data.head, *number);
  }
  auto target = parse_target(take_word(value), zone_name);
  if (!target) return fail(target.error());
  if (!blank(value)) return fail(Code::kInvalid, "text after the name: '{}'", value);
  data.target = *target;
  data.compressible = compressible;
  return data;
}

}  // namespace

std::uint16_t wire_type(RecordType type) { return row(type).wire; }
std::string_view type_name(RecordType type) { return row(type).name; }

Result<std::string> parse_target(std::string_view text, std::string_view zone_name) {
  if (text == "@") return std::string(zone_name);
  auto name = name_from_text(text);
  if (!name || text.find('.') != std::string_view::npos) return name;
  name->pop_back();
  *name += zone_name;
  if (name->size() > kNameMax) return fail(Code::kInvalid, "'{}' is too long a name", text);
  return name;
}

Result<Rdata> parse_rdata(RecordType type, std::string_view value, std::string_view zone_name) {
  switch (type) {
    case RecordType::kA:
      return parse_address(AF_INET, 4, value);
    case RecordType::kAaaa:
      return parse_address(AF_INET6, 16, value);
    case RecordType::kNs:
    case RecordType::kCname:
      return parse_with_target(value, 0, true, zone_name);
    case RecordType::kMx:
      return parse_with_target(value, 1, true, zone_name);
    case RecordType::kSrv:
      return parse_with_target(value, 3, false, zone_name);
    case RecordType::kTxt:
      return parse_txt(value);
    case RecordType::kCaa:
      return parse_caa(value);
  }
  return fail(Code::kInternal, "a record type without a parser");
}

}  // namespace leeward::dns::internal
