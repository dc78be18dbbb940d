#include "edge/grpc_health.h"

#include <array>
#include <cstdint>
#include <optional>

#include "base/check.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kFrameHead = 5;         // compressed flag, length
constexpr std::uint8_t kServiceField = 0x0a;  // field 1, length-delimited
constexpr std::uint64_t kStatusField = 0x08;  // field 1, varint
// ServingStatus
constexpr std::array<std::string_view, 4> kNames = {"UNKNOWN", "SERVING", "NOT_SERVING",
                                                    "SERVICE_UNKNOWN"};
constexpr std::uint64_t kServing = 1;

std::optional<std::uint64_t> take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto octet = static_cast<std::uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{octet & 0x7fu} << shift;
    if ((octet & 0x80) == 0) return value;
  }
  return std::nullopt;
}

// Skips the value of a field of that tag; false when there is none.
bool skip_value(std::uint64_t tag, std::string_view& bytes) {
  std::uint64_t size = 0;
  switch (tag & 7) {
    case 0:
      return take_varint(bytes).has_value();
    case 1:
      size = 8;
      break;
    case 2: {
      const auto said = take_varint(bytes);
      if (!said) return false;
      size = *said;
      break;
    }
    case 5:
      size = 4;
      break;
    default:
      return false;
  }
  if (size > bytes.size()) return false;
  bytes.remove_prefix(static_cast<std::size_t>(size));
  return true;
}

// The enum of a HealthCheckResponse; 0 when it is left out, as protobuf does with the first value.
std::optional<std::uint64_t> serving_status(std::string_view message) {
  std::uint64_t status = 0;
  while (!message.empty()) {
    const auto tag = take_varint(message);
    if (!tag) return std::nullopt;
    if (*tag == kStatusField) {
      const auto value = take_varint(message);
      if (!value) return std::nullopt;
      status = *value;
    } else if (!skip_value(*tag, message)) {
      return std::nullopt;
    }
  }
  return status;
}

}  // namespace

std::string grpc_health_request(std::string_view service) {
  LEEWARD_CHECK(service.size() <= 0xffff);
  std::string message;
  if (!service.empty()) {
    message += static_cast<char>(kServiceField);
    std::size_t size = service.size();
    for (; size > 0x7f; size >>= 7) message += static_cast<char>(0x80 | (size & 0x7f));
    message += static_cast<char>(size);
    message += service;
  }
  std::string framed(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8)
    framed += static_cast<char>(message.size() >> shift & 0xff);
  return framed + message;
}

Status grpc_serves(std::string_view body, std::string_view grpc_status) {
  if (grpc_status.empty()) return fail(Code::kCorrupt, "the answer is not gRPC: no grpc-status");
  if (grpc_status != "0")
    return fail(Code::kUnavailable, "grpc-status {}", grpc_status.substr(0, 16));
  if (body.size() < kFrameHead || body[0] != '\0')
    return fail(Code::kCorrupt, "the answer has no plain gRPC message");
  std::size_t size = 0;
  for (std::size_t i = 1; i < kFrameHead; ++i)
    size = size << 8 | static_cast<std::uint8_t>(body[i]);
  if (size != body.size() - kFrameHead)
    return fail(Code::kCorrupt, "the answer's message is not as long as it says");
  const auto status = serving_status(body.substr(kFrameHead));
  if (!status) return fail(Code::kCorrupt, "the answer is no HealthCheckResponse");
  if (*status == kServing) return {};
  if (*status < kNames.size()) return fail(Code::kUnavailable, "{}", kNames[*status]);
  return fail(Code::kUnavailable, "serving status {}", *status);
}

}  // namespace leeward::edge
