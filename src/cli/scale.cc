// scale status, set, protect, history: asked of the agents. What changes something goes to the site
// that serves, unless one is named.
#include <algorithm>
#include <charconv>

#include "cli/internal/agents.h"
#include "cli/internal/commands.h"

namespace leeward::cli {
namespace {

struct Answer {
  Agent agent;
  Json scale;  // of GET /v1/scale
};

// What the agents of the chosen sites answer; those that do not are told of.
Result<std::vector<Answer>> ask(const Globals& globals, const std::string& site, int& worst,
                                Io& io) {
  auto all = agents(globals, site, io);
  if (!all) return fail(std::move(all.error()));
  std::vector<Answer> answers;
  for (Agent& agent : *all) {
    auto scale = agent.api.get("/v1/scale");
    if (scale)
      answers.push_back({std::move(agent), std::move(*scale)});
    else
      worst = report(io, scale.error());
  }
  return answers;
}

// The named site, else the one that serves.
Result<Agent> responsible(const Globals& globals, const std::string& site, Io& io) {
  int worst = 0;
  auto answers = ask(globals, site, worst, io);
  if (!answers) return fail(std::move(answers.error()));
  for (Answer& answer : *answers)
    if (!site.empty() || flag_of(answer.scale, "serving")) return std::move(answer.agent);
  return fail(Code::kUnavailable, "no agent that answers serves; name a site with --site");
}

std::string number_text(const Json& json, std::string_view key) {
  const Json& value = member(json, key);
  return value.is_number() ? fmt::format("{}", value.get<double>()) : "–";
}

std::string render(const Json& scale) {
  std::string out = fmt::format("site {}{}\n", text_of(scale, "site"),
                                flag_of(scale, "serving") ? ", serves" : "");
  for (const Json& tier : member(scale, "tiers")) {
    out +=
        fmt::format("  {}: {} instances wanted ({} to {}); most needed in 24 h: {}",
                    text_of(tier, "tier"), number_text(tier, "desired"), number_text(tier, "min"),
                    number_text(tier, "max"), number_text(tier, "peak"));
    if (member(tier, "other_site_peak").is_number())
      out += fmt::format(", at the other site: {}", number_text(tier, "other_site_peak"));
    out += "\n";
    if (const Json& set = member(tier, "set"); set.is_object())
      out += fmt::format("    set by an operator: {} to {}, until {}\n", number_text(set, "min"),
                         number_text(set, "max"), text_of(set, "until"));
    if (std::string until = text_of(tier, "no_scale_in_until"); !until.empty())
      out += fmt::format("    nothing scales in until {}\n", until);
    std::vector<std::vector<std::string>> rows{
        {"    INSTANCE", "STATE", "MEMORY", "RESTARTS", "LAST EXIT"}};
    for (const Json& i : member(tier, "instances"))
      rows.push_back({fmt::format("    {}-{}{}", text_of(tier, "tier"), number_text(i, "number"),
                                  flag_of(i, "protected") ? " (protected)" : ""),
                      text_of(i, "state"),
                      fmt::format("{:.1f} MiB", number_of(i, "memory_bytes", 0) / (1 << 20)),
                      number_text(i, "restarts"), text_of(i, "last_exit")});
    if (rows.size() > 1) out += columns(rows);
    if (const Json& last = member(tier, "last"); last.is_object())
      out += fmt::format("    {}  {}\n", text_of(last, "at"), text_of(last, "text"));
  }
  return out;
}

}  // namespace

int scale_status(const Globals& globals, const ScaleOptions& options, Io& io) {
  int worst = 0;
  auto answers = ask(globals, options.site, worst, io);
  if (!answers) return report(io, answers.error());
  if (globals.json) {
    Json all = Json::array();
    for (const Answer& answer : *answers) all.push_back(answer.scale);
    io.out << to_text({{"sites", all}});
    return worst;
  }
  for (const Answer& answer : *answers) io.out << render(answer.scale);
  return worst;
}

int scale_set(const Globals& globals, const ScaleOptions& options, Io& io) {
  Json body{{"tier", options.tier}};
  bool bounded = options.min || options.max;
  if (options.clear ? (options.count || bounded) : (options.count.has_value() == bounded))
    return report(
        io, {Code::kInvalid, "give a number, or --min and --max, or --clear; one of these three"});
  if (options.clear) {
    body["clear"] = true;
  } else {
    if (auto min = options.count ? options.count : options.min) body["min"] = *min;
    if (auto max = options.count ? options.count : options.max) body["max"] = *max;
    body["for_s"] = seconds(options.duration);
  }
  auto agent = responsible(globals, options.site, io);
  if (!agent) return report(io, agent.error());
  auto answer = agent->api.post("/v1/scale/set", body);
  if (!answer) return report(io, answer.error());
  if (globals.json)
    io.out << to_text(*answer);
  else
    io.out << fmt::format("site {}: {} {}\n", agent->site, options.tier,
                          options.clear ? "follows its policies again"
                                        : "is set for " + format_duration(options.duration));
  return 0;
}

int scale_protect(const Globals& globals, const ScaleOptions& options, Io& io) {
  auto dash = options.tier.rfind('-');
  int number = -1;
  if (dash != std::string::npos) {
    std::string_view digits = std::string_view(options.tier).substr(dash + 1);
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc{} || end != digits.data() + digits.size()) number = -1;
  }
  if (number < 0)
    return report(io, {Code::kInvalid, fmt::format("'{}' is not an instance; write TIER-NUMBER, "
                                                   "for example app-2",
                                                   options.tier)});
  auto agent = responsible(globals, options.site, io);
  if (!agent) return report(io, agent.error());
  auto answer = agent->api.post(
      "/v1/scale/protect",
      {{"tier", options.tier.substr(0, dash)}, {"number", number}, {"on", !options.off}});
  if (!answer) return report(io, answer.error());
  if (globals.json)
    io.out << to_text(*answer);
  else
    io.out << fmt::format("site {}: {} is {} from scaling in\n", agent->site, options.tier,
                          options.off ? "no longer protected" : "protected");
  return 0;
}

int scale_history(const Globals& globals, const ScaleOptions& options, Io& io) {
  auto agent = responsible(globals, options.site, io);
  if (!agent) return report(io, agent.error());
  auto answer = agent->api.get(
      "/v1/scale/history", {{"tier", options.tier}, {"limit", fmt::format("{}", options.limit)}});
  if (!answer) return report(io, answer.error());
  if (globals.json) {
    io.out << to_text(*answer);
    return 0;
  }
  for (const Json& d : member(*answer, "decisions")) {
    io.out << text_of(d, "at") << "  " << text_of(d, "text");
    if (member(d, "predicted").is_number())
      io.out << fmt::format("; forecast {}, needed {}", number_text(d, "predicted"),
                            number_text(d, "needed"));
    io.out << "\n";
  }
  if (member(*answer, "mean_error").is_number())
    io.out << fmt::format("forecast: off by {:.2f} instances on average, over {} hours\n",
                          number_of(*answer, "mean_error", 0), member(*answer, "forecast").size());
  return 0;
}

}  // namespace leeward::cli
