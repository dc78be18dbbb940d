// The disk tier: stored objects in append-only segment files, so that a restart or a crash does not
// empty the cache.
//
// Format. A segment "NNNNNNNN.seg" is a row of records: a 64-byte header (magic, type, lengths,
// check sum of header and head, check sum of the body), the head (key, field lines, freshness) and
// the body. Numbers are little-endian; the sums are CRC-32. Purges are records too, so that what
// was purged does not come back with a restart.
//
// Never wrong bytes. A record counts only with a whole header and head and the right sum; a segment
// is read up to the first that has not. A body is held against its sum when it is first read after
// a start; bytes of another object, of a torn write or of a bad disk are dropped, and the origin is
// asked. Segments are deleted, never overwritten, and an answer that is being sent keeps its file
// open.
//
// Threads. All file work is done by one thread of its own; the calls only queue. Bodies above
// kMemoryBodyMax are afterwards sent from the file.
//
// Bounds. `bytes_max` on disk: the oldest segment goes when a new one would exceed it.
// kQueueBytesMax wait for the thread, what comes above is not written. A write that fails (disk
// full) drops that record and stops writing for kWriteRetry; reading goes on. A purge that cannot
// be written has all segments removed, so that nothing comes back. Purges are synced; objects are
// not synced: after a power loss the newest may be missing, which is only a miss.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "edge/exchange.h"
#include "edge/internal/cache_purge.h"

namespace leeward::edge {

class DiskTier {
 public:
  static constexpr std::uint64_t kQueueBytesMax = 64u << 20;
  static constexpr std::uint64_t kMemoryBodyMax = 64u << 10;
  static constexpr Duration kWriteRetry = std::chrono::seconds(10);
  // A URL that was just read from disk is not read again for this long.
  static constexpr Duration kReloadAfter = std::chrono::seconds(5);

  struct Stats {
    std::uint64_t objects = 0;
    std::uint64_t bytes = 0;    // of all segments
    std::uint64_t dropped = 0;  // not written: queue full or write failed
    std::uint64_t corrupt = 0;  // records that failed their check
  };
  using Loaded = std::function<void(std::shared_ptr<StoredObject>)>;

  // Creates the directory if needed, locks it, and reads the segments' heads. kConflict: another
  // process uses it. kIo: it cannot be used.
  static Result<std::unique_ptr<DiskTier>> open(const std::string& directory,
                                                std::uint64_t bytes_max, Logger logger);
  ~DiskTier();  // writes what is queued

  // Puts the purges that the segments hold into `rules`. Once, before anything is looked up.
  void restore(PurgeRules& rules);

  void write(std::shared_ptr<StoredObject> object);
  // What is in memory is removed after this was called, not before: it may just come from here.
  void purge_url(std::string_view url);
  void purge_tag(std::uint64_t tag, std::uint64_t number, PurgeKind kind);
  void purge_prefix(std::string_view prefix, std::uint64_t number, PurgeKind kind);

  // True: objects of this URL are on disk and being read; `loaded` gets those whose check succeeds
  // (on the tier's thread, under its lock: it must not call back), then the waiter is woken. False:
  // nothing to be had.
  bool load(std::string_view url, Waiter waiter, Now now, Loaded loaded);

  void flush();  // waits until the queue is empty
  // Writes what is queued now and leaves the directory to another process; from then on nothing is
  // found or written here. Answers from files that are open go on.
  void release();
  Stats stats() const;

  struct Impl;

 private:
  explicit DiskTier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::edge
