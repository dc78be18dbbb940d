// cost: what the standby of this platform costs in four ways, next to the time to recover of each.
#include "model/cost.h"

#include <map>

#include "base/file.h"
#include "cli/internal/commands.h"
#include "cli/internal/render.h"
#include "config/prices.h"

namespace leeward::cli {
namespace {

constexpr std::size_t kReportBytesMax = 4u << 20;

constexpr std::pair<std::string_view, std::string_view> kTitles[] = {
    {"disk_replication", "disk replication"},
    {"warm", "warm instances"},
    {"functions", "functions"},
    {"active_active", "active-active"}};

std::string title_of(const std::string& name) {
  for (const auto& [key, title] : kTitles)
    if (key == name) return std::string(title);
  return name;
}

Json as_json(const std::vector<CostOption>& options, const std::string& currency) {
  Json all = Json::array();
  for (const CostOption& o : options) {
    Json lines = Json::array();
    for (const CostLine& l : o.lines)
      lines.push_back({{"what", l.what}, {"how", l.how}, {"amount", l.amount}, {"idle", l.idle}});
    all.push_back({{"name", o.name},
                   {"total", o.total()},
                   {"idle", o.idle()},
                   {"rto_seconds", o.rto.seconds},
                   {"rto_measured", o.rto.measured},
                   {"rto_source", o.rto.source},
                   {"lines", lines}});
  }
  return {{"currency", currency}, {"per", "month"}, {"options", all}};
}

std::string as_text(const std::vector<CostOption>& options, const std::string& currency) {
  std::vector<std::vector<std::string>> rows{
      {"STANDBY AS", currency + " A MONTH", "OF IT FOR WAITING", "RTO", ""}};
  for (const CostOption& o : options)
    rows.push_back({title_of(o.name), fmt::format("{:.2f}", o.total()),
                    fmt::format("{:.2f}", o.idle()), format_seconds(o.rto.seconds),
                    o.rto.measured ? "measured" : "assumed"});
  std::string out = columns(rows);
  for (const CostOption& o : options) {
    out += fmt::format("\n{}\n", title_of(o.name));
    std::vector<std::vector<std::string>> detail{{"  WHAT", currency, "HOW"}};
    for (const CostLine& l : o.lines)
      detail.push_back({"  " + l.what, fmt::format("{:.2f}", l.amount), l.how});
    out += columns(detail);
    out += fmt::format("  RTO: {}\n", o.rto.source);
  }
  return out;
}

// Takes the time to recover from a report that the demo wrote, in place of the price file's figure.
// Of several reports of one way the worst counts.
Status take_measured(const std::string& path, CostAssumptions& assumptions,
                     std::map<std::string, double>& worst) {
  auto text = read_file(path, kReportBytesMax);
  if (!text) return fail(std::move(text.error()));
  Json report = Json::parse(*text, nullptr, false);
  std::string compute = text_of(report, "compute");
  const Json& rto = member(report, "rto_seconds");
  bool known = compute == "instances" || compute == "functions";
  if (!report.is_object() || !known || text_of(report, "scenario").empty())
    return fail(Code::kInvalid, "{}: not a report of the demo: scenario or compute is missing",
                path);
  if (!rto.is_number() || rto.get<double>() < 0)
    return fail(Code::kInvalid, "{}: scenario '{}' measured no time to recover", path,
                text_of(report, "scenario"));
  double measured = rto.get<double>();
  if (auto known_worst = worst.find(compute);
      known_worst != worst.end() && known_worst->second >= measured)
    return {};
  worst[compute] = measured;
  RtoFigure& figure = compute == "functions" ? assumptions.functions : assumptions.warm;
  figure = {
      measured, true,
      fmt::format("measured by the demo, scenario {} ({})", text_of(report, "scenario"), path)};
  return {};
}

}  // namespace

int cost_of_standby(const Globals& globals, const CostOptions& options, Io& io) {
  if (options.print_prices) {
    io.out << config::shipped_prices();
    return 0;
  }
  auto platform = load_platform(globals, io);
  if (!platform) return report(io, platform.error());
  config::LoadedPrices prices = config::load_price_file(options.prices);
  if (!prices.assumptions) {
    for (const config::Problem& problem : prices.problems)
      io.err << printable(to_string(problem)) << "\n";
    return report(io, {Code::kInvalid, options.prices + " cannot be used"});
  }
  std::map<std::string, double> worst;
  for (const std::string& path : options.measured)
    if (auto taken = take_measured(path, *prices.assumptions, worst); !taken)
      return report(io, taken.error());
  const std::string& currency = prices.assumptions->prices.currency;
  std::vector<CostOption> all = standby_costs(*platform, *prices.assumptions);
  if (!options.plot.empty()) {
    std::string svg =
        cost_plot(all, currency, "A month of standby for " + platform->name + ", by kind");
    if (auto written = write_file_durably(options.plot, svg, 0644); !written)
      return report(io, written.error());
  }
  io.out << (globals.json ? to_text(as_json(all, currency)) : as_text(all, currency));
  return 0;
}

}  // namespace leeward::cli
