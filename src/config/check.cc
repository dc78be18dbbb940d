#include "config/internal/check.h"

#include <algorithm>
#include <array>

#include "config/internal/functions_table.h"
#include "config/internal/scaling_table.h"
#include "model/edge.h"

namespace leeward::config {
namespace {

std::string site_path(const Site& site) { return "sites." + site.name; }

void check_sites(Reader& r, const Platform& p) {
  if (!r.sound("sites")) return;
  auto count = [&](SiteRole role) {
    return std::count_if(p.sites.begin(), p.sites.end(),
                         [role](const Site& s) { return s.role == role; });
  };
  if (count(SiteRole::kPrimary) == 0)
    r.problem(r.key_at("sites"), "sites", "no site has the role primary; exactly one must");
  if (count(SiteRole::kStandby) == 0)
    r.problem(r.key_at("sites"), "sites", "no site has the role standby; at least one must");
  bool primary_seen = false;
  for (std::size_t i = 0; i < p.sites.size(); ++i) {
    const Site& site = p.sites[i];
    std::string role = site_path(site) + ".role";
    if (site.role == SiteRole::kPrimary && std::exchange(primary_seen, true))
      r.problem(r.value_at(role), role,
                fmt::format("site '{}' is a second primary; exactly one site may write first",
                            site.name));
    for (std::size_t j = 0; j < i; ++j) {
      if (p.sites[j].address != site.address) continue;
      std::string address = site_path(site) + ".address";
      r.problem(r.value_at(address), address,
                fmt::format("sites '{}' and '{}' have the same address {}", p.sites[j].name,
                            site.name, site.address));
    }
  }
}

void check_lease(Reader& r, const Platform& p) {
  const LeaseTimings& lease = p.lease;
  bool read = r.sound("lease.duration") && r.sound("lease.grace") && r.sound("lease.takeover") &&
              r.sound("lease.clock_drift");
  if (read && !lease.safe()) {
    // Rounded up to milliseconds, so that what the message says to write is accepted.
    Duration smallest = std::chrono::ceil<std::chrono::milliseconds>(lease.takeover_min());
    r.problem(r.value_at("lease.takeover"), "lease.takeover",
              fmt::format("two sites could write at once: takeover {} < (duration {} + grace {}) · "
                          "(1 + {:g}) / (1 − {:g}); write at least {}",
                          format_duration(lease.takeover), format_duration(lease.duration),
                          format_duration(lease.grace), lease.clock_drift, lease.clock_drift,
                          format_duration(smallest)));
  }
  if (r.sound("lease.renew_every") && r.sound("lease.duration") &&
      lease.renew_every * 2 > lease.duration)
    r.problem(
        r.value_at("lease.renew_every"), "lease.renew_every",
        fmt::format("renew_every {} leaves no second try within duration {}; write at most {}",
                    format_duration(lease.renew_every), format_duration(lease.duration),
                    format_duration(lease.duration / 2)));
}

void check_control(Reader& r, const Platform& p) {
  bool site_read = r.sound("sites") && r.sound("control.site") && r.present("control.site");
  if (!site_read) return;
  const Site& site = p.site(p.control.site);
  if (p.failover.mode == FailoverMode::kAutomatic && r.sound("failover.mode") &&
      site.role != SiteRole::kWitness) {
    const char* where = r.present("failover.mode") ? "failover.mode" : "control.site";
    r.problem(
        r.value_at(where), where,
        fmt::format("control.store sqlite on site '{}' refuses automatic failover unless that "
                    "node is declared the witness: the site that fails would take the "
                    "decision with it; move control to a witness or write mode: approve",
                    site.name));
  }
  if (!r.sound("control.listen")) return;
  const std::string& host = p.control.listen.host;
  if (host == "0.0.0.0")
    r.problem(r.value_at("control.listen"), "control.listen",
              fmt::format("the agents connect to this address, so it cannot be 0.0.0.0; write the "
                          "address of site '{}', {}:{}",
                          site.name, site.address, p.control.listen.port));
  if (host.starts_with("127.") && !site.address.starts_with("127."))
    r.problem(r.value_at("control.listen"), "control.listen",
              fmt::format("the agents of other sites cannot reach {}; write {}:{}",
                          to_string(p.control.listen), site.address, p.control.listen.port));
}

void check_probes(Reader& r, const Platform& p) {
  auto sites = static_cast<int>(p.sites.size());
  if (r.sound("probes.quorum") && r.sound("sites")) {
    int smallest = sites / 2 + 1;
    if (p.probes.quorum > sites || p.probes.quorum < smallest)
      r.problem(
          r.value_at("probes.quorum"), "probes.quorum",
          fmt::format("quorum {} of {} vantage points (all sites, witness included) {}; write "
                      "{}",
                      p.probes.quorum, sites,
                      p.probes.quorum > sites ? "can never be reached" : "is not a majority",
                      smallest == sites ? fmt::format("{}", sites)
                                        : fmt::format("{} to {}", smallest, sites)));
  }
  if (r.sound("probes.timeout") && r.sound("probes.interval") &&
      p.probes.timeout >= p.probes.interval)
    r.problem(r.value_at("probes.timeout"), "probes.timeout",
              fmt::format("timeout {} must be shorter than interval {}",
                          format_duration(p.probes.timeout), format_duration(p.probes.interval)));
}

void check_failover(Reader& r, const Platform& p) {
  if (p.failover.preferred && r.sound("sites") &&
      p.site(*p.failover.preferred).role == SiteRole::kWitness)
    r.problem(r.value_at("failover.preferred"), "failover.preferred",
              fmt::format("site '{}' is a witness and runs no workload",
                          p.site(*p.failover.preferred).name));
  if (r.sound("failover.rpo") && r.sound("databases") && p.failover.rpo < p.heartbeat)
    r.problem(r.value_at("failover.rpo"), "failover.rpo",
              fmt::format("a loss of {} cannot be measured with a heartbeat every {}; write a "
                          "longer rpo or a shorter heartbeat",
                          format_duration(p.failover.rpo), format_duration(p.heartbeat)));
}

void check_nodes(Reader& r, const std::string& at, const SiteDatabase& site) {
  if (!r.sound(at)) return;
  bool listed = r.present(at + ".nodes");
  bool single = r.present(at + ".address") || r.present(at + ".run");
  if (listed && single)
    return r.problem(r.key_at(at + ".nodes"), at + ".nodes",
                     "give either address and run, for one server, or nodes");
  if (!listed && !r.present(at + ".address"))
    return r.problem(r.key_at(at), at, fmt::format("'address' is missing in {}", at));
  if (listed && (site.nodes.empty() || site.nodes.size() > kNodesMax))
    r.problem(r.key_at(at + ".nodes"), at + ".nodes",
              fmt::format("{} nodes; a site has one or two", site.nodes.size()));
}

void check_database(Reader& r, const Platform& p, const Database& d, const std::string& path) {
  bool mariadb = d.engine == Engine::kMariadb;
  if (r.sound(path + ".engine")) {
    for (const char* key : {"admin", "replication"}) {
      std::string at = fmt::format("{}.{}", path, key);
      if (mariadb && !r.present(at) && r.sound(at))
        r.problem(r.key_at(path), at,
                  fmt::format("'{}' is missing in {}: mariadb needs it", key, path));
    }
    if (mariadb && r.present(path + ".auth"))
      r.problem(r.key_at(path + ".auth"), path + ".auth", "'auth' has no meaning for mariadb");
    for (const char* key : {"admin", "replication", "heartbeat"}) {
      std::string at = fmt::format("{}.{}", path, key);
      if (!mariadb && r.present(at))
        r.problem(r.key_at(at), at, fmt::format("'{}' has no meaning for redis", key));
    }
    std::string loss = path + ".loss_allowed";
    if (mariadb && d.loss_allowed)
      r.problem(r.value_at(loss), loss,
                "loss_allowed is for redis; mariadb's loss is bounded by failover.rpo");
  }
  if (!r.sound("sites") || !r.sound(path + ".sites")) return;
  std::string mode = path + ".replication.mode";
  if (d.replication.mode == ReplicationMode::kLossless && p.workload_sites().size() != 2 &&
      r.sound(mode))
    r.problem(r.value_at(mode), mode,
              "lossless needs exactly two sites that run the service: a commit waits for any one "
              "copy, and it must be the standby's");
  if (d.replication.mode != ReplicationMode::kAsync && r.sound(mode))
    for (const auto& [id, site] : d.sites) {
      std::string nodes = fmt::format("{}.sites.{}.nodes", path, p.site(id).name);
      if (site.nodes.size() > 1 && r.sound(nodes))
        r.problem(r.key_at(nodes), nodes,
                  fmt::format(
                      "two nodes cannot be combined with replication.mode {}: MariaDB lets a "
                      "commit go on after any one replica has acknowledged it, which is then "
                      "either the other node or the other site; write mode: async, or one node",
                      d.replication.mode == ReplicationMode::kLossless ? "lossless" : "semi_sync"));
    }
  for (std::size_t i = 0; i < p.sites.size(); ++i) {
    SiteId id{static_cast<std::uint8_t>(i)};
    const Site& site = p.sites[i];
    std::string at = fmt::format("{}.sites.{}", path, site.name);
    bool has = d.sites.find(id) != d.sites.end();
    if (site.role == SiteRole::kWitness && has)
      r.problem(r.key_at(at), at,
                fmt::format("site '{}' is a witness and runs no database", site.name));
    if (site.role != SiteRole::kWitness && !has)
      r.problem(r.key_at(path + ".sites"), at,
                fmt::format("database '{}' has no server on site '{}'", d.name, site.name));
    if (!has) continue;
    check_nodes(r, at, d.sites.at(id));
  }
}

void check_databases(Reader& r, const Platform& p) {
  std::array<int, 2> count{};
  for (const Database& d : p.databases) {
    std::string path = "databases." + d.name;
    check_database(r, p, d, path);
    if (++count[static_cast<std::size_t>(d.engine)] == 2 && r.sound(path + ".engine"))
      r.problem(
          r.value_at(path + ".engine"), path + ".engine",
          fmt::format("'{}' is a second database of this engine; a platform has one", d.name));
  }
  if (r.sound("databases") && p.find_database(Engine::kMariadb) == nullptr)
    r.problem(r.key_at("databases"), "databases",
              "no database of engine mariadb; one must carry the epoch that fences an old writer");
}

// Placeholders are a brace, a lower-case word and a brace; other braces (JSON, shell) are left
// alone.
void check_placeholders(Reader& r, const Platform& p, const std::string& text,
                        const std::string& path) {
  std::vector<std::string> known{"site", "address", "port", "state"};
  for (const Database& d : p.databases) known.push_back("gateway." + d.name);
  for (std::size_t open = text.find('{'); open != std::string::npos;
       open = text.find('{', open + 1)) {
    std::size_t close = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.-", open + 1);
    if (close == std::string::npos || text[close] != '}' || close == open + 1) continue;
    if (open > 0 && text[open - 1] == '$') continue;
    std::string name = text.substr(open + 1, close - open - 1);
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    // A database whose section could not be read is still a name that exists.
    if (name.starts_with("gateway.") && !r.sound("databases") &&
        r.present("databases." + name.substr(8)))
      continue;
    r.problem(r.value_at(path), path,
              name.starts_with("gateway.")
                  ? fmt::format("{{{}}} names a database that does not exist{}", name,
                                suggestion(name, known))
                  : fmt::format("unknown placeholder {{{}}}{}", name, suggestion(name, known)));
  }
}

void check_process(Reader& r, const Platform& p, const ProcessSpec& process,
                   const std::string& path) {
  if (r.present(path + ".command") && process.command.empty() && r.sound(path + ".command"))
    r.problem(r.value_at(path + ".command"), path + ".command", "the command is empty");
  for (std::size_t i = 0; i < process.command.size(); ++i)
    check_placeholders(r, p, process.command[i], fmt::format("{}.command[{}]", path, i));
  for (const auto& [name, value] : process.env)
    check_placeholders(r, p, value, fmt::format("{}.env.{}", path, name));
}

std::string node_path(const Reader& r, const Platform& p, const Database& d, SiteId site,
                      std::size_t node) {
  std::string at = fmt::format("databases.{}.sites.{}", d.name, p.site(site).name);
  return r.present(at + ".nodes") ? fmt::format("{}.nodes[{}]", at, node) : at;
}

void check_image(Reader& r, const Tier& tier, const std::string& path) {
  const ProcessSpec& process = tier.process;
  bool read = r.sound(path) && r.sound(path + ".command") && r.sound(path + ".image");
  if (read && !r.present(path + ".command") && !r.present(path + ".image"))
    r.problem(r.key_at(path), path,
              fmt::format("tier '{}' has neither a command nor an image; write one", tier.name));
  std::string directory = path + ".directory";
  bool relative = !process.directory.empty() && process.directory[0] != '/';
  if (!process.image.empty() && relative && r.sound(directory))
    r.problem(r.value_at(directory), directory,
              fmt::format("'{}' is a directory of the image, and must begin with '/'",
                          process.directory));
}

void check_processes(Reader& r, const Platform& p) {
  for (const Tier& tier : p.tiers) {
    check_process(r, p, tier.process, "tiers." + tier.name);
    check_image(r, tier, "tiers." + tier.name);
    const std::string own = "tiers." + tier.name + ".functions.";
    for (std::size_t i = 0; i < tier.functions.connect.size(); ++i)
      check_placeholders(r, p, tier.functions.connect[i], fmt::format("{}connect[{}]", own, i));
    for (std::size_t i = 0; i < tier.functions.files.size(); ++i)
      check_placeholders(r, p, tier.functions.files[i], fmt::format("{}files[{}]", own, i));
  }
  for (const Database& d : p.databases)
    for (const auto& [id, site] : d.sites)
      for (std::size_t n = 0; n < site.nodes.size(); ++n)
        check_process(r, p, site.nodes[n].process, node_path(r, p, d, id, n) + ".run");
  for (const Tier& tier : p.tiers) {
    std::string port = fmt::format("tiers.{}.port", tier.name);
    if (tier.port + tier.slots() - 1 > 65535 && r.sound(port))
      r.problem(
          r.value_at(port), port,
          fmt::format("{} instances from port {} on go beyond 65535", tier.slots(), tier.port));
    bool probed = p.probes.port >= tier.port && p.probes.port < tier.port + tier.slots();
    if (tier.local && probed && r.sound("probes.port") && r.sound("tiers." + tier.name))
      r.problem(r.value_at("probes.port"), "probes.port",
                fmt::format("port {} is tier '{}', which is local: other sites cannot probe it",
                            p.probes.port, tier.name));
  }
}

// One listening socket of one site.
struct Listener {
  std::string host;
  int first;
  int last;
  std::string what;
  std::string path;
};

bool clash(const Listener& a, const Listener& b) {
  bool same_host = a.host == b.host || a.host == "0.0.0.0" || b.host == "0.0.0.0";
  return same_host && a.first <= b.last && b.first <= a.last;
}

std::vector<Listener> listeners(const Reader& r, const Platform& p, SiteId id) {
  const Site& site = p.site(id);
  std::vector<Listener> all;
  auto add = [&](const std::string& host, int first, int count, std::string what,
                 std::string path) {
    if (first != 0)
      all.push_back({host == "{address}" ? site.address : host, first, first + count - 1,
                     std::move(what), std::move(path)});
  };
  if (id == p.control.site)
    add(p.control.listen.host, p.control.listen.port, 1, "control.listen", "control.listen");
  add(site.address, p.dns.port, 1, "dns.port", "dns.port");
  if (site.role == SiteRole::kWitness) return all;
  add(site.address, p.agent_port, 1, "agent.port", "agent.port");
  for (const Database& d : p.databases) {
    std::string path = "databases." + d.name;
    if (auto own = d.sites.find(id); own != d.sites.end())
      for (std::size_t n = 0; n < own->second.nodes.size(); ++n) {
        const Endpoint& address = own->second.nodes[n].address;
        add(address.host, address.port, 1, fmt::format("the server of database '{}'", d.name),
            node_path(r, p, d, id, n) + ".address");
      }
    add(d.gateway.host, d.gateway.port, 1, fmt::format("the gateway of database '{}'", d.name),
        path + ".gateway.listen");
    add(site.address, d.peer_port, 1, fmt::format("the peer port of database '{}'", d.name),
        path + ".gateway.peer_port");
  }
  if (p.edge) {
    for (std::size_t i = 0; i < p.edge->listeners.size(); ++i) {
      const EdgeListener& l = p.edge->listeners[i];
      add(l.address, l.port, 1, fmt::format("listener {} of the edge", i + 1),
          fmt::format("edge.listeners[{}].port", i));
    }
    add(site.address, p.edge->admin_port, 1, "edge.admin_port", "edge.admin_port");
  }
  for (const Tier& tier : p.tiers) {
    const std::string host = tier.local ? "127.0.0.1" : site.address;
    const std::string path = "tiers." + tier.name;
    const bool functions = tier.functions_at(site);
    add(host, tier.port, functions ? 1 : tier.slots(), fmt::format("tier '{}'", tier.name),
        path + ".port");
    if (functions && tier.slots_at(site) > 0)
      add(host, tier.functions.instance_port, tier.slots_at(site),
          fmt::format("the instances of tier '{}'", tier.name), path + ".functions.instance_port");
  }
  return all;
}

void check_ports(Reader& r, const Platform& p) {
  if (!r.sound("sites")) return;
  for (std::size_t i = 0; i < p.sites.size(); ++i) {
    std::vector<Listener> all = listeners(r, p, SiteId{static_cast<std::uint8_t>(i)});
    for (std::size_t a = 0; a < all.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        // The later one in the file is reported, once, though it may clash on every site.
        bool a_later = r.value_at(all[a].path) >= r.value_at(all[b].path);
        const Listener& later = a_later ? all[a] : all[b];
        const Listener& earlier = a_later ? all[b] : all[a];
        if (!clash(later, earlier) || !r.sound(later.path) || !r.sound(earlier.path)) continue;
        r.problem(r.value_at(later.path), later.path,
                  fmt::format("port clash on site '{}': {} and {} both listen on {}:{}",
                              p.sites[i].name, later.what, earlier.what,
                              later.host == "0.0.0.0" ? earlier.host : later.host,
                              std::max(later.first, earlier.first)));
      }
    }
  }
}

}  // namespace

