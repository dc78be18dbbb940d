// deploy start, status, rollback: a tier's revision, asked of the agents. The site that serves goes
// first, and the others only when it was content.
#include <algorithm>
#include <thread>

#include "cli/internal/agents.h"
#include "cli/internal/commands.h"
#include "config/reader.h"

namespace leeward::cli {
namespace {

constexpr auto kPollEvery = std::chrono::milliseconds(300);

// Which of them answer, the one that serves first; those that do not are told of.
Result<std::vector<Agent>> in_order(const Globals& globals, const std::string& site, int& worst,
                                    Io& io) {
  auto all = agents(globals, site, io);
  if (!all) return fail(std::move(all.error()));
  std::vector<Agent> ordered;
  std::size_t serving = 0;
  for (Agent& agent : *all) {
    auto scale = agent.api.get("/v1/scale");
    if (!scale) {
      worst = report(io, scale.error());
      continue;
    }
    bool serves = flag_of(*scale, "serving");
    auto place = ordered.begin() + static_cast<std::ptrdiff_t>(serves ? serving : ordered.size());
    serving += serves;
    ordered.insert(place, std::move(agent));
  }
  if (ordered.empty()) return fail(Code::kUnavailable, "no agent answers");
  return ordered;
}

Json tier_of(const Json& status, const std::string& tier) {
  for (const Json& own : member(status, "tiers"))
    if (text_of(own, "tier") == tier) return own;
  return {};
}

bool over(const Json& tier) {
  std::string phase = text_of(tier, "phase");
  return phase == "settled" || phase == "keeping";
}

std::string progress(const Json& tier) {
  double goal = number_of(tier, "goal");
  int ready = 0;
  int old = 0;
  for (const Json& i : member(tier, "instances")) {
    bool own = number_of(i, "revision") == goal;
    ready += own && text_of(i, "state") == "ready";
    old += !own;
  }
  return fmt::format("{} revision {}: {} ready, {} of other revisions", text_of(tier, "phase"),
                     goal, ready, old);
}

// Follows one site's deployment to its end, or until the tier turns out not to run there.
Result<Json> follow(const Agent& agent, const std::string& name, Duration timeout, Io& io) {
  auto deadline = std::chrono::steady_clock::now() + timeout;
  std::string said;
  for (;;) {
    auto status = agent.api.get("/v1/deploy");
    // An agent that restarts goes on with its deployment.
    if (!status && status.error().code != Code::kUnavailable &&
        status.error().code != Code::kTimeout)
      return fail(std::move(status.error()));
    if (status) {
      Json tier = tier_of(*status, name);
      bool unpacking = text_of(tier, "phase") == "unpacking";
      if (over(tier) || (!flag_of(tier, "active") && !unpacking)) return tier;
      if (std::string now = progress(tier); now != said)
        io.err << fmt::format("site {}: {}\n", agent.site, said = now) << std::flush;
    }
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Code::kTimeout,
                  "not at its end after {}; it goes on, `leeward deploy status` tells",
                  format_duration(timeout));
    std::this_thread::sleep_for(kPollEvery);
  }
}

struct Ended {
  std::string site;
  std::string outcome;  // deployed, unchanged, rolled_back, waiting, begun
  double revision = 0;
  std::string reason;
  bool functions = false;  // the tier has some there
};

std::string sentence(const Ended& e, const std::string& tier) {
  std::string head = fmt::format("site {}: {} ", e.site, tier);
  if (e.outcome == "deployed") return head + fmt::format("runs revision {}", e.revision);
  if (e.outcome == "unchanged")
    return head + fmt::format("runs that already, as revision {}", e.revision);
  if (e.outcome == "waiting" && e.functions)
    return head + fmt::format("has functions of revision {}; its instances take it when they start",
                              e.revision);
  if (e.outcome == "waiting")
    return head +
           fmt::format("takes revision {} when it starts; it runs no process here now", e.revision);
  if (e.outcome == "begun") return head + fmt::format("begins with revision {}", e.revision);
  return head + fmt::format("has rolled back revision {}: {}", e.revision, e.reason);
}

Result<Ended> act_on(const Agent& agent, const std::string& path, const Json& body,
                     const DeployOptions& options, Io& io) {
  auto answer = agent.api.post(path, body);
  if (!answer) return fail(std::move(answer.error()));
  Ended ended{agent.site, "begun", number_of(*answer, "revision"), ""};
  bool begun = flag_of(*answer, "begun");
  if (!options.wait) {
    if (!begun) ended.outcome = "unchanged";
    return ended;
  }
  auto tier = follow(agent, options.tier, options.timeout, io);
  if (!tier) return fail(std::move(tier.error()).wrap("site " + agent.site));
  ended.functions = tier->contains("functions");
  if (!over(*tier)) {
    ended.outcome = "waiting";
  } else if (number_of(*tier, "current") == ended.revision) {
    ended.outcome = begun ? "deployed" : "unchanged";
  } else {
    ended.outcome = "rolled_back";
    ended.reason = text_of(*tier, "reason");
  }
  return ended;
}

int act(const Globals& globals, const std::string& path, const Json& body,
        const DeployOptions& options, Io& io) {
  int worst = 0;
  auto ordered = in_order(globals, options.site, worst, io);
  if (!ordered) return report(io, ordered.error());
  Json results = Json::array();
  for (const Agent& agent : *ordered) {
    auto ended = act_on(agent, path, body, options, io);
    if (!ended) {
      worst = report(io, ended.error());
      break;
    }
    results.push_back({{"site", ended->site},
                       {"tier", options.tier},
                       {"outcome", ended->outcome},
                       {"revision", ended->revision},
                       {"reason", ended->reason}});
    if (!globals.json) io.out << printable(sentence(*ended, options.tier)) << "\n";
    if (ended->outcome != "rolled_back") continue;
    worst = exit_status(Code::kUnhealthy);
    break;
  }
  if (globals.json) io.out << to_text({{"sites", results}});
  return worst;
}

std::string render(const Json& status) {
  std::string out = fmt::format("site {}\n", text_of(status, "site"));
  for (const Json& tier : member(status, "tiers")) {
    out += fmt::format("  {}: {}, revision {}", text_of(tier, "tier"), text_of(tier, "phase"),
                       number_of(tier, "current"));
    if (number_of(tier, "goal") != number_of(tier, "current"))
      out += fmt::format(", to be {} ({})", number_of(tier, "goal"), text_of(tier, "strategy"));
    if (!flag_of(tier, "active")) out += "; it does not run here now";
    out += "\n";
    if (double failed = number_of(tier, "failed"); failed > 0)
      out += fmt::format("    revision {} was rolled back: {}\n", failed, text_of(tier, "reason"));
    std::vector<std::vector<std::string>> rows{
        {"    INSTANCE", "REVISION", "STATE", "OFFERED", "LAST EXIT", "LAST CHECK"}};
    for (const Json& i : member(tier, "instances"))
      rows.push_back({fmt::format("    {}-{}", text_of(tier, "tier"), number_of(i, "number")),
                      fmt::format("{}", number_of(i, "revision")), text_of(i, "state"),
                      flag_of(i, "offered") ? "yes" : "no", text_of(i, "last_exit"),
                      text_of(i, "last_check")});
    if (const Json own = member(tier, "functions"); own.is_object())
      rows.push_back({fmt::format("    {} functions", text_of(tier, "tier")),
                      fmt::format("{}", number_of(tier, "goal")), text_of(own, "state"), "-",
                      text_of(own, "last_exit"), text_of(own, "last_check")});
    if (rows.size() > 1) out += columns(rows);
    for (const Json& o : member(tier, "history"))
      out += fmt::format("    {}  revision {} {}\n", text_of(o, "at"), number_of(o, "revision"),
                         text_of(o, "outcome") == "succeeded"
                             ? "deployed"
                             : "rolled back: " + text_of(o, "reason"));
  }
  return out;
}

}  // namespace

