#include "config/prices.h"

#include "base/check.h"
#include "base/file.h"
#include "config/setting.h"

namespace leeward::config {
namespace {

constexpr std::size_t kBytesMax = 1u << 20;
constexpr Bounds<double> kPrice{0, 1e6};
constexpr Bounds<double> kAmount{0, 1e15};

const TextRule kCurrencyRule{"currency", "write the three letters of ISO 4217, for example USD",
                             "^[A-Z]{3}$", [](std::string_view t) {
                               return t.size() == 3 &&
                                      t.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") ==
                                          std::string_view::npos;
                             }};

Table<CostPrices> price_table() {
  using P = CostPrices;
  Table<P> t;
  t.text("currency", &P::currency, kCurrencyRule, "Of all prices.");
  t.number("instance_hour", &P::instance_hour, kPrice, "An application server, an hour.");
  t.number("database_hour", &P::database_hour, kPrice, "A standby database server, an hour.");
  t.number("disk_gb_month", &P::disk_gb_month, kPrice, "A server's disk, a GB and month.");
  t.number("agent_hour", &P::agent_hour, kPrice, "Disk replication: a server, an hour.");
  t.number("staging_gb_month", &P::staging_gb_month, kPrice,
           "Disk replication: the copy, a GB and month.");
  t.number("snapshot_gb_month", &P::snapshot_gb_month, kPrice,
           "Disk replication: points in time, a GB and month.");
  t.percent("snapshot_share", &P::snapshot_share, {0, 100},
            "Disk replication: how much of the disk the points in time hold besides.");
  t.number("replication_server_hour", &P::replication_server_hour, kPrice,
           "Disk replication: a replication server, an hour.");
  t.number("disks_per_server", &P::disks_per_server, {1, 1000},
           "Disk replication: disks that a replication server takes.");
  t.number("primary_egress_gb", &P::primary_egress_gb, kPrice,
           "Traffic out of the primary's cloud, a GB.");
  t.number("standby_egress_gb", &P::standby_egress_gb, kPrice,
           "Traffic out of the standby's cloud, a GB.");
  t.number("tunnel_hour", &P::tunnel_hour, kPrice, "The private path between the clouds, an hour.");
  t.number("function_gb_second", &P::function_gb_second, kPrice, "Functions, a GB-second.");
  t.number("function_million_requests", &P::function_million_requests, kPrice,
           "Functions, a million requests.");
  return t;
}

Table<CostFigures> figure_table() {
  using F = CostFigures;
  Table<F> t;
  t.number("disk_gb", &F::disk_gb, kAmount, "Disk of each server, GB.");
  t.number("changed_gb", &F::changed_gb, kAmount,
           "Disk blocks that change in a month, each server, GB.");
  t.number("database_changed_gb", &F::database_changed_gb, kAmount,
           "Changes that replication carries in a month, each database, GB.");
  t.number("requests", &F::requests, kAmount, "Requests of the service in a month.");
  t.number("request_seconds", &F::request_seconds, {0, 900}, "A function's time for one.");
  t.number("function_gb", &F::function_gb, {0, 1024}, "A function's memory, GB.");
  t.number("standby_hours", &F::standby_hours, {0, kHoursPerMonth},
           "Hours of a month in which the standby serves.");
  return t;
}

Table<RtoFigure> rto_table() {
  Table<RtoFigure> t;
  t.number("seconds", &RtoFigure::seconds, kAmount, "Time to recover.").required();
  t.boolean("measured", &RtoFigure::measured, "It was measured, not promised or guessed.");
  t.text("source", &RtoFigure::source, kAnyText, "Where the figure is from.").required();
  return t;
}

Table<CostAssumptions> file_table() {
  using A = CostAssumptions;
  Table<A> rto;
  rto.section("disk_replication", &A::disk_replication, rto_table(), "Copies of disks.");
  rto.section("warm", &A::warm, rto_table(), "Instances that run all the time.");
  rto.section("functions", &A::functions, rto_table(), "Functions.");
  rto.section("active_active", &A::active_active, rto_table(), "Both sites serve.");
  Table<A> t;
  t.section("prices", &A::prices, price_table(), "What things cost.");
  t.section("service", &A::figures, figure_table(), "How much the service needs.");
  t.section(
      "rto", [](A & a) -> auto& { return a; }, rto, "The time to recover.");
  return t;
}

constexpr std::string_view kShipped =
    R"yaml(# Prices for `leeward cost`, in US dollars, list prices without discounts or free tiers.
#
# AWS is us-east-1, Google Cloud is us-central1 to the internet. Only the lines marked "checked" were
# compared with the provider's page at the date given; the others are list prices as commonly quoted
# in 2024, for an order of magnitude. Look up your own before you decide anything by them:
#   leeward cost --print-prices > prices.yaml     then edit, then:  leeward cost --prices prices.yaml
prices:
  currency: USD
  # EC2 t3.medium, https://aws.amazon.com/ec2/pricing/on-demand/ (2024, not checked)
  instance_hour: 0.0416
  # RDS for MariaDB db.t3.medium, one zone, https://aws.amazon.com/rds/mariadb/pricing/ (2024, not checked)
  database_hour: 0.068
  # EBS gp3, https://aws.amazon.com/ebs/pricing/ (2024, not checked)
  disk_gb_month: 0.08
  # AWS Elastic Disaster Recovery, https://aws.amazon.com/disaster-recovery/pricing/ (2024, not checked)
  agent_hour: 0.028
  staging_gb_month: 0.08
  # EBS snapshots, https://aws.amazon.com/ebs/pricing/ (2024, not checked)
  snapshot_gb_month: 0.05
  snapshot_share: 50%
  # EC2 t3.small, the default replication server (2024, not checked)
  replication_server_hour: 0.0208
  disks_per_server: 15
  # Google Cloud to the internet, https://cloud.google.com/vpc/network-pricing (2024, not checked)
  primary_egress_gb: 0.12
  # AWS to the internet, https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer (2024, not checked)
  standby_egress_gb: 0.09
  # AWS Site-to-Site VPN, a connection, https://aws.amazon.com/vpn/pricing/ (2024, not checked)
  tunnel_hour: 0.05
  # AWS Lambda x86, "How AWS Pricing Works", docs.aws.amazon.com/whitepapers (checked November 2026)
  function_gb_second: 0.00001667
  function_million_requests: 0.20

service:
  disk_gb: 50
  changed_gb: 200
  database_changed_gb: 40
  requests: 10000000
  request_seconds: 0.1
  function_gb: 0.5
  # Two drills of two hours.
  standby_hours: 4

rto:
  disk_replication:
    seconds: 900
    source: "AWS documents minutes; the reference architecture's target is 15 min"
  warm:
    seconds: 5.02
    measured: true
    source: "Leeward's demo, site-kill: the longest time without an order"
  functions:
    seconds: 5.2
    source: "as warm, and one cold start of 0.19 s (Flask in a sandbox, median)"
  active_active:
    seconds: 3
    source: "the edge asks the other site within the request; DNS follows in a TTL of 2 s and a probe"
)yaml";

}  // namespace

