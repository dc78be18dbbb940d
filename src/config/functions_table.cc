#include "config/internal/functions_table.h"

#include <algorithm>

#include "model/edge.h"

namespace leeward::config {

Table<FunctionsSpec> tier_functions_table() {
  using F = FunctionsSpec;
  Table<F> t;
  t.raw_texts("connect", &F::connect,
              "Servers that they may reach, HOST:PORT each, written as the application knows them; "
              "everything else is out of their reach. The placeholders of command, for example "
              "{gateway.NAME}.");
  t.raw_texts("files", &F::files,
              "Files that they may read beside the tier's directory, for example a secret; copied "
              "in under their own paths, relative to this file. The placeholders of command.");
  t.integer("memory_megabytes", &F::memory_megabytes, {128, 10'240},
            "Memory of an environment, swap included.");
  t.integer("concurrency", &F::concurrency, {1, 1000},
            "Environments at once; each has one request at a time, further ones wait.");
  t.integer("prepared", &F::prepared, {0, 100},
            "Environments kept ready, started and never used, while the functions are in use: what "
            "a sudden further request gets within milliseconds. 0: none.");
  t.duration("timeout", &F::timeout, {1s, 15min}, "How long a request may take.");
  t.port("instance_port", &F::instance_port,
         "functions_first: port of the first instance on a standby, where the tier's own port is "
         "the functions'.")
      .default_text("the port after the tier's");
  return t;
}

namespace {

// What an edge may be told to speak to origins, and functions do not.
void check_origins(Reader& r, const Platform& p, const Tier& tier) {
  if (!p.edge) return;
  for (const EdgeOrigins& group : p.edge->origins) {
    if (group.tier != tier.name) continue;
    auto cannot = [&](bool asked, const std::string& key) {
      const std::string at = "edge.origins." + group.name + key;
      if (asked)
        r.problem(r.key_at(at), at,
                  fmt::format("the functions of tier '{}' speak plain HTTP/1.1 only; leave it out, "
                              "or give the tier standby: warm or cold",
                              tier.name));
    };
    cannot(group.protocol != OriginProtocol::kHttp1, ".protocol");
    cannot(group.tls.has_value(), ".tls");
    cannot(group.proxy_protocol, ".proxy_protocol");
  }
}

}  // namespace

void check_functions(Reader& r, const Platform& p, const Tier& tier, const std::string& path) {
  const std::string own = path + ".functions";
  auto problem = [&](const std::string& at, const std::string& why) {
    r.problem(r.value_at(at), at, why);
  };
  if (!r.sound(path + ".standby")) return;
  if (!tier.uses_functions()) {
    if (r.present(own))
      r.problem(r.key_at(own), own,
                "nothing uses this section; write standby: functions or functions_first, or leave "
                "it out");
    return;
  }
  if (!p.sites.empty() && r.sound("sites") &&
      std::none_of(p.sites.begin(), p.sites.end(),
                   [&](const Site& site) { return tier.functions_at(site); }))
    problem(path + ".standby", "there are functions on sites whose role is standby, and none is");
  if (!tier.process.image.empty())
    problem(path + ".image",
            "functions do not run from images; write a command and its directory, or leave "
            "'standby' out");
  else if (!r.present(path + ".directory"))
    problem(path + ".standby",
            "functions need 'directory': it is what they see of the machine, and this file's "
            "directory, which is the default, has more in it than the application");
  if (tier.pass_listener)
    problem(path + ".pass_listener",
            "a function is not handed a socket; it listens on the tier's port by itself");
  if (tier.ready && tier.ready->port != tier.port && r.sound(path + ".ready"))
    problem(path + ".ready.port",
            fmt::format("functions are asked at the tier's port only; write {}", tier.port));
  for (std::size_t i = 0; i < tier.functions.connect.size(); ++i) {
    const std::string& server = tier.functions.connect[i];
    const std::string at = fmt::format("{}.connect[{}]", own, i);
    if (server.find('{') != std::string::npos || !r.sound(at)) continue;
    if (auto parsed = parse_endpoint(server); !parsed) problem(at, parsed.error().message);
  }
  check_origins(r, p, tier);
  const std::string port = own + ".instance_port";
  if (tier.standby == StandbyMode::kFunctions) {
    if (r.present(port))
      r.problem(r.key_at(port), port,
                "'instance_port' belongs to standby: functions_first; with functions there are no "
                "instances on a standby");
  } else if (const int first = tier.functions.instance_port;
             (first == 0 || first + tier.slots() - 1 > 65535) && r.sound(path + ".port")) {
    problem(port, fmt::format("{} instances from port {} on go beyond 65535", tier.slots(), first));
  }
}

}  // namespace leeward::config
