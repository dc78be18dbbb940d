// One segment of the relay log as bytes: written by RelayLog, read by its recovery and by cursors.
// See relay_log.h for the format. Fuzzed by tests/fuzz/relay_segment_fuzz.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "mysql/event.h"
#include "mysql/stream.h"

namespace leeward::replication::internal {

// An event with a checksum, as it lies in a segment.
std::string make_event(mysql::EventType type, std::uint32_t server, std::uint32_t time,
                       std::uint16_t flags, std::string_view body);

// What a segment begins with: magic, the source's format description (made to announce checksums),
// and where the segment begins in the source's history.
std::string segment_head(const mysql::Event& format, const mysql::StreamPosition& start);

// The part of a format description that decides how events are read: without the time of creation,
// and with checksums, which our copy always has.
std::string format_key(const mysql::Event& format);

// Reads a segment from its beginning. Memory: 1 MiB, or the largest event while it is the current
// one.
class SegmentReader {
 public:
  // Reads the head. kCorrupt when it is not a whole one, kIo.
  static Result<std::unique_ptr<SegmentReader>> open(const std::string& path);

  // The next event that ends at or before byte `limit` of the file; nullopt when there is none and
  // nothing lies between. kCorrupt: bytes before `limit` that are no whole event, or a wrong
  // checksum.
  Result<std::optional<mysql::Event>> next(std::uint64_t limit);

  std::uint64_t at() const { return at_; }               // behind the last event
  const std::string& format() const { return format_; }  // without checksum
  const mysql::StreamPosition& start() const { return start_; }
  std::uint64_t file_bytes() const;

 private:
  SegmentReader(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  Status read_head();
  // Makes `size` bytes from at_ on available, or as many as there are before `limit`.
  Result<std::string_view> peek(std::size_t size, std::uint64_t limit);

  std::string path_;
  UniqueFd fd_;
  std::string format_;
  mysql::StreamPosition start_;
  std::uint64_t at_ = 0;
  std::string buffer_;
  std::uint64_t buffer_at_ = 0;  // file offset of the buffer's first byte
};

}  // namespace leeward::replication::internal
