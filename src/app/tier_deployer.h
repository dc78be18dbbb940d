// The revisions of a site's tiers: remembers them, begins deployments when an operator or a changed
// file asks for one, and tells how they go. What is done with the instances is the supervisor's; a
// tier's functions are ordered to run the revision that is the goal.
//
// It answers operators on the agent's port
//   GET /v1/deploy            each tier: its revisions, where a deployment is, its instances
//   POST /v1/deploy           {tier, process: {command, env, directory, image}}; with
//                             agent.deploy_from: file the process must be that of this machine's
//                             file, as it is now
//   POST /v1/deploy/rollback  {tier}
//
// Images: a revision knows by digest which image it runs, so another image in the same place is a
// new revision. It is unpacked in the background and deployed when that is done; what runs goes on
// running meanwhile. A first start has nothing to run, and waits for it.
//
// Memory: STATE/deploy.json, written at each change, so that an agent that restarts in the middle
// of a deployment begins with the instances as they were and goes on. At the start, a file that
// says something else than when it was last read is a new revision; one that says what has failed
// is not tried again by itself. A memory that cannot be read is told of and begun anew.
//
// On the loop's thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/context.h"
#include "app/deploy_json.h"
#include "app/tier_functions.h"
#include "app/tier_images.h"
#include "compute/supervisor.h"
#include "net/http.h"

namespace leeward::app {

class TierDeployer {
 public:
  // `values`: of the placeholders, as expand_tier() takes them. All others outlive it. kIo.
  static Result<std::unique_ptr<TierDeployer>> open(net::EventLoop& loop, const Context& context,
                                                    compute::PlaceholderValues values,
                                                    TierFunctions& functions);

  // The tiers for a supervisor, which runs what is remembered once it is attached. Blocks when an
  // image must be unpacked first. Errors as expand_tier() and compute::unpack_image().
  Result<std::vector<compute::TierSpec>> tiers();
  // Restores what is remembered, and begins what the file has that is new, and gives the
  // functions their orders. `supervisor` outlives it. REQUIRES: made with tiers(), and before its
  // first set_active().
  void attach(compute::Supervisor& supervisor);

  // For SupervisorOptions::on_rollout.
  void changed(const std::string& tier, compute::RolloutEvent event);

  static bool answers(const net::HttpRequest& request);  // its paths
  void handle(const net::HttpRequest& request, const net::Responder& respond);

  // Deployments that have ended since this process started.
  std::uint32_t successes() const { return successes_; }
  std::uint32_t rollbacks() const { return rollbacks_; }
  const std::string& last() const { return last_; }  // for people; empty: none

 private:
  // A revision whose image is being unpacked.
  struct Unpacking {
    RevisionNumber number;
    ProcessSpec process;
    bool of_file = false;
  };
  struct Own {
    const Tier* tier = nullptr;
    DeployRecord record;
    std::optional<Unpacking> unpacking{};
    DeployOutcome unpack_failure{};  // the last one; number 0: none
  };
  using Records = std::map<std::string, DeployRecord>;

  TierDeployer(const Context& context, compute::PlaceholderValues values, TierFunctions& functions,
               std::unique_ptr<TierImages> images);

  Own* find(std::string_view tier);
  Records load() const;
  void begin_anew(const std::string& tier, const std::string& why) const;
  Result<compute::TierSpec> first_spec(const Tier& tier, ProcessSpec& process);
  bool restore(Own& own, DeployRecord record);
  void follow_file(Own& own);
  Result<compute::TierSpec> expand(const Tier& tier, const ProcessSpec& process) const;
  Status allowed(const Tier& tier, const ProcessSpec& process) const;
  Status begin(Own& own, const ProcessSpec& process);
  Status begin_or_unpack(Own& own, const ProcessSpec& process, bool of_file);
  void unpacked(const std::string& tier, RevisionNumber number, Result<compute::Image> image);
  void ended(Own& own, DeployOutcome outcome);
  void unpack_failed(Own& own, RevisionNumber number, const std::string& why);
  void look();
  void save();
  nlohmann::json status() const;
  nlohmann::json status(const Own& own, const compute::TierRollout& rollout,
                        const std::vector<compute::InstanceStatus>& all) const;
  Result<nlohmann::json> deploy(Own& own, const ProcessSpec& process);
  Result<nlohmann::json> roll_back(Own& own);
  void post(const net::HttpRequest& request, const net::Responder& respond);

  const Context& context_;
  compute::PlaceholderValues values_;
  TierFunctions& functions_;
  std::unique_ptr<TierImages> images_;
  compute::Supervisor* supervisor_ = nullptr;  // null before attach()
  Logger logger_;
  SystemClock clock_;
  std::string path_;
  Records remembered_;  // until attach()
  std::map<std::string, Own, std::less<>> tiers_;
  std::uint32_t successes_ = 0;
  std::uint32_t rollbacks_ = 0;
  std::string last_;
  bool loading_ = true;
};

}  // namespace leeward::app
