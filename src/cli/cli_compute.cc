// The commands about compute: scale, deploy, cost.

#include "cli/internal/arguments.h"

namespace leeward::cli {

void add_scale(CLI::App& app, Arguments& a) {
  CLI::App* scale = add(app, a, "scale",
                        "The number of instances of the tiers that scale: what each has, and why.",
                        "  leeward scale status\n  leeward scale history app", nullptr);
  scale->require_subcommand(1);
  CLI::App* status =
      add(*scale, a, "status", "Shows each tier that scales: its number, bounds and instances.",
          "  leeward scale status", [&a](Io& io) { return scale_status(a.globals, a.scale, io); });
  CLI::App* set =
      add(*scale, a, "set",
          "Sets a tier's number, or bounds for it, for a time. Schedules and forecast do not count "
          "meanwhile; the configured max does.",
          "  leeward scale set app 6 --for 2h\n  leeward scale set app --min 4\n"
          "  leeward scale set app --clear",
          [&a](Io& io) {
            auto duration = parse_duration(a.scale_for);
            if (!duration) return report(io, std::move(duration.error()).wrap("--for"));
            a.scale.duration = *duration;
            return scale_set(a.globals, a.scale, io);
          });
  set->add_option("tier", a.scale.tier, "The tier")->required();
  set->add_option("count", a.scale.count, "This number, neither more nor fewer");
  set->add_option("--min", a.scale.min, "At least so many");
  set->add_option("--max", a.scale.max, "At most so many");
  set->add_option("--for", a.scale_for, "How long it holds")->capture_default_str();
  set->add_flag("--clear", a.scale.clear, "Take back what was set");
  CLI::App* protect = add(*scale, a, "protect",
                          "Keeps scale-ins from ending an instance, until its agent restarts.",
                          "  leeward scale protect app-2\n  leeward scale protect app-2 --off",
                          [&a](Io& io) { return scale_protect(a.globals, a.scale, io); });
  protect->add_flag("--off", a.scale.off, "Do not protect it any more");
  CLI::App* history = add(
      *scale, a, "history",
      "Shows what the autoscaler decided: which policy wanted what, why this number, and what the "
      "forecast had predicted.",
      "  leeward scale history app --last 50\n  leeward scale history app -o json",
      [&a](Io& io) { return scale_history(a.globals, a.scale, io); });
  history->add_option("--last", a.scale.limit, "At most so many, the newest ones")
      ->check(CLI::Range(1, 500))
      ->capture_default_str();
  history->add_option("tier", a.scale.tier, "The tier")->required();
  protect->add_option("instance", a.scale.tier, "TIER-NUMBER")->required();
  for (CLI::App* sub : {status, set, protect, history})
    sub->add_option("--site", a.scale.site, "Only this site; default: the one that serves");
}

void add_deploy(CLI::App& app, Arguments& a) {
  CLI::App* deploy =
      add(app, a, "deploy", "New revisions of the tiers: begin one, see how it goes, take it back.",
          "  leeward deploy start app\n  leeward deploy status", nullptr);
  deploy->require_subcommand(1);
  auto act = [&a](int (*command)(const Globals&, const DeployOptions&, Io&)) {
    return [&a, command](Io& io) {
      auto timeout = parse_duration(a.deploy_timeout);
      if (!timeout) return report(io, std::move(timeout.error()).wrap("--timeout"));
      a.deploy.timeout = *timeout;
      return command(a.globals, a.deploy, io);
    };
  };
  CLI::App* start =
      add(*deploy, a, "start",
          "Makes a tier's instances those of the configuration file's command, environment and "
          "directory: at the site that serves, and when it has proved itself there, at the others. "
          "What does not get ready or crashes is rolled back, and the exit status is 4.",
          "  leeward deploy start app\n  leeward deploy start app --site gcp --no-wait",
          act(deploy_start));
  CLI::App* status = add(*deploy, a, "status",
                         "Shows each tier's revisions, its instances, and how deployments ended.",
                         "  leeward deploy status -o json",
                         [&a](Io& io) { return deploy_status(a.globals, a.deploy, io); });
  CLI::App* rollback = add(*deploy, a, "rollback",
                           "Takes back the revision that is being deployed; when none is, deploys "
                           "the one before. At once while blue-green still keeps it.",
                           "  leeward deploy rollback app", act(deploy_rollback));
  for (CLI::App* sub : {start, rollback}) {
    sub->add_option("tier", a.deploy.tier, "The tier")->required();
    sub->add_flag("--wait,!--no-wait", a.deploy.wait, "Wait for its end (the default)");
    sub->add_option("--timeout", a.deploy_timeout, "How long to wait for each site")
        ->capture_default_str();
  }
  for (CLI::App* sub : {start, status, rollback})
    sub->add_option("--site", a.deploy.site, "Only this site");
}

void add_cost(CLI::App& app, Arguments& a) {
  CLI::App* cost = add(
      app, a, "cost",
      "Says what the standby costs a month as disk replication, as warm instances, as functions "
      "and "
      "active-active, next to the time to recover that each gives. Prices and figures come from a "
      "file of yours; what it leaves out, from the shipped one.",
      "  leeward cost\n  leeward cost --print-prices > prices.yaml\n"
      "  leeward cost --prices prices.yaml --plot standby.svg\n"
      "  leeward cost --measured build/demo/report.json -o json",
      [&a](Io& io) { return cost_of_standby(a.globals, a.cost, io); });
  cost->add_option("--prices", a.cost.prices, "Your price file");
  cost->add_option("--measured", a.cost.measured,
                   "Take the time to recover from this report of ./dev demo; several times: the "
                   "worst of each way counts")
      ->allow_extra_args(false);
  cost->add_option("--plot", a.cost.plot, "Write a plot (SVG) to this file");
  cost->add_flag("--print-prices", a.cost.print_prices, "Print the shipped price file, to edit");
}

}  // namespace leeward::cli
