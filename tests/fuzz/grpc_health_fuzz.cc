// Answers to gRPC health checks: any bytes are an answer or an error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "edge/grpc_health.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = bytes.find('\n');  // grpc-status, a line end, the body
  (void)leeward::edge::grpc_serves(cut == std::string_view::npos ? bytes : bytes.substr(cut + 1),
                                   cut == std::string_view::npos ? "0" : bytes.substr(0, cut));
  return 0;
}
