#include <algorithm>
#include <filesystem>

#include "compute/image.h"
#include "compute/supervisor.h"

namespace leeward::compute {

Result<TierSpec> expand_tier(const Tier& tier, const PlaceholderValues& values,
                             const std::string& directory, const Image* image) {
  if (tier.process.command.empty() && image == nullptr)
    return fail(Code::kInvalid, "tier '{}' has no command", tier.name);
  TierSpec spec;
  spec.name = tier.name;
  spec.cold = tier.standby == StandbyMode::kCold;
  spec.stop_timeout = tier.stop_timeout;
  spec.notify = tier.notify;
  spec.limits = tier.limits;
  spec.drain = tier.drain;
  spec.spare = tier.spare_slots();
  spec.deploy = tier.deploy.value_or(DeploySpec{});
  spec.running = tier.instances;
  if (tier.scaling) spec.running = std::clamp(tier.instances, tier.scaling->min, tier.scaling->max);
  PlaceholderValues own = values;
  if (tier.local) own["address"] = "127.0.0.1";
  for (int i = 0; i < tier.slots(); ++i) {
    auto port_of = [i](std::uint16_t first) { return static_cast<std::uint16_t>(first + i); };
    own["port"] = std::to_string(port_of(tier.port));
    auto process = expand(tier.process, own);
    if (!process) return fail(std::move(process.error()).wrap("tier " + tier.name));
    if (image != nullptr) process = in_image(std::move(*process), *image);
    if (!process) return fail(std::move(process.error()).wrap("tier " + tier.name));
    if (image == nullptr)
      process->directory = (std::filesystem::path(directory) / process->directory).string();
    InstanceSpec instance{std::move(*process)};
    if (tier.pass_listener) instance.listen = Endpoint{own["address"], port_of(tier.port)};
    if (tier.ready) {
      std::uint16_t first = tier.ready->port != 0 ? tier.ready->port : tier.port;
      instance.ready = ReadyCheck{Endpoint{own["address"], port_of(first)}, tier.ready->path};
    }
    spec.instances.push_back(std::move(instance));
  }
  return spec;
}

}  // namespace leeward::compute