int deploy_start(const Globals& globals, const DeployOptions& options, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return report(io, platform.error());
  std::vector<std::string> names;
  for (const Tier& tier : platform->tiers) names.push_back(tier.name);
  auto tier = std::find_if(platform->tiers.begin(), platform->tiers.end(),
                           [&](const Tier& t) { return t.name == options.tier; });
  if (tier == platform->tiers.end())
    return report(
        io, {Code::kNotFound, fmt::format("{} has no tier '{}'{}", globals.config_path,
                                          options.tier, config::suggestion(options.tier, names))});
  Json process{{"command", tier->process.command},
               {"env", Json::object()},
               {"directory", tier->process.directory},
               {"image", tier->process.image}};
  for (const auto& [name, value] : tier->process.env) process["env"][name] = value;
  return act(globals, "/v1/deploy", {{"tier", options.tier}, {"process", process}}, options, io);
}

int deploy_rollback(const Globals& globals, const DeployOptions& options, Io& io) {
  return act(globals, "/v1/deploy/rollback", {{"tier", options.tier}}, options, io);
}

int deploy_status(const Globals& globals, const DeployOptions& options, Io& io) {
  auto all = agents(globals, options.site, io);
  if (!all) return report(io, all.error());
  int worst = 0;
  Json sites = Json::array();
  for (const Agent& agent : *all) {
    auto status = agent.api.get("/v1/deploy");
    if (!status) {
      worst = report(io, status.error());
      continue;
    }
    for (const Json& tier : member(*status, "tiers"))
      if (text_of(tier, "phase") == "undoing") worst = exit_status(Code::kUnhealthy);
    if (globals.json)
      sites.push_back(std::move(*status));
    else
      io.out << render(*status);
  }
  if (globals.json) io.out << to_text({{"sites", sites}});
  return worst;
}

}  // namespace leeward::cli
