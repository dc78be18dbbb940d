// Frames of HAProxy's offload protocol: any bytes are a frame or an error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "waf/spop.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace spop = leeward::waf::spop;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto frame = spop::read_frame(bytes)) {
    (void)spop::read_arguments(frame->payload);
    if (auto messages = spop::read_messages(frame->payload))
      for (const auto& message : *messages)
        for (const auto& argument : message.arguments)
          if (const auto* text = std::get_if<std::string_view>(&argument.value))
            (void)spop::read_fields(*text);
  }
  return 0;
}
