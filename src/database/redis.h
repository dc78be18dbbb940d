// One Redis server of the service. Calls block for at most `timeout` each; one thread at a time;
// the connection is opened when needed and again after a failure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/platform.h"

namespace leeward::database {

struct RedisOptions {
  Endpoint local;
  std::string password;  // empty: none; also used towards the source (masterauth)
  Duration timeout = 1s;
  std::string user;  // ACL user of `password`, also towards the source (masteruser); empty: the default
};

struct RedisStatus {
  bool primary = false;        // accepts writes
  Endpoint source;             // what it replicates, when not primary
  bool link_up = false;        // the link to the source works and the first copy is complete
  std::uint64_t offset = 0;    // bytes of the replication stream written or applied
  std::uint64_t replicas = 0;  // connected to it
};

class Redis {
 public:
  explicit Redis(RedisOptions options);
  Redis(Redis&&) noexcept;
  ~Redis();

  // INFO replication. kTimeout, kUnavailable, kUnauthorized.
  Result<RedisStatus> status();

  // Becomes a replica of `source`: what the source lacks is dropped. A no-op when it is one
  // already.
  Status follow(const Endpoint& source);

  // Becomes the primary, with what it has, and takes writes without a replica: a min-replicas-to-write
  // that fenced it is cleared. Idempotent.
  Status promote();

  // Any other command, for operators' tools and tests; its answer as text.
  Result<std::string> run(const std::vector<std::string>& words);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::database
