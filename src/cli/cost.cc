// cost: what the standby of this platform costs in four ways, next to the time to recover of each.
#include "model/cost.h"

#include "base/file.h"
#include "cli/internal/commands.h"
#include "cli/internal/render.h"
#include "config/prices.h"

namespace leeward::cli {
namespace {

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
                    o.rto.measured ? "measured" : "not measured"});
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
