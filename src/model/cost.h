// What a standby costs a month, in four ways, by prices and figures that its owner gives: the
// arithmetic behind `leeward cost`. It does not know any price; config/price_table.h reads them.
//
// The four ways:
//   disk replication  every server's disk is copied block by block into the standby's cloud (AWS
//                     DRS); servers are made from the copies during a failover
//   warm instances    the application runs on the standby all the time, with a standby database
//   functions         the application runs per request, only while the standby serves
//   active-active     both sites serve; a warm standby that takes its share, written to both ways
// In the last three the database is a standby of its own, fed by replication; in the first it is
// one more server whose disk is copied.
//
// A month has 730 hours, as cloud price lists count it.
#pragma once

#include <string>
#include <vector>

#include "model/platform.h"

namespace leeward {

inline constexpr double kHoursPerMonth = 730;

struct CostFigures {                // of the service
  double disk_gb = 50;              // of each server
  double changed_gb = 200;          // disk blocks that change in a month, each server
  double database_changed_gb = 40;  // changes that replication carries in a month, each database
  double requests = 10'000'000;     // of the whole service in a month
  double request_seconds = 0.1;     // a function's time for one
  double function_gb = 0.5;         // a function's memory
  double standby_hours = 4;         // a month that the standby serves: drills and failovers
};

struct CostPrices {
  std::string currency = "USD";
  double instance_hour = 0;      // of an application server
  double database_hour = 0;      // of a standby database server
  double disk_gb_month = 0;      // of a server's disk
  double agent_hour = 0;         // disk replication: of each replicated server
  double staging_gb_month = 0;   // disk replication: the copy
  double snapshot_gb_month = 0;  // disk replication: its points in time
  double snapshot_share = 0;     // of the disk that snapshots hold besides
  double replication_server_hour = 0;
  double disks_per_server = 15;  // that one replication server takes
  double primary_egress_gb = 0;  // out of the primary's cloud
  double standby_egress_gb = 0;  // out of the standby's cloud
  double tunnel_hour = 0;        // the private path between the clouds
  double function_gb_second = 0;
  double function_million_requests = 0;
};

struct RtoFigure {
  double seconds = 0;
  bool measured = false;  // on this service, or on Leeward's demo
  std::string source;
};

struct CostAssumptions {
  CostFigures figures;
  CostPrices prices;
  RtoFigure disk_replication;
  RtoFigure warm;
  RtoFigure functions;
  RtoFigure active_active;
};

struct CostLine {
  std::string what;
  std::string how;    // the multiplication, for people
  double amount = 0;  // a month
  bool idle = true;   // paid also while the standby does not serve
};

struct CostOption {
  std::string name;  // stable: disk_replication, warm, functions, active_active
  std::vector<CostLine> lines;
  RtoFigure rto;
  double total() const;
  double idle() const;  // of it, what is paid for waiting
};

// Always these four, in this order.
std::vector<CostOption> standby_costs(const Platform& platform, const CostAssumptions& given);

// A plot of the four: bars of money by kind, the RTO beside each. SVG 1.1, without scripts.
std::string cost_plot(const std::vector<CostOption>& options, const std::string& currency,
                      const std::string& title);

}  // namespace leeward
