// A segment of the relay log with anything in it, read from a file in memory.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "replication/internal/segment.h"

using leeward::replication::internal::SegmentReader;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  leeward::UniqueFd fd(::memfd_create("segment", 0));
  if (!fd.valid() || ::write(fd.get(), data, size) != static_cast<ssize_t>(size)) return 0;
  auto reader = SegmentReader::open("/proc/self/fd/" + std::to_string(fd.get()));
  if (!reader) return 0;
  leeward::mysql::StreamTracker tracker((*reader)->start());
  for (;;) {
    std::uint64_t before = (*reader)->at();
    auto event = (*reader)->next((*reader)->file_bytes());
    if (!event || !*event || !tracker.take(**event)) return 0;
    if ((*reader)->at() <= before || (*reader)->at() > size) __builtin_trap();
  }
}
