#include "model/cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace leeward {
namespace {

int application_servers(const Platform& platform) {
  int servers = 0;
  for (const Tier& tier : platform.tiers) servers += tier.instances;
  return servers;
}

// A line "a × b × c unit", whose amount is the product.
CostLine line(std::string what, std::initializer_list<std::pair<double, std::string_view>> factors,
              bool idle = true) {
  CostLine l{std::move(what), "", 1, idle};
  for (const auto& [value, unit] : factors) {
    l.amount *= value;
    fmt::format_to(std::back_inserter(l.how), "{}{:g}{}{}", l.how.empty() ? "" : " × ", value,
                   unit.empty() ? "" : " ", unit);
  }
  return l;
}

CostOption disk_replication(int servers, const CostFigures& f, const CostPrices& p) {
  CostOption o{"disk_replication", {}, {}};
  double n = servers;
  double machines = std::ceil(n / p.disks_per_server);
  o.lines = {
      line("replication agents", {{n, "servers"}, {kHoursPerMonth, "h"}, {p.agent_hour, ""}}),
      line("copies of the disks", {{n, "servers"}, {f.disk_gb, "GB"}, {p.staging_gb_month, ""}}),
      line("points in time", {{n, "servers"},
                              {f.disk_gb, "GB"},
                              {p.snapshot_share, "of it"},
                              {p.snapshot_gb_month, ""}}),
      line("replication servers",
           {{machines, "servers"}, {kHoursPerMonth, "h"}, {p.replication_server_hour, ""}}),
      line("changed blocks sent",
           {{n, "servers"}, {f.changed_gb, "GB"}, {p.primary_egress_gb, ""}}),
      line("servers while it serves",
           {{n, "servers"}, {f.standby_hours, "h"}, {p.instance_hour, ""}}, false)};
  return o;
}

// What all others have: a database that follows.
void add_database(CostOption& o, double databases, const CostFigures& f, const CostPrices& p) {
  o.lines.push_back(line("standby databases",
                         {{databases, "servers"}, {kHoursPerMonth, "h"}, {p.database_hour, ""}}));
  o.lines.push_back(
      line("their disks", {{databases, "servers"}, {f.disk_gb, "GB"}, {p.disk_gb_month, ""}}));
  o.lines.push_back(
      line("changes replicated",
           {{databases, "databases"}, {f.database_changed_gb, "GB"}, {p.primary_egress_gb, ""}}));
}

void add_instances(CostOption& o, double servers, const CostFigures& f, const CostPrices& p) {
  o.lines.push_back(line("application servers",
                         {{servers, "servers"}, {kHoursPerMonth, "h"}, {p.instance_hour, ""}}));
  o.lines.push_back(
      line("their disks", {{servers, "servers"}, {f.disk_gb, "GB"}, {p.disk_gb_month, ""}}));
}

void add_functions(CostOption& o, const CostFigures& f, const CostPrices& p) {
  double requests = f.requests * f.standby_hours / kHoursPerMonth;
  o.lines.push_back(line("functions while it serves",
                         {{requests, "requests"},
                          {f.request_seconds, "s"},
                          {f.function_gb, "GB"},
                          {p.function_gb_second, ""}},
                         false));
  o.lines.push_back(line("their requests",
                         {{requests / 1e6, "million"}, {p.function_million_requests, ""}}, false));
  o.lines.push_back(line("functions that wait", {{0, ""}}));
}

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string label_of(const std::string& name) {
  std::string label = name;
  std::replace(label.begin(), label.end(), '_', ' ');
  return label;
}

std::string time_text(double seconds) {
  if (seconds >= 120) return fmt::format("{:g} min", std::round(seconds / 6) / 10);
  return fmt::format("{:g} s", std::round(seconds * 100) / 100);
}

}  // namespace

double CostOption::total() const {
  double sum = 0;
  for (const CostLine& l : lines) sum += l.amount;
  return sum;
}

double CostOption::idle() const {
  double sum = 0;
  for (const CostLine& l : lines)
    if (l.idle) sum += l.amount;
  return sum;
}

std::vector<CostOption> standby_costs(const Platform& platform, const CostAssumptions& given) {
  const CostFigures& f = given.figures;
  const CostPrices& p = given.prices;
  int servers = application_servers(platform);
  auto databases = static_cast<int>(platform.databases.size());

  CostOption disks = disk_replication(servers + databases, f, p);
  disks.rto = given.disk_replication;

  CostOption warm{"warm", {}, given.warm};
  add_instances(warm, servers, f, p);
  add_database(warm, databases, f, p);

  CostOption functions{"functions", {}, given.functions};
  add_functions(functions, f, p);
  add_database(functions, databases, f, p);

  CostOption both{"active_active", {}, given.active_active};
  add_instances(both, servers, f, p);
  add_database(both, databases, f, p);
  both.lines.push_back(line(
      "changes the other way",
      {{databases * 1.0, "databases"}, {f.database_changed_gb, "GB"}, {p.standby_egress_gb, ""}}));

  std::vector<CostOption> all{disks, warm, functions, both};
  for (CostOption& o : all)
    o.lines.push_back(line("private path", {{kHoursPerMonth, "h"}, {p.tunnel_hour, ""}}));
  return all;
}

std::string cost_plot(const std::vector<CostOption>& options, const std::string& currency,
                      const std::string& title) {
  constexpr int kWidth = 760;
  constexpr int kLeft = 150;
  constexpr int kBarWidth = 400;
  constexpr int kRow = 64;
  constexpr int kTop = 60;
  double most = 0;
  for (const CostOption& o : options) most = std::max(most, o.total());
  auto scaled = [&](double amount) { return most > 0 ? kBarWidth * amount / most : 0; };
  int height = kTop + kRow * static_cast<int>(options.size()) + 50;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"13\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n"
      "<text x=\"20\" y=\"30\" font-size=\"17\">{2}</text>\n",
      kWidth, height, escaped(title));
  int y = kTop;
  for (const CostOption& o : options) {
    double idle = scaled(o.idle());
    double serving = scaled(o.total() - o.idle());
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 10,
                       y + 20, escaped(label_of(o.name)));
    svg +=
        fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"28\" fill=\"#3b6ea5\"/>\n",
                    kLeft, y, idle);
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"28\" fill=\"#e0913a\"/>\n",
        kLeft + idle, y, serving);
    svg += fmt::format(
        "<text x=\"{:.1f}\" y=\"{}\">{:.2f} {}</text>\n<text x=\"{}\" y=\"{}\" font-size=\"11\" "
        "fill=\"#555\">RTO {} ({})</text>\n",
        kLeft + idle + serving + 8, y + 19, o.total(), escaped(currency), kLeft, y + 43,
        time_text(o.rto.seconds), o.rto.measured ? "measured" : "assumed");
    y += kRow;
  }
  svg += fmt::format(
      "<rect x=\"{0}\" y=\"{1}\" width=\"12\" height=\"12\" fill=\"#3b6ea5\"/>"
      "<text x=\"{2}\" y=\"{3}\" font-size=\"11\">paid for waiting</text>"
      "<rect x=\"{4}\" y=\"{1}\" width=\"12\" height=\"12\" fill=\"#e0913a\"/>"
      "<text x=\"{5}\" y=\"{3}\" font-size=\"11\">paid while it serves</text>\n</svg>\n",
      kLeft, y + 8, kLeft + 18, y + 18, kLeft + 140, kLeft + 158);
  return svg;
}

}  // namespace leeward
