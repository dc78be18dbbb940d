#include "app/tier_functions.h"

#include <chrono>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "model/edge.h"

namespace leeward::app {
namespace {

namespace fs = std::filesystem;

constexpr char kInside[] = "127.0.0.1";  // where a program in a sandbox listens

// Paths that are asked again and again to see how the tier is. They must not start it, and must not
// keep it from falling idle.
std::set<std::string> checks_of(const Platform& platform, const Tier& tier) {
  std::set<std::string> paths;
  if (tier.ready) paths.insert(tier.ready->path);
  if (platform.probes.port == tier.port) paths.insert(platform.probes.path);
  if (platform.edge)
    for (const EdgeOrigins& origins : platform.edge->origins)
      if (origins.tier == tier.name && !origins.check.path.empty())
        paths.insert(origins.check.path);
  return paths;
}

Result<std::string> server_of(const std::string& text, const compute::PlaceholderValues& values) {
  auto server = compute::expand_text(text, values);
  if (!server) return server;
  if (auto parsed = parse_endpoint(*server); !parsed) return fail(std::move(parsed.error()));
  return server;
}

}  // namespace

std::string functions_name(const Tier& tier) { return tier.name + ".functions"; }

Tier instances_at(const Tier& tier, const Site& site) {
  Tier own = tier;
  if (!tier.functions_at(site)) return own;
  own.port = tier.first_port_at(site);
  if (own.ready) own.ready->port = own.port;
  if (tier.slots_at(site) > 0) {
    own.standby = StandbyMode::kCold;
    return own;
  }
  own.instances = 0;
  own.scaling.reset();
  if (own.deploy) own.deploy->surge = 0;
  return own;
}

std::string TierFunctions::host_of(const Tier& tier) const {
  return tier.local ? kInside : site_.address;
}

std::string TierFunctions::file_of(const Tier& tier) const {
  return fmt::format("{}/functions/{}.json", state_, tier.name);
}

// As a program of `tier` sees them in its sandbox.
compute::PlaceholderValues TierFunctions::inside(const Tier& tier) const {
  compute::PlaceholderValues own = values_;
  own["address"] = kInside;
  own["port"] = std::to_string(tier.port);
  return own;
}

Result<compute::TierSpec> TierFunctions::spec_of(const Tier& tier) const {
  const FunctionsSpec& own = tier.functions;
  const auto timeout = std::chrono::ceil<std::chrono::seconds>(own.timeout).count();
  std::error_code error;
  const Endpoint port{host_of(tier), tier.port};
  std::vector<std::string> argv{fs::read_symlink("/proc/self/exe", error).string(), "fn", "serve"};
  auto add = [&argv](const char* option, std::string value) {
    argv.emplace_back(option);
    argv.push_back(std::move(value));
  };
  add("--name", tier.name);
  add("--follow", file_of(tier));
  add("--listen", to_string(port));
  add("--port", std::to_string(tier.port));
  add("--memory", std::to_string(own.memory_megabytes));
  add("--concurrency", std::to_string(own.concurrency));
  add("--prepared", std::to_string(own.prepared));
  add("--timeout", std::to_string(timeout));
  add("--log-directory", state_ + "/log/functions");
  for (const std::string& path : checks_of(platform_, tier)) add("--idle-path", path);
  for (const std::string& text : own.connect) {
    auto server = server_of(text, values_);
    auto known_as = server_of(text, inside(tier));
    if (!server || !known_as)
      return fail(std::move((server ? known_as : server).error())
                      .wrap("tier " + tier.name + ": functions.connect"));
    add("--connect", *known_as == *server ? *server : *known_as + "=" + *server);
  }
  for (const std::string& text : own.files) {
    auto path = compute::expand_text(text, values_);
    if (!path) return fail(std::move(path.error()).wrap("tier " + tier.name + ": functions.files"));
    add("--file", (fs::path(platform_.directory) / *path).string());
  }
  compute::TierSpec spec;
  spec.name = functions_name(tier);
  spec.stop_timeout = tier.stop_timeout;
  compute::InstanceSpec instance{{std::move(argv), {}, platform_.directory}};
  if (tier.ready) instance.ready = compute::ReadyCheck{port, tier.ready->path};
  spec.instances.push_back(std::move(instance));
  return spec;
}

Result<ProcessSpec> TierFunctions::program_of(const Tier& tier, const ProcessSpec& process) const {
  if (process.directory.empty())
    return fail(Code::kInvalid, "tier {}: functions need 'directory', which is what they see",
                tier.name);
  auto expanded = compute::expand(process, inside(tier));
  if (!expanded) return fail(std::move(expanded.error()).wrap("tier " + tier.name));
  const fs::path directory = fs::path(platform_.directory) / expanded->directory;
  return ProcessSpec{std::move(expanded->argv), std::move(expanded->env),
                     directory.lexically_normal().string()};
}

Status TierFunctions::run(const Tier& tier, const ProcessSpec& process) {
  if (!tier.functions_at(site_)) return {};
  auto program = program_of(tier, process);
  if (!program) return fail(std::move(program.error()));
  Told& told = told_[tier.name];
  told.orders.process = std::move(*program);
  return tell(tier, told);
}

Status TierFunctions::set_ready(const std::vector<std::pair<std::string, int>>& ready) {
  Status all;
  for (const Tier& tier : platform_.tiers) {
    auto told = told_.find(tier.name);
    if (told == told_.end()) continue;  // no functions here
    std::vector<Endpoint>& instances = told->second.orders.instances;
    instances.clear();
    for (const auto& [name, number] : ready)
      if (name == tier.name)
        instances.push_back(
            {host_of(tier), static_cast<std::uint16_t>(tier.first_port_at(site_) + number)});
    if (Status done = tell(tier, told->second); !done) all = done;
  }
  return all;
}

Status TierFunctions::tell(const Tier& tier, Told& told) {
  std::string text = encode_orders(told.orders);
  if (text == told.written) return {};
  if (Status there = make_directories(state_ + "/functions"); !there) return there;
  if (Status done = write_file_durably(file_of(tier), text); !done) return done;
  told.written = std::move(text);
  return {};
}

}  // namespace leeward::app
