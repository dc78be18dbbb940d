// db verify: compares the databases of the writer's site and of a standby, under MariaDB's own
// replication.
#include "cli/internal/commands.h"
#include "cli/internal/comparison.h"
#include "config/config.h"
#include "replication/native.h"
#include "replication/verify.h"

namespace leeward::cli {
namespace {

constexpr Duration kStatusTimeout = 3s;

Result<const Database*> choose(const Platform& platform, const std::string& name) {
  const Database* chosen = nullptr;
  for (const Database& database : platform.databases) {
    if (database.engine != Engine::kMariadb || (!name.empty() && database.name != name)) continue;
    if (chosen) return fail(Code::kInvalid, "there are several databases; name one");
    chosen = &database;
  }
  if (!chosen)
    return fail(Code::kNotFound, "the configuration has no MariaDB database{}{}",
                name.empty() ? "" : " called ", name);
  return chosen;
}

// The node that the site's agent has chosen, of two; the first where it does not report.
NodeId primary_node(const Json& status, const std::string& site) {
  const Json none = Json::array();
  Json::json_pointer path = Json::json_pointer("/sites") / site / "agent" / "nodes";
  const Json& nodes = status.contains(path) ? status.at(path) : none;
  for (std::size_t n = 0; nodes.is_array() && n < nodes.size(); ++n)
    if (nodes[n].value("primary", false)) return NodeId{static_cast<std::uint8_t>(n)};
  return kFirstNode;
}

Result<mysql::SqlTarget> account_at(const Platform& platform, const Database& database,
                                    const std::string& site, NodeId primary) {
  auto id = platform.find_site(site);
  auto node = id ? database.sites.find(*id) : database.sites.end();
  if (node == database.sites.end())
    return fail(Code::kInvalid, "database {} has no node on site '{}'", database.name, site);
  auto password = config::resolve_secret(database.admin_password, platform.directory);
  if (!password) return fail(std::move(password.error()).wrap("admin_password"));
  if (primary.value >= node->second.nodes.size()) primary = kFirstNode;
  return mysql::SqlTarget{node->second.address(primary), database.admin_user, std::move(*password),
                          replication::admin_tls(database.replication)};
}

// The site to compare the writer's with: the one named, or the only other one.
Result<std::string> standby_of(const Platform& platform, const Database& database,
                               const std::string& writer, const std::string& named) {
  if (named == writer)
    return fail(Code::kInvalid, "{} is the writer; name the site to compare it with", named);
  if (!named.empty()) return named;
  std::string found;
  for (const auto& [id, node] : database.sites) {
    const std::string& name = platform.site(id).name;
    if (name == writer) continue;
    if (!found.empty()) return fail(Code::kInvalid, "there are several standbys; add --site");
    found = name;
  }
  if (found.empty()) return fail(Code::kInvalid, "database {} has no standby", database.name);
  return found;
}

}  // namespace

int db_verify(const Globals& globals, const DbVerifyOptions& options, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return report(io, platform.error());
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto status = api->get("/v1/status", {}, kStatusTimeout);
  if (!status) return report(io, status.error());
  std::string writer = text_of(*status, "active");
  if (writer.empty()) return report(io, {Code::kNotFound, "no site serves yet"});
  auto database = choose(*platform, options.database);
  if (!database) return report(io, database.error());
  auto standby = standby_of(*platform, **database, writer, options.site);
  if (!standby) return report(io, standby.error());
  auto source = account_at(*platform, **database, writer, primary_node(*status, writer));
  if (!source) return report(io, source.error());
  auto target = account_at(*platform, **database, *standby, primary_node(*status, *standby));
  if (!target) return report(io, target.error());
  if (options.repair)
    if (auto sure = confirm(
            io, options.yes,
            fmt::format("Write {}'s rows over those of {} where they differ?", writer, *standby));
        !sure)
      return report(io, sure.error());
  replication::VerifyOptions wanted;
  wanted.tables = options.tables;
  wanted.repair = options.repair;
  auto standstill = replication::replica_standstill(*target);
  auto done = compare_here(io, [&](const replication::OnProgress& progress) {
    return replication::verify({*source, *target, {}, standstill.get()}, wanted, progress);
  });
  if (!done) return report(io, done.error());
  return print_report(globals, *done, io);
}

}  // namespace leeward::cli
