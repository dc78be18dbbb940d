// The invariants of docs/architecture.md, watched from outside with true time. World tells what
// happened, in the order in which it happened; the first violation is kept.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/state.h"

namespace leeward::sim {

class Checker {
 public:
  using Say = std::function<void(const std::string&)>;
  Checker(const State& state, Outcome& outcome, Say say)
      : state_(state), outcome_(outcome), say_(std::move(say)) {}

  bool violated() const { return !outcome_.violation.empty(); }
  std::size_t acknowledged() const { return acked_.size(); }

  // A client at `site` got its commit confirmed under the gateway's epoch.
  void on_acknowledged(std::uint64_t id, Promotion at, int site);
  void on_writer_open(int site, Epoch epoch);
  // After each step of a living agent's core.
  void on_agent_step(int site);
  // Before the store takes it over.
  void on_lease_saved(const LeaseValue& after);
  // Before the store takes it over.
  void on_record_saved(const ServiceRecord& before, const ServiceRecord& after);
  // Four times a second: what must not last.
  void watch();
  void on_report_arrived(int site, const AgentReport& report);
  // What at_end() would find amiss in the present state of the service; empty: all is well.
  std::string unsettled() const;
  void at_end();

 private:
  static constexpr int kTwoWriters = -2;
  int the_writer() const;  // -1: none

  struct Acked {
    TrueTime at;
    Epoch epoch;
    int site;
  };

  void check_opened_data(int site, bool same_site);
  std::string unsettled_nodes(int site, int writer) const;
  void check_automatic_failover(const ServiceRecord& before, const Plan& plan);
  void violate(std::string what);

  const State& state_;
  Outcome& outcome_;
  Say say_;
  std::map<std::uint64_t, Acked> acked_;
  std::set<std::uint64_t> known_lost_;
  Promotion newest_open_;
  TrueTime opened_at_ = 0;  // when a site first opened at the epoch of newest_open_
  std::vector<TrueTime> automatic_failovers_;
  std::map<int, TrueTime> last_writer_report_;
  struct Followed {
    std::uint32_t life = 0;
    Epoch epoch;
  };
  std::array<Followed, 3> followed_{};
  std::array<Epoch, 3> held_{};
  std::array<std::array<TrueTime, kNodesMax>, 3> open_without_right_since_{};
};

}  // namespace leeward::sim
