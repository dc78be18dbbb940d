// How this site's way back to being a standby goes, for people who watch it. The worker that walks
// it writes, the agent's API reads; all functions may be called from any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/time.h"
#include "database/mariadb.h"

namespace leeward::app {

class RejoinWatch {
 public:
  // The next one begins; what was known of the one before is forgotten.
  void begin(BootTime now, bool reseed);
  void progress(BootTime now, const database::FollowProgress& progress);
  void end(BootTime now, const Result<database::FollowOutcome>& outcome);

  bool running() const;
  // {"number", "state": "none"|"running"|"done"|"failed", "reseed", "phase", "seconds",
  // "transactions",
  //  "bytes", "rows", "rows_total", "rows_per_second", "seconds_left": N|null, "outcome":
  //  "streaming"| "rewound"|"reseeded"|null, "why"}. `number` counts them since the agent started;
  //  `why` is the
  // error, or why undoing was not possible. docs/internals/api.md has the words.
  std::string json(BootTime now) const;

 private:
  enum class State : std::uint8_t { kNone, kRunning, kDone, kFailed };

  mutable std::mutex mutex_;
  State state_ = State::kNone;
  std::uint64_t number_ = 0;
  bool reseed_ = false;
  database::FollowProgress at_;
  BootTime began_{};
  BootTime ended_{};
  BootTime copying_since_{};  // first progress with bytes; zero: none yet
  BootTime copied_at_{};      // of the newest one
  std::string outcome_;
  std::string why_;
};

}  // namespace leeward::app