void check_platform(Reader& reader, Platform& platform) {
  for (Tier& tier : platform.tiers) {
    if (tier.ready && tier.ready->port == 0) tier.ready->port = tier.port;
    if (tier.functions.instance_port == 0)  // 0 again after the last port: an error below
      tier.functions.instance_port = static_cast<std::uint16_t>(tier.port + 1);
  }
  for (Tier& tier : platform.tiers) {
    if (!tier.scaling) continue;
    for (ScalingSchedule& schedule : tier.scaling->schedules)
      if (schedule.days == decltype(schedule.days){}) schedule.days.fill(true);
    if (!reader.present("tiers." + tier.name + ".instances")) tier.instances = tier.scaling->min;
  }
  check_sites(reader, platform);
  check_lease(reader, platform);
  check_control(reader, platform);
  check_databases(reader, platform);
  check_processes(reader, platform);
  for (const Tier& tier : platform.tiers)
    check_scaling(reader, platform, tier, "tiers." + tier.name);
  for (const Tier& tier : platform.tiers)
    check_deploy(reader, platform, tier, "tiers." + tier.name);
  for (const Tier& tier : platform.tiers)
    check_functions(reader, platform, tier, "tiers." + tier.name);
  check_probes(reader, platform);
  check_failover(reader, platform);
  check_ports(reader, platform);
}

}  // namespace leeward::config
