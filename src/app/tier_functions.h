// What a tier runs at a site: instances, functions at the tier's port, or both (StandbyMode).
//
// The functions of a tier are a process of their own under the agent, `leeward fn serve`: what it
// does for customers never delays the agent. Until a request comes it runs nothing of the
// application. The agent gives it orders by a file (function_orders.h): of which revision its
// program is, and which instances are ready; while there are any, new connections go to them. That
// process keeps the tier's port through both, and is not started anew for either.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "app/function_orders.h"
#include "compute/supervisor.h"
#include "model/platform.h"

namespace leeward::app {

// The supervisor's name of a tier's functions; no tier can have it.
std::string functions_name(const Tier& tier);

// The instances that a tier may have at `site`, as a tier: none where functions are all there is,
// and with ports of their own where they stand beside functions.
Tier instances_at(const Tier& tier, const Site& site);

class TierFunctions {
 public:
  // `values`: of the placeholders, as expand_tier() takes them; `state`: the agent's directory.
  // `platform` and `site` must outlive it.
  TierFunctions(const Platform& platform, const Site& site, compute::PlaceholderValues values,
                std::string state)
      : platform_(platform), site_(site), values_(std::move(values)), state_(std::move(state)) {}

  // The process that is the functions of `tier`; it starts when it has orders. Errors as
  // expand_tier(); kInvalid also for a server in functions.connect that is no address.
  // REQUIRES: it has functions at this site.
  Result<compute::TierSpec> spec_of(const Tier& tier) const;

  // What the functions of `tier` would run for `process`, as seen in their sandbox. kInvalid as
  // expand(), and without a directory, which would show them more than the application.
  Result<ProcessSpec> program_of(const Tier& tier, const ProcessSpec& process) const;

  // Orders the functions of `tier` to run `process`; nothing where it has none at this site. Errors
  // of program_of(); kIo when the file cannot be written, which the next order tries again.
  Status run(const Tier& tier, const ProcessSpec& process);

  // Tells all functions which instances are ready, as Supervisor::ready_instances(). kIo as above.
  Status set_ready(const std::vector<std::pair<std::string, int>>& ready);

 private:
  struct Told {
    FunctionOrders orders;
    std::string written;  // the file as it is
  };
  std::string file_of(const Tier& tier) const;
  std::string host_of(const Tier& tier) const;
  compute::PlaceholderValues inside(const Tier& tier) const;
  Status tell(const Tier& tier, Told& told);

  const Platform& platform_;
  const Site& site_;
  const compute::PlaceholderValues values_;
  const std::string state_;
  std::map<std::string, Told> told_;  // by tier
};

}  // namespace leeward::app
