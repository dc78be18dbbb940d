#include "cli/cli.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <algorithm>
#include <memory>

#include "cli/internal/arguments.h"
#include "cli/internal/commands.h"
#include "cli/internal/help_formatter.h"

namespace leeward::cli {
namespace {

constexpr char kExitCodes[] =
    "Exit status: 0 done, 1 failure, 2 usage or configuration, 4 unhealthy,\n"
    "5 refused by a safety rule, 6 no quorum or timed out.";

std::string footer(std::string_view examples) {
  return fmt::format("Examples:\n{}\n\n{}", examples, kExitCodes);
}

}  // namespace

CLI::App* add(CLI::App& app, Arguments& a, const std::string& name, const std::string& description,
              std::string_view examples, std::function<int(Io&)> command) {
  CLI::App* sub = app.add_subcommand(name, description);
  sub->fallthrough();  // the global options may stand after the command too
  sub->footer(footer(examples));
  // CLI11 calls a command's callback after those of the commands below it.
  if (command)
    sub->callback([&a, sub, command = std::move(command)] {
      if (sub->get_subcommands().empty()) a.command = command;
    });
  return sub;
}

void add_log_level(CLI::App* sub, Arguments& a) {
  sub->add_option("--log-level", a.log_level, "Least important log entries to write")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
}

void add_log_options(CLI::App* sub, Arguments& a) {
  add_log_level(sub, a);
  sub->add_option("--log-format", a.log_format, "text for people, json for collectors")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

LogLevel log_level(const Arguments& a) {
  return a.log_level == "debug"   ? LogLevel::kDebug
         : a.log_level == "warn"  ? LogLevel::kWarn
         : a.log_level == "error" ? LogLevel::kError
                                  : LogLevel::kInfo;
}

LogFormat log_format(const Arguments& a) {
  return a.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
}

namespace {

CLI::App* add_role(CLI::App& app, Arguments& a, const std::string& name,
                   const std::string& description,
                   const std::function<int(const RoleOptions&)>& role) {
  CLI::App* sub =
      add(app, a, name, description,
          fmt::format("  leeward {} --site gcp\n  leeward {} --site gcp --config "
                      "/etc/leeward/leeward.yaml --log-format json",
                      name, name),
          [&a, &role](Io& io) {
            if (!role) return report(io, Error{Code::kInternal, "this executable lacks the role"});
            RoleOptions options = a.role;
            options.config_path = a.globals.config_path;
            options.log_level = log_level(a);
            options.log_format = log_format(a);
            return role(options);
          });
  sub->add_option("--site", a.role.site, "The site that this machine is part of")
      ->envname("LEEWARD_SITE")
      ->required();
  add_log_options(sub, a);
  return sub;
}

void add_edge_sign(CLI::App& edge, Arguments& a) {
  CLI::App* sub =
      add(edge, a, "sign",
          "Signs a URL of a route with signed.keys, so that whoever has it may ask until "
          "it expires; with --prefix everything that begins like it, also as a cookie.",
          "  leeward edge sign https://www.shop.test/films/1.mp4 --expires 1h\n"
          "  leeward edge sign https://www.shop.test/films/ --prefix --expires 1d",
          [&a](Io& io) {
            auto expires = parse_duration(a.sign_expires);
            if (!expires) return report(io, expires.error());
            a.sign.expires = *expires;
            return edge_sign(a.globals, a.sign, io);
          });
  sub->add_option("url", a.sign.url, "http://HOST/PATH or https://HOST/PATH")->required();
  sub->add_option("--expires", a.sign_expires, "For how long it is good")->capture_default_str();
  sub->add_flag("--prefix", a.sign.prefix, "Everything that begins like this");
  sub->add_option("--key", a.sign.key, "The key's id; default: the route's first");
  sub->add_option("--client-network", a.sign.client_network, "Good from there only: 192.0.2.0/24");
}

void add_edge_commands(CLI::App& edge, Arguments& a) {
  add_edge_sign(edge, a);
  add_edge_firewall(edge, a);
  CLI::App* top = add(edge, a, "top",
                      "Shows what each edge does now, route by route and origin by origin: rates, "
                      "latencies, how much the cache answers.",
                      "  leeward edge top\n  leeward edge top --once",
                      [&a](Io& io) { return edge_top(a.globals, a.edge, io); });
  top->add_flag("--once", a.edge.once, "Totals since the start, once");
  CLI::App* explain =
      add(edge, a, "explain",
          "Says what each edge would do with a GET of a URL now: route, cache, origins, and why.",
          "  leeward edge explain http://www.shop.test/static/shop.css",
          [&a](Io& io) { return edge_explain(a.globals, a.edge, io); });
  explain->add_option("url", a.edge.urls, "http://HOST/PATH")->required()->expected(1);
  explain->add_option("--client", a.edge.client, "Address that asks: what the firewall says of it");
  CLI::App* purge = add(
      edge, a, "purge",
      "Takes what is cached out of force on every edge before it returns: by URL, or with "
      "--prefix by the beginning of URLs, with --key by surrogate key (Surrogate-Key, Cache-Tag).",
      "  leeward edge purge http://www.shop.test/static/shop.css\n"
      "  leeward edge purge --prefix www.shop.test/static/ --soft\n"
      "  leeward edge purge --key product-42",
      [&a](Io& io) {
        a.edge.kind = a.purge_all ? "all" : a.purge_prefix ? "prefix" : a.purge_key ? "key" : "url";
        return edge_purge(a.globals, a.edge, io);
      });
  purge->add_option("what", a.edge.urls, "URLs, prefixes or keys; - reads them from stdin");
  auto* prefix = purge->add_flag("--prefix", a.purge_prefix, "Everything that begins like this");
  auto* key = purge->add_flag("--key", a.purge_key, "Everything with this surrogate key");
  purge->add_flag("--all", a.purge_all, "Everything")->excludes(prefix)->excludes(key);
  prefix->excludes(key);
  purge->add_flag("--soft", a.edge.soft,
                  "Stale instead of gone: validated at the next request, served if that fails");
  CLI::App* warm = add(
      edge, a, "warm",
      "Has the edge of a site ask for URLs, so that its cache holds them before clients come: "
      "those named, or with --from those that another site's cache uses most.",
      "  leeward edge warm --site aws --from gcp\n"
      "  leeward edge warm --site aws http://www.shop.test/ http://www.shop.test/static/shop.css",
      [&a](Io& io) { return edge_warm(a.globals, a.edge, io); });
  warm->add_option("url", a.edge.urls, "http://HOST/PATH; - reads them from stdin");
  warm->add_option("--from", a.edge.from, "The site whose cache is the model");
  warm->add_option("--count", a.edge.count, "At most so many URLs from there")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  for (CLI::App* sub : {top, explain, purge})
    sub->add_option("--site", a.edge.site, "Only the edge of this site");
  warm->add_option("--site", a.edge.site, "The edge to warm")->required();
}

void add_speed(CLI::App& app, Arguments& a) {
  CLI::App* sub = add(
      app, a, "speed",
      "Compares how long pages take straight from their origin and through the "
      "edge, as a table and a plot.",
      "  leeward speed http://10.77.1.1:8080/ --edge 10.77.1.1:80\n"
      "  leeward speed https://www.shop.test/ --direct http://10.77.1.1:8080 --edge 10.77.1.1:443",
      [&a](Io& io) { return speed(a.globals, a.speed, io); });
  sub->add_option("url", a.speed.urls, "http[s]://HOST[:PORT]/PATH")->required();
  sub->add_option("--edge", a.speed.edge,
                  "[http[s]://]HOST:PORT of the edge; default: that of the primary site");
  sub->add_option("--direct", a.speed.direct,
                  "[http[s]://]HOST:PORT of the origin; default: what the URL says");
  sub->add_option("--ca", a.speed.ca, "File with the certificate authorities to trust");
  sub->add_option("-n,--count", a.speed.count, "Requests each way, in turn")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
}

void add_roles(CLI::App& app, Arguments& a, const Roles& roles) {
  add_role(
      app, a, "up",
      "Runs everything that belongs to one site as child processes: the databases that have a "
      "'run' section, agent, dns, the edge when there is an 'edge' section, and control on the "
      "site that control.site names. For development, demos and small sites; it ends them all when "
      "it is told to stop.",
      roles.up);
  add_role(app, a, "control",
           "Runs the control node: it decides who may write, keeps the state, and serves the API "
           "on control.listen.",
           roles.control);
  add_role(app, a, "agent",
           "Runs the agent of a workload site: it holds or loses the writer lease, drives the "
           "database and the application processes, and is the applications' gateway to the "
           "database.",
           roles.agent);
  add_role(app, a, "dns",
           "Runs the name server of a site: it answers for the configured zone and sends clients "
           "to the active site, also while the control node is away.",
           roles.dns);
  CLI::App* edge = add_role(
      app, a, "edge",
      "Runs the edge of a workload site: the HTTP proxy and cache that balances over the origins "
      "of "
      "both sites and fails over between them inside a request. SIGHUP reads the configuration "
      "again, SIGTERM lets requests under way end. With a command below it asks the running edges "
      "instead.",
      roles.edge);
  edge->get_option("--site")->required(false);  // the role says what is missing
  edge->add_flag("--takeover", a.role.takeover,
                 "Take the listening sockets of the edge that serves here, which then drains and "
                 "ends: an upgrade, or other listeners, without a refused connection");
  add_edge_commands(*edge, a);
}

void add_file_commands(CLI::App& app, Arguments& a) {
  CLI::App* sub =
      add(app, a, "init",
          "Writes a commented leeward.yaml for two sites and a witness, and fresh random "
          "secrets (mode 0600) in the folder 'secrets' beside it. Overwrites nothing "
          "without --force.",
          "  leeward init --name shop\n  leeward init --name shop /etc/leeward/leeward.yaml",
          [&a](Io& io) { return init(a.init, io); });
  sub->add_option("file", a.init.file, "The file to write")->capture_default_str();
  sub->add_option("--name", a.init.name, "Name of the platform")->capture_default_str();
  sub->add_flag("--force", a.init.force, "Overwrite the file and the secrets");

  sub =
      add(app, a, "validate",
          "Checks a configuration and prints every mistake with line and column. Needs no running "
          "platform, so it can run wherever the file is reviewed.",
          "  leeward validate\n  leeward validate staging.yaml -o json",
          [&a](Io& io) { return validate(a.globals, a.validate_file, io); });
  sub->add_option("file", a.validate_file, "The file to check; default: --config");

  sub =
      add(app, a, "schema",
          "Prints the JSON Schema of leeward.yaml for editors, or with --markdown the reference of "
          "every setting: type, default, bounds, meaning.",
          "  leeward schema > leeward.schema.json\n  leeward schema --markdown",
          [&a](Io& io) { return schema(a.markdown, io); });
  sub->add_flag("--markdown", a.markdown, "Print the reference instead");
}

void add_observing_commands(CLI::App& app, Arguments& a) {
  CLI::App* sub =
      add(app, a, "status",
          "Shows who serves and since when, the health of each site as the vantage points "
          "see it, the standby's lag, and whether a failover would be possible now and "
          "what it would cost.",
          "  leeward status\n  leeward status --check || page-someone",
          [&a](Io& io) { return status(a.globals, a.check, io); });
  sub->add_flag("--check", a.check, "Exit with 4 when unhealthy or no failover would be possible");

  sub =
      add(app, a, "events",
          "Shows the newest entries of the audit trail: verdicts, decisions, steps, lease grants.",
          "  leeward events --limit 20\n  leeward events --follow",
          [&a](Io& io) { return events(a.globals, a.events, io); });
  sub->add_option("--after", a.events.after, "Only events with a greater sequence number");
  sub->add_option("--limit", a.events.limit, "At most so many, the newest ones")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  sub->add_flag("--follow", a.events.follow, "Go on and print new events as they come");

  sub = add(app, a, "maintenance",
            "Switches automatic failover off while you work on the platform, and on again. What an "
            "operator asks for still works.",
            "  leeward maintenance on\n  leeward maintenance off",
            [&a](Io& io) { return maintenance(a.globals, a.maintenance == "on", io); });
  sub->add_option("state", a.maintenance, "on or off")
      ->check(CLI::IsMember({"on", "off"}))
      ->required();
}

void add_move(CLI::App& app, Arguments& a, Move kind, const std::string& name,
              const std::string& description, std::string_view examples) {
  CLI::App* sub = add(app, a, name, description, examples, [&a, kind](Io& io) {
    auto timeout = parse_duration(a.timeout);
    if (!timeout) return report(io, std::move(timeout.error()).wrap("--timeout"));
    a.move.timeout = *timeout;
    return move(a.globals, kind, a.move, io);
  });
  if (kind != Move::kFailback) {
    sub->add_option("--to", a.move.to, "The site to move to; default: the best standby");
    sub->add_option("--reason", a.move.reason, "Kept in the audit trail");
  }
  if (kind == Move::kFailover) {
    sub->add_flag("--accept-loss", a.move.accept_loss,
                  "Go on although the estimated loss is above failover.rpo");
    sub->add_flag("--override-block", a.move.override_block,
                  "Go on although there was a failover within failover.block_window");
  }
  sub->add_flag("--yes", a.move.yes, "Do not ask");
  sub->add_flag("--wait,!--no-wait", a.move.wait,
                "Follow the plan to its end (default), or return when it has started");
  sub->add_option("--timeout", a.timeout, "How long to follow the plan")->capture_default_str();
}

void add_moves(CLI::App& app, Arguments& a) {
  add_move(
      app, a, Move::kFailover, "failover",
      "Moves the writer away from a site that has failed, without its help. Writes that it had "
      "acknowledged and the standby never received end in the ledger. Refused when the safety "
      "rules say no: what they say is printed. For a site that still works use switchover.",
      "  leeward failover\n  leeward failover --to aws --accept-loss --reason \"gcp is gone\" "
      "--yes");
  add_move(app, a, Move::kSwitchover, "switchover",
           "Moves the writer to another site while both work: requests are held for a moment, "
           "nothing fails and nothing is lost. Undone when it cannot be finished in time.",
           "  leeward switchover\n  leeward switchover --to aws --reason \"kernel update\" --yes");
  add_move(
      app, a, Move::kFailback, "failback",
      "A switchover back to the preferred site (failover.preferred, else the primary), once it "
      "has rejoined and caught up.",
      "  leeward failback\n  leeward failback --yes --timeout 2m");
}

void add_ledger(CLI::App& app, Arguments& a) {
  CLI::App* ledger =
      add(app, a, "ledger",
          "The ledger holds the writes that a failed primary had acknowledged and the new primary "
          "never received. Each can be looked at, written to the serving database, or given up.",
          "  leeward ledger list\n  leeward ledger show 0-1-105\n  leeward ledger replay 0-1-105",
          nullptr);
  ledger->require_subcommand(1);
  auto entry = [&a](CLI::App* sub) {
    sub->add_option("id", a.ledger.id, "The entry, as shown by list")->required();
    return sub;
  };
  CLI::App* list = add(*ledger, a, "list", "Lists the lost writes of every workload site.",
                       "  leeward ledger list -o json",
                       [&a](Io& io) { return ledger_list(a.globals, a.ledger, io); });
  CLI::App* show = entry(add(*ledger, a, "show",
                             "Shows one entry: each changed row before and after, and whether the "
                             "row has changed since.",
                             "  leeward ledger show 0-1-105",
                             [&a](Io& io) { return ledger_show(a.globals, a.ledger, io); }));
  CLI::App* replay = entry(
      add(*ledger, a, "replay",
          "Writes an entry's changes to the serving database, if the rows have not changed since.",
          "  leeward ledger replay 0-1-105",
          [&a](Io& io) { return ledger_act(a.globals, LedgerAction::kReplay, a.ledger, io); }));
  CLI::App* discard =
      entry(add(*ledger, a, "discard", "Gives an entry up. It stays on disk, marked as discarded.",
                "  leeward ledger discard 0-1-105", [&a](Io& io) {
                  return ledger_act(a.globals, LedgerAction::kDiscard, a.ledger, io);
                }));
  replay->add_flag("--force", a.ledger.force, "Also overwrite rows that have changed since");
  for (CLI::App* sub : {list, show, replay, discard})
    sub->add_option("--site", a.ledger.site, "Only the ledger of this site");
  for (CLI::App* sub : {replay, discard}) sub->add_flag("--yes", a.ledger.yes, "Do not ask");
}

void add_replication_start(CLI::App& group, Arguments& a, const Roles& roles) {
  CLI::App* sub = add(
      group, a, "start",
      "Runs the task in the foreground: checks both servers, copies what is there, and follows the "
      "source from the exact position of the copy. Ctrl-C or SIGTERM ends it at a transaction; "
      "started again, it goes on from there, in the middle of the copy as well. On a terminal it "
      "shows where it is, otherwise it logs JSON lines.",
      "  leeward replication start shop.yaml\n  leeward replication start shop.yaml --log-format "
      "json\n  leeward replication start shop.yaml --again\n  leeward replication start back.yaml "
      "--from "
      "now",
      [&a, &roles](Io& io) {
        bool text =
            a.replicate_format == "text" || (a.replicate_format == "auto" && io.interactive);
        a.replicate.log_level = log_level(a);
        a.replicate.log_format = text ? LogFormat::kText : LogFormat::kJson;
        a.replicate.terminal = text && io.interactive;
        return replication_start(a.replicate, a.replication, roles, io);
      });
  add_log_level(sub, a);
  sub->add_option("--log-format", a.replicate_format,
                  "text for people, json for collectors; auto: text on a terminal")
      ->check(CLI::IsMember({"auto", "text", "json"}))
      ->capture_default_str();
  sub->add_flag("--again", a.replicate.again,
                "Drop the tables that the first copy made at the target, and copy again");
  sub->add_option("--from", a.replicate.from,
                  "Copy nothing, the target has the data already: follow the source from this GTID "
                  "position on, or from `now`. Only for a task that has no position yet")
      ->excludes("--again");
  sub->add_flag("--yes", a.replication.yes, "Do not ask");
  sub->add_option("task", a.replication.file, "The task file")->required();
}

void add_replication_verify(CLI::App& group, Arguments& a) {
  CLI::App* sub = add(
      group, a, "verify",
      "Compares both ends at one position, by checksums of chunks, and lists the rows that differ. "
      "While the task runs, it is the task that compares, and goes on when this command is ended; "
      "the same command follows it again. Exits with 4 when rows differ.",
      "  leeward replication verify shop.yaml\n  leeward replication verify shop.yaml --table "
      "shop.orders --repair",
      [&a](Io& io) { return replication_verify(a.globals, a.replication, io); });
  sub->add_option("--table", a.replication.tables,
                  "Only this table, as SCHEMA.TABLE at the source");
  sub->add_flag("--repair", a.replication.repair,
                "Write the source's rows to the target where they differ");
  sub->add_flag("--yes", a.replication.yes, "Do not ask");
  sub->add_option("task", a.replication.file, "The task file")->required();
}

void add_replication(CLI::App& app, Arguments& a, const Roles& roles) {
  CLI::App* group = add(
      app, a, "replication",
      "Replication tasks copy chosen tables from one server to another and keep the copy current; "
      "each is a file in YAML (docs/guide/replication.md).",
      "  leeward replication precheck shop.yaml\n  leeward replication start shop.yaml\n  leeward "
      "replication status shop.yaml",
      nullptr);
  group->require_subcommand(1);
  auto with_task = [&a](CLI::App* sub) {
    sub->add_option("task", a.replication.file, "The task file")->required();
    return sub;
  };
  with_task(add(*group, a, "precheck",
                "Says everything that is wrong with the servers and tables of a task, and the "
                "statement that mends each. Changes nothing. Exits with 4 when there are errors.",
                "  leeward replication precheck shop.yaml -o json",
                [&a](Io& io) { return replication_precheck(a.globals, a.replication, io); }));
  add_replication_start(*group, a, roles);
  CLI::App* status = with_task(
      add(*group, a, "status",
          "Shows the state of a running task: how far what it received, what is on its disk and "
          "what the target has are behind the source, in seconds and transactions.",
          "  leeward replication status shop.yaml\n  leeward replication status shop.yaml --check "
          "|| page-someone\n  leeward replication status shop.yaml -o json --history 10m",
          [&a](Io& io) { return replication_status(a.globals, a.replication, io); }));
  status->add_flag("--check", a.replication.check, "Exit with 4 unless it streams without error");
  status->add_option("--history", a.replication.history,
                     "With -o json: one sample a second, so far back (at most an hour)");
  for (bool pause : {true, false})
    with_task(add(
        *group, a, pause ? "pause" : "resume",
        pause ? "Stops applying changes; they are still received and kept. A first copy "
                "pauses between chunks. Outlives a restart of the task."
              : "Goes on after a pause.",
        pause ? "  leeward replication pause shop.yaml" : "  leeward replication resume shop.yaml",
        [&a, pause](Io& io) { return replication_pause(a.globals, pause, a.replication, io); }));
  add_replication_verify(*group, a);
  CLI::App* conflicts = with_task(
      add(*group, a, "conflicts",
          "Lists the newest conflicts between the two directions of a task, as the target keeps "
          "them in leeward.conflicts.",
          "  leeward replication conflicts shop.yaml --limit 10",
          [&a](Io& io) { return replication_conflicts(a.globals, a.replication, io); }));
  conflicts->add_option("--limit", a.replication.limit, "At most so many")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  add(*group, a, "reference", "Prints every setting of a task file, in Markdown.",
      "  leeward replication reference", [](Io& io) { return replication_reference(io); });
}

void add_db_verify(CLI::App& db, Arguments& a) {
  CLI::App* sub = add(
      db, a, "verify",
      "Compares the writer's database with a standby's at one position, by checksums of chunks, "
      "and "
      "lists the rows that differ. The standby's replication stands still for a moment, now and "
      "then. Runs where both databases can be reached. Exits with 4 when rows differ.",
      "  leeward db verify\n  leeward db verify --table shop.orders --repair",
      [&a](Io& io) { return db_verify(a.globals, a.db_verify, io); });
  sub->add_option("database", a.db_verify.database, "Its name in the configuration");
  sub->add_option("--site", a.db_verify.site, "The standby to compare with");
  sub->add_option("--table", a.db_verify.tables, "Only this table, as SCHEMA.TABLE");
  sub->add_flag("--repair", a.db_verify.repair,
                "Write the writer's rows to the standby where they differ");
  sub->add_flag("--yes", a.db_verify.yes, "Do not ask");
}

void add_db_moves(CLI::App& db, Arguments& a) {
  CLI::App* sub =
      add(db, a, "promote",
          "Makes the standby the writer, under a plan and the same rules as ever: a "
          "switchover while the writer works, which loses nothing, otherwise a failover.",
          "  leeward db promote\n  leeward db promote --to aws --reason \"kernel update\" --yes",
          [&a](Io& io) {
            auto timeout = parse_duration(a.timeout);
            if (!timeout) return report(io, std::move(timeout.error()).wrap("--timeout"));
            a.move.timeout = *timeout;
            return db_promote(a.globals, a.move, io);
          });
  sub->add_option("--to", a.move.to, "The site to promote; default: the standby");
  sub->add_option("--reason", a.move.reason, "Kept in the audit trail");
  sub->add_flag("--accept-loss", a.move.accept_loss,
                "Of a failover: go on although the estimated loss is above failover.rpo");
  sub->add_flag("--override-block", a.move.override_block,
                "Of a failover: go on although there was one within failover.block_window");
  sub->add_flag("--yes", a.move.yes, "Do not ask");
  sub->add_flag("--wait,!--no-wait", a.move.wait,
                "Follow the plan to its end (default), or return when it has started");
  sub->add_option("--timeout", a.timeout, "How long to follow the plan")->capture_default_str();

  sub = add(
      db, a, "degrade",
      "Lossless mode, while the standby is lost: lets the writer acknowledge commits without a "
      "copy there. Refused while the standby acknowledges; undone by itself once it does again.",
      "  leeward db degrade --yes",
      [&a](Io& io) { return db_degrade(a.globals, a.rejoin.yes, io); });
  sub->add_flag("--yes", a.rejoin.yes, "Do not ask");
}

void add_db(CLI::App& app, Arguments& a) {
  CLI::App* db =
      add(app, a, "db",
          "The databases of the sites: how far each is, and what mends a standby. A command "
          "that takes long runs in the site's agent; interrupted, give it again to follow.",
          "  leeward db status\n  leeward db reseed --site aws", nullptr);
  db->require_subcommand(1);
  add(*db, a, "status",
      "Shows each site's database: role, what it has written, received, has on disk and has "
      "applied, "
      "lag in seconds and transactions, whether commits wait for a copy, and the ledger.",
      "  leeward db status\n  leeward db status -o json",
      [&a](Io& io) { return db_status(a.globals, io); });
  add(*db, a, "lag", "Shows how far the standby was behind, second by second, for up to an hour.",
      "  leeward db lag --last 300\n  leeward db lag -o json",
      [&a](Io& io) { return db_lag(a.globals, a.lag_samples, io); })
      ->add_option("--last", a.lag_samples, "At most so many samples, the newest ones")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  CLI::App* reseed = add(
      *db, a, "reseed",
      "Drops a standby's data and copies the writer's afresh. What only the standby had is written "
      "to the ledger first.",
      "  leeward db reseed\n  leeward db reseed --site aws --yes --no-wait",
      [&a](Io& io) { return db_rejoin(a.globals, Rejoining::kReseed, a.rejoin, io); });
  CLI::App* rewind =
      add(*db, a, "rewind",
          "Undoes what a standby has and the writer lacks, after writing it to the ledger. An "
          "agent does "
          "so by itself when an old writer comes back; this does it now, and shows how far it is.",
          "  leeward db rewind --site gcp --yes",
          [&a](Io& io) { return db_rejoin(a.globals, Rejoining::kRewind, a.rejoin, io); });
  for (CLI::App* sub : {reseed, rewind}) {
    sub->add_option("--site", a.rejoin.site, "The standby; default: the only one");
    sub->add_flag("--yes", a.rejoin.yes, "Do not ask");
    sub->add_flag("--wait,!--no-wait", a.rejoin.wait,
                  "Follow to the end (default), or return when it has begun");
  }
  add_db_moves(*db, a);
  add_db_verify(*db, a);
}

void add_globals(CLI::App& app, Arguments& a) {
  app.add_option("-c,--config", a.globals.config_path, "The platform's configuration")
      ->envname("LEEWARD_CONFIG")
      ->capture_default_str();
  app.add_option("--address", a.globals.address,
                 "HOST:PORT of the control API; else LEEWARD_ADDRESS, else control.listen");
  app.add_option("-o,--output", a.output, "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_flag("--no-color", a.no_color, "No colours (also: NO_COLOR)");
}

// Prints help or what was wrong. CLI11 has exit codes of its own; ours are 0 after --help and 2 for
// any misuse.
int misused(const CLI::App& app, const CLI::ParseError& e, Io& io) {
  return app.exit(e, io.out, io.err) == 0 ? 0 : exit_status(Code::kInvalid);
}

void print_version(const Arguments& a, Io& io) {
  io.out << (a.output == "json" ? to_text({{"version", LEEWARD_VERSION}})
                                : "leeward " LEEWARD_VERSION "\n");
}

}  // namespace

int run_with(std::vector<std::string> args, const Roles& roles, Io& io) {
  Arguments a;
  CLI::App app(
      "Leeward keeps one service alive on two clouds: it moves the right to write, then the "
      "traffic, to the other site when one fails, without ever having two writers.",
      "leeward");
  app.formatter(std::make_shared<HelpFormatter>());
  app.require_subcommand(1);
  app.footer(
      fmt::format("Start with `leeward init`; `leeward COMMAND --help` explains a command.\n"
                  "The token for the control API comes from LEEWARD_TOKEN or from the\n"
                  "configuration's access.operator_token.\n\n{}",
                  kExitCodes));
  add_globals(app, a);
  add_roles(app, a, roles);
  add_file_commands(app, a);
  add_observing_commands(app, a);
  add_moves(app, a);
  add_ledger(app, a);
  add_replication(app, a, roles);
  add_db(app, a);
  add_speed(app, a);
  add_functions(app, a, roles);
  add_fn(app, a, roles);
  add_waf(app, a, roles);
  add_scale(app, a);
  add_deploy(app, a);
  add_cost(app, a);
  add(app, a, "version", "Prints the version of this executable.", "  leeward version",
      [&a](Io& out) {
        print_version(a, out);
        return 0;
      });
  try {
    std::reverse(args.begin(), args.end());  // as CLI11 wants it
    app.parse(std::move(args));
  } catch (const CLI::RequiredError& e) {
    std::vector<std::string> unknown = app.remaining();
    if (unknown.empty() || !app.get_subcommands().empty()) return misused(app, e, io);
    return report(io, Error{Code::kInvalid,
                            fmt::format("there is no command '{}'; `leeward --help` lists them",
                                        unknown.front())});
  } catch (const CLI::ParseError& e) {
    return misused(app, e, io);
  }
  a.globals.json = a.output == "json";
  a.globals.color = io.color_allowed && !a.no_color;
  return a.command(io);
}

int run(int argc, char** argv, const Roles& roles) {
  Io io = process_io();
  return run_with(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), roles, io);
}

}  // namespace leeward::cli