std::string_view shipped_prices() { return kShipped; }

LoadedPrices load_prices(std::string_view text, const std::string& file_name,
                         const CostAssumptions& defaults) {
  auto tree = parse_yaml(text);
  if (!tree) {
    const YamlError& error = tree.error();
    return {{}, {Problem{file_name, error.at.line, error.at.column, error.message}}};
  }
  Platform none;
  Reader reader(file_name, none);
  CostAssumptions assumptions = defaults;
  if ((*tree)->kind == YamlNode::Kind::kNull)
    reader.problem({}, "", "the file is empty; `leeward cost --print-prices` writes one");
  else
    file_table().read(reader, Place{*tree, Position{}, "", "the file"}, assumptions);
  LoadedPrices loaded;
  loaded.problems = reader.take_problems();
  if (loaded.problems.empty()) loaded.assumptions = std::move(assumptions);
  return loaded;
}

LoadedPrices load_price_file(const std::string& path) {
  LoadedPrices shipped = load_prices(kShipped, "the shipped prices", {});
  LEEWARD_CHECK(shipped.assumptions.has_value());
  if (path.empty()) return shipped;
  auto text = read_file(path, kBytesMax);
  if (!text) return {{}, {Problem{path, 0, 0, text.error().message}}};
  return load_prices(*text, path, *shipped.assumptions);
}

}  // namespace leeward::config
