#include "waf/spop.h"

#include "base/check.h"

namespace leeward::waf::spop {
namespace {

constexpr std::uint32_t kFin = 1, kAbort = 2;

enum Type : std::uint8_t {
  kNull = 0,
  kBool = 1,
  kInt32 = 2,
  kUint32 = 3,
  kInt64 = 4,
  kUint64 = 5,
  kIpv4 = 6,
  kIpv6 = 7,
  kString = 8,
  kBinary = 9,
};
constexpr std::uint8_t kTrue = 0x10;
constexpr std::uint8_t kSetVariable = 1, kSetVariableArguments = 3, kScopeTransaction = 2;

auto broken() { return fail(Code::kInvalid, "spop: the frame is broken"); }

std::optional<std::string_view> take(std::string_view& bytes, std::uint64_t size) {
  if (size > bytes.size()) return std::nullopt;
  const std::string_view taken = bytes.substr(0, static_cast<std::size_t>(size));
  bytes.remove_prefix(taken.size());
  return taken;
}
std::optional<std::string_view> take_text(std::string_view& bytes) {
  const auto size = take_integer(bytes);
  return size ? take(bytes, *size) : std::nullopt;
}
std::optional<std::uint8_t> take_octet(std::string_view& bytes) {
  const auto octet = take(bytes, 1);
  if (!octet) return std::nullopt;
  return static_cast<std::uint8_t>(octet->front());
}

std::optional<Value> take_value(std::string_view& bytes) {
  const auto type = take_octet(bytes);
  if (!type) return std::nullopt;
  switch (*type & 0x0f) {
    case kNull:
      return Value{};
    case kBool:
      return Value{(*type & kTrue) != 0};
    case kInt32:
    case kUint32:
    case kInt64:
    case kUint64:
      if (const auto n = take_integer(bytes)) return Value{*n};
      return std::nullopt;
    case kIpv4:
    case kIpv6:
      if (const auto octets = take(bytes, (*type & 0x0f) == kIpv4 ? 4 : 16))
        return Value{Address{*octets}};
      return std::nullopt;
    case kString:
    case kBinary:
      if (const auto text = take_text(bytes)) return Value{*text};
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<Argument> take_argument(std::string_view& bytes) {
  const auto name = take_text(bytes);
  if (!name) return std::nullopt;
  auto value = take_value(bytes);
  if (!value) return std::nullopt;
  return Argument{*name, *value};
}

void append_text(std::string& out, std::string_view text) {
  append_integer(out, text.size());
  out += text;
}
void append_named_text(std::string& out, std::string_view name, std::string_view text) {
  append_text(out, name);
  out += static_cast<char>(kString);
  append_text(out, text);
}
void append_named_number(std::string& out, std::string_view name, std::uint64_t number) {
  append_text(out, name);
  out += static_cast<char>(kUint32);
  append_integer(out, number);
}

void append_be32(std::string& out, std::uint64_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

std::string frame_of(FrameType type, std::uint64_t stream, std::uint64_t frame,
                     std::string_view payload) {
  std::string inner(1, static_cast<char>(type));
  append_be32(inner, kFin);
  append_integer(inner, stream);
  append_integer(inner, frame);
  inner += payload;
  std::string out;
  append_be32(out, inner.size());
  return out + inner;
}

}  // namespace

void append_integer(std::string& out, std::uint64_t value) {
  if (value < 240) {
    out += static_cast<char>(value);
    return;
  }
  out += static_cast<char>((value & 0xff) | 240);
  value = (value - 240) >> 4;
  while (value >= 128) {
    out += static_cast<char>((value & 0xff) | 128);
    value = (value - 128) >> 7;
  }
  out += static_cast<char>(value);
}

std::optional<std::uint64_t> take_integer(std::string_view& bytes) {
  auto octet = take_octet(bytes);
  if (!octet) return std::nullopt;
  std::uint64_t value = *octet;
  if (value < 240) return value;
  for (unsigned shift = 4; shift < 64; shift += 7) {
    octet = take_octet(bytes);
    if (!octet) return std::nullopt;
    value += std::uint64_t{*octet} << shift;
    if (*octet < 128) return value;
  }
  return std::nullopt;
}

Result<Frame> read_frame(std::string_view bytes) {
  Frame frame;
  const auto type = take_octet(bytes);
  const auto flags = take(bytes, 4);
  if (!type || !flags) return broken();
  frame.type = static_cast<FrameType>(*type);
  std::uint32_t bits = 0;
  for (char c : *flags) bits = bits << 8 | static_cast<std::uint8_t>(c);
  const auto stream = take_integer(bytes), id = take_integer(bytes);
  if (!stream || !id) return broken();
  if ((bits & kFin) == 0 || (bits & kAbort) != 0)
    return fail(Code::kInvalid, "spop: a fragmented frame, which was not agreed on");
  frame.stream = *stream;
  frame.frame = *id;
  frame.payload = bytes;
  return frame;
}

Result<std::vector<Argument>> read_arguments(std::string_view payload) {
  std::vector<Argument> arguments;
  while (!payload.empty()) {
    auto argument = take_argument(payload);
    if (!argument || arguments.size() == kArgumentsMax) return broken();
    arguments.push_back(*argument);
  }
  return arguments;
}

Result<std::vector<Message>> read_messages(std::string_view payload) {
  std::vector<Message> messages;
  while (!payload.empty()) {
    Message message;
    const auto name = take_text(payload);
    const auto count = take_octet(payload);
    if (!name || !count || *count > kArgumentsMax || messages.size() == kArgumentsMax)
      return broken();
    message.name = *name;
    for (int i = 0; i < *count; ++i) {
      auto argument = take_argument(payload);
      if (!argument) return broken();
      message.arguments.push_back(*argument);
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

Result<std::vector<std::pair<std::string_view, std::string_view>>> read_fields(
    std::string_view bytes) {
  std::vector<std::pair<std::string_view, std::string_view>> fields;
  while (!bytes.empty()) {
    const auto name = take_text(bytes);
    const auto value = name ? take_text(bytes) : std::nullopt;
    if (!value) return broken();
    if (name->empty() && value->empty()) break;
    fields.emplace_back(*name, *value);
  }
  return fields;
}

std::string write_hello(std::uint32_t frame_bytes_max) {
  std::string payload;
  append_named_text(payload, "version", "2.0");
  append_named_number(payload, "max-frame-size", frame_bytes_max);
  append_named_text(payload, "capabilities", "pipelining");
  return frame_of(FrameType::kAgentHello, 0, 0, payload);
}

std::string write_disconnect(std::uint32_t status, std::string_view message) {
  std::string payload;
  append_named_number(payload, "status-code", status);
  append_named_text(payload, "message", message);
  return frame_of(FrameType::kAgentDisconnect, 0, 0, payload);
}

std::string write_ack(std::uint64_t stream, std::uint64_t frame,
                      const std::vector<std::pair<std::string_view, std::string>>& variables) {
  std::string payload;
  for (const auto& [name, value] : variables) {
    payload += static_cast<char>(kSetVariable);
    payload += static_cast<char>(kSetVariableArguments);
    payload += static_cast<char>(kScopeTransaction);
    append_text(payload, name);
    payload += static_cast<char>(kString);
    append_text(payload, value);
  }
  return frame_of(FrameType::kAck, stream, frame, payload);
}

}  // namespace leeward::waf::spop
