// How a tier's processes are replaced by those of a new revision: the `deploy` section of a tier in
// leeward.yaml. Plain data; what the rules mean is in compute/rollout_core.h.
#pragma once

#include <cstdint>

#include "base/strong.h"
#include "base/time.h"

namespace leeward {

// Number of a revision of a tier at one site: what its processes are made of (command, environment,
// directory, image). It only grows. 0: none.
using RevisionNumber = Strong<struct RevisionNumberTag, std::uint32_t>;

// Who says what a new revision is made of.
enum class RevisionSource : std::uint8_t {
  kFile,      // the configuration file on the machine that is to run it
  kOperator,  // whoever has the operator token
};

enum class DeployStrategy : std::uint8_t {
  kRolling,    // some at a time
  kBlueGreen,  // all new ones beside the old ones, then the edges change over at once
};

struct DeploySpec {
  DeployStrategy strategy = DeployStrategy::kRolling;
  int surge = 0;                 // rolling: so many instances more than wanted, meanwhile
  int unavailable = 1;           // rolling: so many fewer ready ones than wanted, meanwhile
  Duration ready_within = 1min;  // from the start of a new instance, or since it was ready last
  int crashes = 3;               // of all new instances together: so many, and it is rolled back
  Duration watch = 10s;      // all new ones must stay ready for so long, before the revision counts
  Duration keep_old = 5min;  // blue/green: how long the old ones run on, after the new one counts
};

}  // namespace leeward
