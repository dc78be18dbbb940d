// Bytes of a segment file as a record: refused or consistent, never a crash. What was written is
// read back as it was.
#include <cstdlib>
#include <string>
#include <string_view>

#include "edge/internal/cache_record.h"

using namespace leeward;
using namespace leeward::edge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Now now{BootTime{} + std::chrono::hours(9), WallTime{} + Seconds(1'700'000'000)};
  if (auto h = read_header(bytes)) {
    std::string_view rest = bytes.substr(kRecordHeaderSize);
    head_matches(*h, rest.substr(0, h->head_size));
  }
  read_purge_head(bytes);
  if (auto parts = read_object_head(bytes, now)) {
    StoredObject object(*parts);
    std::string again = write_object_head(object, now);
    auto second = read_object_head(again, now);
    if (!second || second->key_text != parts->key_text || second->lines != parts->lines ||
        second->tags != parts->tags || second->freshness.lifetime != parts->freshness.lifetime) {
      std::abort();
    }
  }
  return 0;
}
