// What is kept of a tier's revisions: STATE/deploy.json, and the process of a revision as the agent
// is told it.
#pragma once

#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/error.h"
#include "compute/supervisor.h"
#include "model/platform.h"

namespace leeward::app {

inline constexpr std::size_t kArgumentsMax = 1000;  // of a command; and as many variables
inline constexpr std::size_t kDeployHistoryMax = 20;

struct KeptRevision {
  ProcessSpec process;
  WallTime since;  // when it came here
};

struct DeployOutcome {
  RevisionNumber revision;
  WallTime at;
  bool succeeded = false;
  std::string reason;  // why it was rolled back
};

struct DeployRecord {
  RevisionNumber last;  // number of the newest one that there ever was
  ProcessSpec file;     // of the configuration file, as it was last seen
  std::map<RevisionNumber, KeptRevision> revisions;
  compute::TierRollout rollout;
  std::deque<DeployOutcome> history;  // oldest first
};

nlohmann::json encode_process(const ProcessSpec& process);
// kInvalid, saying what is wrong.
Result<ProcessSpec> decode_process(const nlohmann::json& json);

nlohmann::json encode_record(const DeployRecord& record);
// kCorrupt.
Result<DeployRecord> decode_record(const std::string& tier, const nlohmann::json& json);

nlohmann::json encode_outcomes(const std::deque<DeployOutcome>& history);

}  // namespace leeward::app
