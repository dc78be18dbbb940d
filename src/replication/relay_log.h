// The relay log: a durable copy of the source's events between the replication client, which
// appends what it receives, and the applier, which reads. "Durable" here is what a semi-sync
// acknowledgement rests on.
//
// On disk: a directory of segments, relay.<offset of its first byte>. Each is laid out as
// a binary log: magic, format description, an artificial ROTATE (the source's log position)
// and GTID_LIST or PREVIOUS_GTIDS (what lies before), then events as received. Every event has a
// CRC32; a source without checksums gets them here. A segment begins between two transactions and
// has one format description, so that a reader can start at each. It is closed at segment_bytes,
// after the transaction in it has ended: a huge transaction makes a huge segment.
//
// A reader sees whole and durable transactions only. So received >= durable >= read always holds,
// and nothing that a reader has seen is ever taken back: neither by a crash, whose torn tail is cut
// at the last whole transaction when the log is opened, nor by a source that loses the connection
// or the end of a transaction.
//
// Threads: one writer (append, sync, withdraw), any number of cursors, each with one thread; purge
// and the questions from any thread. The log outlives its cursors.
//
// Errors: kIo with the path and the system's reason (disk full among them); kCorrupt when bytes on
// disk fail their checksum, with segment and offset. After a failed append() or sync() call
// withdraw() and start the stream again at received(); nothing before it was lost.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/strong.h"
#include "base/time.h"
#include "mysql/replication_client.h"
#include "mysql/stream.h"

namespace leeward::replication {

// Bytes from the beginning of the relay log, all segments ever written counted.
using RelayOffset = Strong<struct RelayOffsetTag, std::uint64_t>;

// A point between two transactions.
struct RelayPosition {
  mysql::StreamPosition stream;
  RelayOffset offset;
};

struct RelayOptions {
  std::string directory;                       // made when missing; one process at a time
  std::uint64_t segment_bytes = 64u << 20;     // what a purge gives back at once
  std::uint64_t total_bytes_max = 4ull << 30;  // not yet applied; at least four segments
};

class RelayCursor;

class RelayLog {
 public:
  // Opens or creates. An existing log goes on where it ends and `start` is ignored; an empty one
  // begins at `start`. kConflict: another process has it open.
  static Result<std::unique_ptr<RelayLog>> open(RelayOptions options, mysql::StreamPosition start);
  ~RelayLog();

  // Appends an event or the next part of one, in order. Heartbeats, and what the source makes up
  // for the stream, are taken note of and not written. Buffered: durable after sync().
  Status append(const mysql::Received& received);
  // Makes what has been appended durable (one fdatasync for all of it), lets cursors see its whole
  // transactions, and returns where the last one ends.
  Result<RelayPosition> sync();
  // Forgets what was appended after received(): the stream starts again there. After a failed
  // sync() that is durable().
  Status withdraw();

  RelayPosition received() const;  // end of the last whole transaction appended
  RelayPosition durable() const;   // end of the last whole transaction that is durable
  std::uint64_t bytes() const;     // on disk, up to received()
  // What open() cut off and why, for the log; empty when the log ended with a whole transaction.
  const std::string& cut() const { return cut_; }

  // False if the log has total_bytes_max and no transaction is open: stop reading from the source
  // until a purge makes room. Waits for that until the deadline. A transaction that has begun may
  // exceed the bound until it ends, else one larger than the bound could never be applied.
  bool wait_for_room(BootTime deadline);

  // Everything before `applied` has been applied: segments that lie wholly before it are removed.
  Status purge(RelayOffset applied);

  // Reads from the transaction that begins at `offset`: an end or beginning that this log told.
  // kNotFound: purged, or beyond the end.
  Result<std::unique_ptr<RelayCursor>> read_from(RelayOffset offset);
  // Reads the transactions that a reader at `position` has not seen. A position beyond the end is
  // fine: what comes is skipped until it has been passed. An empty position is that of a reader who
  // has seen no transaction. kNotFound: transactions in between are no longer here; names where the
  // log begins.
  Result<std::unique_ptr<RelayCursor>> read_after(const mysql::StreamPosition& position);

 private:
  friend class RelayCursor;
  struct Segment {
    std::uint64_t offset = 0;  // of its first byte
    std::uint64_t bytes = 0;
    mysql::StreamPosition start;
  };

  RelayLog(RelayOptions options, mysql::StreamPosition start);
  Status recover();
  Result<bool> recover_last();
  Status append_part(const mysql::Received& received);
  Status take_format(const mysql::Event& event);
  Status ready_segment();
  Status begin_segment(const mysql::Event& format);
  Status buffer_with_checksum(const mysql::Received& received);
  Status buffer(std::string_view bytes);
  Status flush();
  Status cut_to(std::uint64_t offset);
  std::string path(std::uint64_t offset) const;

  const RelayOptions options_;
  UniqueFd lock_;
  std::string cut_;

  // The writer's own. Offsets: segment_ <= whole_ <= end_, and written_ + pending_ = end_.
  mysql::StreamTracker tracker_;
  UniqueFd file_;
  std::uint64_t segment_ = 0;  // first byte of the open segment
  std::uint64_t whole_ = 0;    // behind the last whole transaction
  std::uint64_t written_ = 0;  // behind what the system has
  std::uint64_t synced_ = 0;   // behind what the disk has
  std::uint64_t end_ = 0;      // behind all
  std::string pending_;        // appended, not yet written
  std::string format_;         // of the open segment, for comparison
  std::string format_event_;   // and to begin the next one with
  std::uint32_t summed_ = 0;   // checksum of an event in parts, when we add it
  bool failed_ = false;        // withdraw() is due

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Segment> segments_;  // by offset; guarded, as is all below
  RelayPosition received_;
  RelayPosition durable_;
  std::uint64_t applied_ = 0;
};

// One event of a transaction.
struct RelayEvent {
  mysql::Event event;
  mysql::Place place = mysql::Place::kInside;
  RelayOffset begin;
  RelayOffset end;
};

// Reads transactions in order: from kBegin to kEnd, or a kWhole. What lies between transactions is
// not shown. Memory: a buffer of 1 MiB, or the largest event while it is the current one.
class RelayCursor {
 public:
  ~RelayCursor();
  // Waits for the next event; nullopt when the deadline passes first. The views live until the next
  // call. kCorrupt, kIo: the cursor is broken; nothing was skipped.
  Result<std::optional<RelayEvent>> next(BootTime deadline);

  // The format description in force for the last event, without checksum.
  const std::string& format() const;
  // The transaction of the last event, and the position after the last one that ended.
  const mysql::TransactionId& transaction() const;
  RelayPosition position() const;

 private:
  friend class RelayLog;
  class Impl;
  explicit RelayCursor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::replication
