#include "dns/wire.h"

#include <algorithm>
#include <optional>

namespace leeward::dns {
namespace {

constexpr std::uint8_t kQrBit = 0x80;
constexpr std::uint8_t kOpcodeMask = 0x78;
constexpr std::size_t kRecordFixedSize = 10;  // type, class, TTL, rdlength

bool parse_question_name(std::span<const std::uint8_t> message, QueryName& name) {
  std::size_t at = kHeaderSize;
  std::size_t copied = 0;
  name.labels = 0;
  for (;;) {
    if (at >= message.size()) return false;
    std::size_t label = message[at];
    // Pointers cannot help in the first name of a message, and the two other codes are unassigned.
    if (label > kLabelMax) return false;
    if (copied + 1 + label > kNameMax || at + 1 + label > message.size()) return false;
    name.label_at[name.labels] = static_cast<std::uint8_t>(copied);
    for (std::size_t i = 0; i <= label; ++i) name.lower[copied++] = to_lower(message[at++]);
    if (label == 0) break;
    ++name.labels;
  }
  name.length = static_cast<std::uint8_t>(copied);
  return true;
}

// Offset after the possibly compressed name at `at`.
std::optional<std::size_t> skip_name(std::span<const std::uint8_t> message, std::size_t at) {
  while (at < message.size()) {
    std::size_t label = message[at];
    if (label == 0) return at + 1;
    if ((label & 0xc0) == 0xc0) return at + 2;
    if (label > kLabelMax) return std::nullopt;
    at += 1 + label;
  }
  return std::nullopt;
}

bool options_add_up(std::span<const std::uint8_t> options) {
  while (!options.empty()) {
    if (options.size() < 4) return false;
    std::size_t length = load16(&options[2]);
    if (options.size() < 4 + length) return false;
    options = options.subspan(4 + length);
  }
  return true;
}

// Walks all records after the question; takes the OPT out of the additional section.
bool parse_records(std::span<const std::uint8_t> message, Query& query) {
  const std::size_t before_additional =
      std::size_t{load16(&message[6])} + std::size_t{load16(&message[8])};
  const std::size_t total = before_additional + load16(&message[10]);
  std::size_t at = query.question_end;
  for (std::size_t i = 0; i < total; ++i) {
    auto fixed = skip_name(message, at);
    if (!fixed || *fixed + kRecordFixedSize > message.size()) return false;
    const std::uint8_t* record = &message[*fixed];
    std::size_t data_at = *fixed + kRecordFixedSize;
    std::size_t data_size = load16(record + 8);
    if (data_at + data_size > message.size()) return false;
    if (load16(record) == kTypeOpt) {
      bool owner_is_root = *fixed == at + 1;
      if (i < before_additional || query.edns || !owner_is_root) return false;
      if (!options_add_up(message.subspan(data_at, data_size))) return false;
      query.edns = true;
      query.edns_udp_size = load16(record + 2);
      query.edns_version = record[5];
      query.dnssec_ok = (record[6] & 0x80) != 0;
    }
    at = data_at + data_size;
  }
  return at == message.size();
}

// One octet of a name's text, an escape resolved; advances `at`. Nothing for a broken escape.
std::optional<char> unescape(std::string_view text, std::size_t& at) {
  if (text[at] != '\\') return text[at++];
  auto digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  if (at + 1 >= text.size()) return std::nullopt;
  if (!digit(at + 1)) {
    at += 2;
    return text[at - 1];
  }
  if (!digit(at + 2) || !digit(at + 3)) return std::nullopt;
  int value = (text[at + 1] - '0') * 100 + (text[at + 2] - '0') * 10 + (text[at + 3] - '0');
  if (value > 255) return std::nullopt;
  at += 4;
  return static_cast<char>(value);
}

}  // namespace

void append16(std::string& out, std::uint16_t v) {
  out += static_cast<char>(v >> 8);
  out += static_cast<char>(v);
}

void append32(std::string& out, std::uint32_t v) {
  append16(out, static_cast<std::uint16_t>(v >> 16));
  append16(out, static_cast<std::uint16_t>(v));
}

std::string lower_name(std::string_view wire_name) {
  std::string lower(wire_name);
  for (char& c : lower) c = static_cast<char>(to_lower(static_cast<std::uint8_t>(c)));
  return lower;
}

Result<std::string> name_from_text(std::string_view text) {
  if (text == ".") return std::string(1, '\0');
  if (text.empty()) return fail(Code::kInvalid, "an empty name is not a domain name");
  std::string wire;
  std::string label;
  auto close_label = [&]() -> Status {
    if (label.empty()) return fail(Code::kInvalid, "'{}' has an empty label", text);
    if (label.size() > kLabelMax)
      return fail(Code::kInvalid, "a label of '{}' is longer than {} octets", text, kLabelMax);
    wire += static_cast<char>(label.size());
    wire += label;
    label.clear();
    return {};
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '.') {
      if (auto closed = close_label(); !closed) return fail(closed.error());
      ++at;
      continue;
    }
    auto octet = unescape(text, at);
    if (!octet) return fail(Code::kInvalid, "'{}' has a broken escape; write \\. or \\DDD", text);
    label += *octet;
  }
  if (!label.empty()) {
    if (auto closed = close_label(); !closed) return fail(closed.error());
  }
  wire += '\0';
  if (wire.size() > kNameMax)
    return fail(Code::kInvalid, "'{}' is longer than {} octets", text, kNameMax);
  return wire;
}

std::string name_to_text(std::string_view wire_name) {
  std::string text;
  while (!wire_name.empty() && wire_name[0] != '\0') {
    auto length = static_cast<std::size_t>(static_cast<unsigned char>(wire_name[0]));
    if (!text.empty()) text += '.';
    for (char c : wire_name.substr(1, length)) {
      auto octet = static_cast<unsigned char>(c);
      if (c == '.' || c == '\\')
        text += fmt::format("\\{}", c);
      else if (octet <= ' ' || octet > '~')
        text += fmt::format("\\{:03}", octet);
      else
        text += c;
    }
    wire_name.remove_prefix(std::min(wire_name.size(), 1 + length));
  }
  return text.empty() ? "." : text;
}

Parsed parse_query(std::span<const std::uint8_t> message, Query& query) {
  if (message.size() < kHeaderSize || (message[2] & kQrBit) != 0) return Parsed::kDrop;
  if ((message[2] & kOpcodeMask) != 0) return Parsed::kNotImp;
  if (load16(&message[4]) != 1) return Parsed::kFormErr;  // exactly one question (RFC 9619)
  if (!parse_question_name(message, query.name)) return Parsed::kFormErr;
  std::size_t at = kHeaderSize + query.name.length;
  if (at + 4 > message.size()) return Parsed::kFormErr;
  query.type = load16(&message[at]);
  query.klass = load16(&message[at + 2]);
  query.question_end = at + 4;
  query.edns = false;
  return parse_records(message, query) ? Parsed::kOk : Parsed::kFormErr;
}

}  // namespace leeward::dns
