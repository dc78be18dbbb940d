// Where control keeps what it has decided: a few keys, each changed only by compare-and-swap, and
// the audit trail of why. Everything else is rebuilt from observation.
//
// What an implementation promises:
//   - An acknowledged change survives a crash of the process and of the machine.
//   - A change and its events are one transaction: both are there or neither is.
//   - Versions of one key and sequences of events only grow and are never used again.
//   - get() never returns a value older than one that this process has seen acknowledged.
//
// Implementations: SqliteStore (sqlite_store.h), one file, one control node. The interface is cut
// so that etcd fits it: a key's version is etcd's per-key `version` (1 on creation, +1 a change);
// compare_and_swap is one Txn that compares `version` and puts the value, the counter of events and
// one key an event; watch is a Watch on the prefix, with versions taken from the event's key-value.
// etcd's mod_revision, which orders changes of all keys, is not exposed: no decision needs it.
//
// Threading: all functions may be called from any thread. They block on disk or network: on an
// event loop call them through a WorkerPool.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/record.h"

namespace leeward::store {

// Within what one etcd transaction takes with its default limits (1.5 MiB, 128 operations).
inline constexpr std::size_t kKeyBytesMax = 512;
inline constexpr std::size_t kValueBytesMax = 1u << 20;
inline constexpr std::size_t kEventsPerChangeMax = 100;
inline constexpr std::size_t kEventsReadMax = 1000;

struct Entry {
  std::string value;
  std::uint64_t version = 0;  // of this key: 1 when it was created, one more with each change
};

class Store {
 public:
  using Watcher = std::function<void(std::string_view key, const Entry& entry)>;

  virtual ~Store() = default;

  // The key's value now; nullopt when it was never written.
  // kUnavailable or kTimeout when the store cannot be reached, kIo or kCorrupt when it is broken.
  virtual Result<std::optional<Entry>> get(std::string_view key) = 0;

  // Replaces the value if the key still is at `expected_version` (0: if it does not exist), and
  // appends `events` to the audit trail in the same transaction. Their `sequence` is ignored and
  // assigned. Returns the new version. Errors, after which nothing has changed unless said
  // otherwise:
  //   kConflict  the key is at another version; read it again and decide anew
  //   kInvalid   a limit above is exceeded, or the key is empty
  //   kTimeout, kIo  the outcome is unknown: read the key again before the next decision
  //   others     as get()
  virtual Result<std::uint64_t> compare_and_swap(std::string_view key,
                                                 std::uint64_t expected_version,
                                                 std::string_view value,
                                                 std::span<const EventRecord> events = {}) = 0;

  // Up to `limit` (at most kEventsReadMax) events with a greater sequence, oldest first. The trail
  // is bounded: when the oldest were dropped, the first result's sequence is not after_sequence
  // + 1.
  virtual Result<std::vector<EventRecord>> events(std::uint64_t after_sequence,
                                                  std::size_t limit) = 0;

  // Sequence of the newest event; 0 when there was none.
  virtual Result<std::uint64_t> last_event() = 0;

  // Calls `watcher` after each successful change, for the life of the store: by this process, and
  // with etcd also by others. It runs on the thread that learnt of the change (here: the one that
  // made it), outside the store's lock, so it may call the store; two changes made at once may be
  // told in either order, so keep only the greater version. It must be quick: post to a loop.
  virtual void watch(Watcher watcher) = 0;
};

}  // namespace leeward::store
