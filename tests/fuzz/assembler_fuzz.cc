// A stream of events as it comes from the socket: cut into packets, events and parts, in reads of
// any size; the events are parsed and followed as the replication client and the relay log do.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "mysql/internal/assembler.h"
#include "mysql/row_image.h"
#include "mysql/stream.h"

namespace mysql = leeward::mysql;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  bool semi_sync = data[0] & 1;
  bool checksums = data[0] & 2;
  std::size_t step = data[1] + 1u;
  std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);
  mysql::internal::Assembler assembler(512u << 10);
  assembler.stream(semi_sync);
  mysql::StreamTracker tracker;
  for (;;) {
    auto piece = assembler.next();
    if (!piece) return 0;
    if (!*piece) {
      if (input.empty()) return 0;
      auto space = assembler.space();
      std::size_t count = std::min({step * step, space.size(), input.size()});
      if (count == 0) __builtin_trap();  // a client would wait for ever
      std::memcpy(space.data(), input.data(), count);
      input.remove_prefix(count);
      assembler.filled(count);
      continue;
    }
    if ((*piece)->end || !(*piece)->error.empty()) return 0;
    if (!(*piece)->first || !(*piece)->last) continue;
    auto event = mysql::parse_event((*piece)->bytes, checksums);
    if (!event) return 0;
    (void)mysql::parse_gtid_list(*event);
    (void)mysql::parse_previous_gtids(*event);
    (void)mysql::parse_format_description(*event);
    (void)mysql::parse_rows(*event);
    if (!tracker.take(*event)) return 0;
  }
}
