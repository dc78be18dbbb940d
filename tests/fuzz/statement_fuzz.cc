// The statements of a binary log: their frame, and what they are about.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "replication/internal/statement.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)leeward::replication::internal::inspect(bytes, "shop");
  leeward::mysql::Event event;
  event.type =
      size % 2 ? leeward::mysql::EventType::kQuery : leeward::mysql::EventType::kQueryCompressed;
  event.bytes = bytes;
  event.body = bytes;
  if (auto query = leeward::replication::internal::read_query(event))
    (void)leeward::replication::internal::inspect(query->sql, query->schema);
  return 0;
}
