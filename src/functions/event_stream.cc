#include "functions/event_stream.h"

#include <zlib.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "functions/base64.h"

namespace leeward::functions {
namespace {

constexpr char kStringType = 7;

void put16(std::string& out, std::size_t n) {
  out += static_cast<char>(n >> 8 & 0xff);
  out += static_cast<char>(n & 0xff);
}
void put32(std::string& out, std::uint64_t n) {
  put16(out, n >> 16 & 0xffff);
  put16(out, n & 0xffff);
}
void put_checksum(std::string& out) {
  put32(out, ::crc32(0, reinterpret_cast<const Bytef*>(out.data()), static_cast<uInt>(out.size())));
}

}  // namespace

std::string event_message(const std::vector<std::pair<std::string, std::string>>& headers,
                          std::string_view payload) {
  std::string encoded;
  for (const auto& [name, value] : headers) {
    encoded += static_cast<char>(name.size());
    encoded += name;
    encoded += kStringType;
    put16(encoded, value.size());
    encoded += value;
  }
  constexpr std::size_t kFrame = 16;  // two lengths and two check sums
  std::string out;
  put32(out, kFrame + encoded.size() + payload.size());
  put32(out, encoded.size());
  put_checksum(out);
  out += encoded;
  out += payload;
  put_checksum(out);
  return out;
}

std::string payload_chunk(std::string_view bytes) {
  return event_message({{":message-type", "event"},
                        {":event-type", "PayloadChunk"},
                        {":content-type", "application/octet-stream"}},
                       bytes);
}

std::string invoke_complete(std::string_view error_code, std::string_view error_details,
                            std::string_view log) {
  nlohmann::json body = nlohmann::json::object();
  if (!error_code.empty()) body["ErrorCode"] = error_code;
  if (!error_details.empty()) body["ErrorDetails"] = error_details;
  if (!log.empty()) body["LogResult"] = base64(log);
  return event_message({{":message-type", "event"},
                        {":event-type", "InvokeComplete"},
                        {":content-type", "application/json"}},
                       body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace leeward::functions
