// edge top, explain, purge, warm, bans, unban, waf status: asked of the edges themselves, each at
// its site's admin port. One that cannot be reached is told of and does not stop the others.
#include "model/edge.h"

#include <chrono>
#include <sstream>
#include <thread>

#include "cli/internal/commands.h"
#include "cli/internal/edge_view.h"

namespace leeward::cli {
namespace {

struct EdgeAt {
  std::string site;
  Api api;
};

constexpr std::size_t kUrlsACall = 500;  // so that a request stays small

Result<std::vector<EdgeAt>> edges(const Globals& globals, const std::string& only, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return fail(std::move(platform.error()));
  if (!platform->edge) return fail(Code::kInvalid, "{} has no section 'edge'", globals.config_path);
  auto token = operator_token(*platform);
  if (!token) return fail(std::move(token.error()));
  std::vector<EdgeAt> all;
  for (SiteId id : platform->workload_sites()) {
    const Site& site = platform->site(id);
    if (!only.empty() && site.name != only) continue;
    all.push_back({site.name, Api({site.address, platform->edge->admin_port}, *token,
                                  "the edge of site " + site.name)});
  }
  if (all.empty()) return fail(Code::kInvalid, "there is no workload site '{}'", only);
  return all;
}

Result<EdgeAt> one_edge(const Globals& globals, const std::string& site, Io& io) {
  auto all = edges(globals, site, io);
  if (!all) return fail(std::move(all.error()));
  return std::move(all->front());
}

// Asks each edge; the answers of those that gave one, by site. `worst` becomes the exit status.
template <typename Ask>
std::vector<std::pair<std::string, Json>> ask_all(const std::vector<EdgeAt>& all, Ask ask,
                                                  int& worst, Io& io) {
  std::vector<std::pair<std::string, Json>> answers;
  for (const EdgeAt& edge : all) {
    auto answer = ask(edge.api);
    if (answer)
      answers.emplace_back(edge.site, std::move(*answer));
    else
      worst = report(io, answer.error());
  }
  return answers;
}

Json by_site(const std::vector<std::pair<std::string, Json>>& answers) {
  Json json = Json::object();
  for (const auto& [site, answer] : answers) json[site] = answer;
  return json;
}

// The URLs of the command line; "-" reads them from stdin, one a line.
std::vector<std::string> urls_of(const EdgeOptions& options, Io& io) {
  if (options.urls != std::vector<std::string>{"-"}) return options.urls;
  std::vector<std::string> urls;
  for (std::string line; std::getline(io.in, line);)
    if (!line.empty()) urls.push_back(line);
  return urls;
}

}  // namespace

int edge_top(const Globals& globals, const EdgeOptions& options, Io& io) {
  auto all = edges(globals, options.site, io);
  if (!all) return report(io, all.error());
  int worst = 0;
  auto ask = [](const Api& api) { return api.get("/v1/edge/top"); };
  auto before = ask_all(*all, ask, worst, io);
  if (globals.json) {
    io.out << to_text(by_site(before));
    return worst;
  }
  if (options.once) {
    for (const auto& [site, now] : before) io.out << render_top(site, Json(), now, 0) << "\n";
    return worst;
  }
  for (;;) {
    std::this_thread::sleep_for(options.interval);
    worst = 0;
    auto now = ask_all(*all, ask, worst, io);
    if (now.empty()) return worst;
    io.out << "\033[H\033[J";  // the terminal's home, cleared
    for (const auto& [site, answer] : now) {
      const Json old = by_site(before);
      io.out << render_top(site, member(old, site), answer, seconds(options.interval)) << "\n";
    }
    io.out << std::flush;
    if (!io.out) return 0;
    before = std::move(now);
  }
}

int edge_explain(const Globals& globals, const EdgeOptions& options, Io& io) {
  auto all = edges(globals, options.site, io);
  if (!all) return report(io, all.error());
  int worst = 0;
  auto answers = ask_all(
      *all,
      [&](const Api& api) {
        std::map<std::string, std::string> query = {{"url", options.urls.front()}};
        if (!options.client.empty()) query["client"] = options.client;
        return api.get("/v1/edge/explain", query);
      },
      worst, io);
  if (globals.json) {
    io.out << to_text(by_site(answers));
    return worst;
  }
  for (const auto& [site, answer] : answers) {
    const Json& text = member(answer, "text");
    io.out << "edge of " << site << "\n";
    if (!text.is_string()) continue;
    std::istringstream lines(text.get<std::string>());
    for (std::string line; std::getline(lines, line);) io.out << "  " << printable(line) << "\n";
  }
  return worst;
}

int edge_bans(const Globals& globals, const EdgeOptions& options, Io& io) {
  auto all = edges(globals, options.site, io);
  if (!all) return report(io, all.error());
  int worst = 0;
  auto answers = ask_all(
      *all, [](const Api& api) { return api.get("/v1/edge/bans"); }, worst, io);
  if (globals.json) {
    io.out << to_text(by_site(answers));
    return worst;
  }
  for (const auto& [site, answer] : answers) {
    const Json& bans = member(answer, "bans");
    io.out << fmt::format("edge of {}: {} banned\n", site, bans.is_array() ? bans.size() : 0);
    for (const Json& ban : bans)
      io.out << fmt::format("  {:39}  by {}, {:.0f} s more\n", text_of(ban, "client"),
                            text_of(ban, "rule"), number_of(ban, "seconds_left"));
  }
  return worst;
}

int edge_unban(const Globals& globals, const EdgeOptions& options, Io& io) {
  if (options.clients.empty() != options.all)
    return report(io, {Code::kInvalid, "name the addresses whose bans are to end, or --all"});
  auto all = edges(globals, options.site, io);
  if (!all) return report(io, all.error());
  int worst = 0;
  const Json order = options.all ? Json{{"all", true}} : Json{{"clients", options.clients}};
  auto answers = ask_all(
      *all, [&](const Api& api) { return api.post("/v1/edge/unban", order); }, worst, io);
  if (globals.json) {
    io.out << to_text(by_site(answers));
    return worst;
  }
  for (const auto& [site, answer] : answers)
    io.out << fmt::format("{}: {:.0f} lifted\n", site, number_of(answer, "lifted"));
  return worst;
}

int edge_firewall_status(const Globals& globals, const EdgeOptions& options, Io& io) {
  auto all = edges(globals, options.site, io);
  if (!all) return report(io, all.error());
  int worst = 0;
  auto answers = ask_all(
      *all, [](const Api& api) { return api.get("/v1/edge/firewall"); }, worst, io);
  const FirewallComparison compared = compare_firewalls(answers);
  if (globals.json)
    io.out << to_text({{"sites", by_site(answers)},
                       {"same", answers.size() < 2 ? Json() : Json(compared.differ.empty())},
                       {"differ", compared.differ}});
  else
    io.out << compared.text;
  return worst != 0 ? worst : compared.differ.empty() ? 0 : exit_status(Code::kConflict);
}

int edge_purge(const Globals& globals, const EdgeOptions& options, Io& io) {
  const std::vector<std::string> urls = urls_of(options, io);
  if (options.kind != "all" && urls.empty())
    return report(io, {Code::kInvalid, "name what is to be purged, or --all"});
  auto all = edges(globals, options.site, io);
  if (!all) return report(io, all.error());
  int worst = 0;
  auto answers = ask_all(
      *all,
      [&](const Api& api) {
        return api.post("/v1/edge/purge",
                        {{"kind", options.kind}, {"texts", urls}, {"soft", options.soft}});
      },
      worst, io);
  if (globals.json) {
    io.out << to_text(by_site(answers));
    return worst;
  }
  for (const auto& [site, answer] : answers)
    io.out << (options.kind == "url"
                   ? fmt::format("{}: {:.0f} objects\n", site, number_of(answer, "objects"))
                   : fmt::format("{}: in force\n", site));
  return worst;
}

int edge_warm(const Globals& globals, const EdgeOptions& options, Io& io) {
  auto to = one_edge(globals, options.site, io);
  if (!to) return report(io, to.error());
  std::vector<std::string> urls = urls_of(options, io);
  if (!options.from.empty()) {
    auto from = one_edge(globals, options.from, io);
    if (!from) return report(io, from.error());
    auto popular = from->api.get("/v1/edge/popular", {{"count", fmt::format("{}", options.count)}});
    if (!popular) return report(io, popular.error());
    for (const Json& url : member(*popular, "urls"))
      if (url.is_string()) urls.push_back(url.get<std::string>());
  }
  if (urls.empty())
    return report(io, {Code::kInvalid,
                       "there is nothing to warm with; name URLs, or the site "
                       "whose cache is the model with --from"});
  auto first = to->api.get("/v1/edge/warm");
  if (!first) return report(io, first.error());
  double taken = 0;
  for (std::size_t i = 0; i < urls.size(); i += kUrlsACall) {
    const Json part(std::vector<std::string>(
        urls.begin() + static_cast<std::ptrdiff_t>(i),
        urls.begin() + static_cast<std::ptrdiff_t>(std::min(urls.size(), i + kUrlsACall))));
    auto answer = to->api.post("/v1/edge/warm", {{"urls", part}});
    if (!answer) return report(io, answer.error());
    taken += number_of(*answer, "taken");
  }
  Json progress;
  const BootTime until = BootClock::now() + options.timeout;
  for (;;) {
    auto answer = to->api.get("/v1/edge/warm");
    if (!answer) return report(io, answer.error());
    progress = std::move(*answer);
    if (number_of(progress, "waiting") + number_of(progress, "under_way") == 0) break;
    if (BootClock::now() >= until)
      return report(io, {Code::kTimeout, fmt::format("the edge of {} has {:.0f} URLs still to ask "
                                                     "for; it goes on",
                                                     to->site, number_of(progress, "waiting"))});
    std::this_thread::sleep_for(100ms);
  }
  const double warmed = number_of(progress, "warmed") - number_of(*first, "warmed");
  const double failed = number_of(progress, "failed") - number_of(*first, "failed");
  if (globals.json)
    io.out << to_text(
        {{"site", to->site}, {"taken", taken}, {"warmed", warmed}, {"failed", failed}});
  else
    io.out << fmt::format("{}: {:.0f} URLs warmed, {:.0f} failed\n", to->site, warmed, failed);
  return failed > 0 || taken < static_cast<double>(urls.size()) ? exit_status(Code::kUnavailable)
                                                                : 0;
}

}  // namespace leeward::cli
