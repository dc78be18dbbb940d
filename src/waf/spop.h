// HAProxy's Stream Processing Offload Protocol, version 2.0 (haproxy/doc/SPOE.txt): frames as an
// agent reads and writes them. Pure; every reader takes bytes that may be anything.
//
//   frame := length (4 octets, big-endian) type flags (4 octets) stream-id frame-id payload
//
// An agent answers HELLO with HELLO, then each NOTIFY with an ACK of the same ids. Fragmented
// frames are not offered (the capability is not announced), so none comes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace leeward::waf::spop {

inline constexpr std::size_t kFrameBytesMax = 16u << 20;  // that we take; HAProxy sends what we say
inline constexpr std::size_t kArgumentsMax = 64;          // of one message

enum class FrameType : std::uint8_t {
  kHaproxyHello = 1,
  kHaproxyDisconnect = 2,
  kNotify = 3,
  kAgentHello = 101,
  kAgentDisconnect = 102,
  kAck = 103,
};

struct Frame {
  FrameType type = FrameType::kNotify;
  std::uint64_t stream = 0, frame = 0;
  std::string_view payload;  // into the bytes that it was read from
};

// A frame without its length. kInvalid: it is none, or fragmented.
Result<Frame> read_frame(std::string_view bytes);

// Addresses as their 4 or 16 octets.
struct Address {
  std::string_view octets;
};
using Value =
    std::variant<std::monostate, bool, std::uint64_t, Address, std::string_view>;  // int: two's
                                                                                   // complement
struct Argument {
  std::string_view name;
  Value value;
};
struct Message {
  std::string_view name;
  std::vector<Argument> arguments;
};

Result<std::vector<Argument>> read_arguments(std::string_view payload);  // HELLO, DISCONNECT
Result<std::vector<Message>> read_messages(std::string_view payload);    // NOTIFY
// req.hdrs_bin: names and values, ended by a pair of empty ones.
Result<std::vector<std::pair<std::string_view, std::string_view>>> read_fields(
    std::string_view bytes);

// Whole frames, with their length.
std::string write_hello(std::uint32_t frame_bytes_max);
std::string write_disconnect(std::uint32_t status, std::string_view message);
// Sets variables of the transaction (txn.PREFIX.NAME).
std::string write_ack(std::uint64_t stream, std::uint64_t frame,
                      const std::vector<std::pair<std::string_view, std::string>>& variables);

// The variable-length integers of the protocol.
void append_integer(std::string& out, std::uint64_t value);
std::optional<std::uint64_t> take_integer(std::string_view& bytes);

}  // namespace leeward::waf::spop
