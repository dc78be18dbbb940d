// One Redis server of the service. Calls block for a few times `timeout` at most; one thread at a
// time; the connection is opened when needed and again after a failure. Which server is to be what
// is decided elsewhere (redis_core.h).
//
// Redis acknowledges a write before any replica has it. What Leeward adds lies in the data itself:
// each promotion writes "epoch term" under the key `leeward:promotion`. The account needs access to
// that key and to INFO, CONFIG, REPLICAOF and WAIT.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/platform.h"

namespace leeward::database {

struct RedisOptions {
  Endpoint local;
  std::string password;  // empty: none; also used towards the source (masterauth)
  Duration timeout = 1s;
  std::string user =
      {};  // ACL user of `password`, also towards the source (masteruser); empty: the default
};

struct RedisStatus {
  bool primary = false;              // accepts writes
  Endpoint source;                   // what it replicates, when not primary
  bool link_up = false;              // the link to the source works and the first copy is complete
  std::uint64_t offset = 0;          // bytes of the replication stream written or applied
  std::uint64_t replicas = 0;        // connected to it
  std::uint64_t level_replicas = 0;  // of them, those that acknowledged all up to `offset`; they
                                     // say so once a second
  std::string history;  // of `offset` (master_replid); offsets of different ones are not comparable
  std::string history_before;   // the one that a promotion here ended (master_replid2), and
  std::uint64_t parted_at = 0;  // how far it reached here
  Promotion promotion;          // in the data; epoch 0: none
  bool fenced = false;          // by fence()
};

class Redis {
 public:
  explicit Redis(RedisOptions options);
  Redis(Redis&&) noexcept;
  ~Redis();

  // kTimeout, kUnavailable, kUnauthorized; kUnhealthy while it loads its data.
  Result<RedisStatus> status();

  // Becomes a replica of `source`: what the source lacks is dropped. A no-op when it is one
  // already.
  Status follow(const Endpoint& source);

  // Becomes the primary, with what it has, and takes writes without a replica: a
  // min-replicas-to-write that fenced it is cleared. Then writes the promotion into the data.
  // Idempotent.
  Status promote(Promotion promotion);

  // Takes no more writes, whoever asks: min-replicas-to-write is set to more than there can be, and
  // stays until promote(). With `confirm` it first waits, half a second at most, until each
  // connected replica has all that was written; it is fenced then in either case, and kTimeout says
  // that one has not. Called again, it says how that stands now.
  Status fence(bool confirm);

  // Any other command, for operators' tools and tests; its answer as text.
  Result<std::string> run(const std::vector<std::string>& words);

 private:
  Status everything_copied();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::database
