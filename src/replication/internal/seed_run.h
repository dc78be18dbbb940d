// One call of seed(): the plan, the workers, and what they share. See seed.h for what is promised.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "replication/internal/seed_journal.h"
#include "replication/seed.h"

namespace leeward::replication::internal {

class SeedRun {
 public:
  SeedRun(const SeedOptions& options, const OnProgress& progress)
      : options_(options), progress_(progress), begun_(BootClock::now()) {}
  Result<SeedReport> run();

 private:
  // Connections of one worker; opened when needed and again after a loss.
  struct Session {
    std::optional<mysql::SqlConnection> source, target;
    bool unlogged = true;
    bool unique_checks = false;  // as set at the target
  };
  // A table whose chunks have snapshots of their own, or tables that share one.
  struct Unit {
    std::vector<CarriedTable*> tables;
    bool one_snapshot = false;
    bool copied = false;   // by an earlier call; only indexes are left to be made
    bool taken = false;    // as a whole, by one worker
    std::deque<Gap> gaps;  // still to be copied, of a unit with chunks; the last may be open
    int running = 0;       // jobs under way
    bool finished = false;
  };
  struct Job {
    Unit* unit = nullptr;
    Gap gap;  // of a unit that is not taken as a whole
  };

  static BootTime soon() { return BootClock::now() + std::chrono::seconds(30); }
  static BootTime late() { return BootClock::now() + std::chrono::hours(24); }

  Result<mysql::SqlConnection> open(const mysql::SqlTarget& target) const;
  Status prepare();
  Status prepare_table(mysql::SqlConnection& source, mysql::SqlConnection& target,
                       CarriedTable& table, const Journal& journal);
  Status make_table(mysql::SqlConnection& source, mysql::SqlConnection& target,
                    const CarriedTable& table);
  void plan(const Journal& journal);

  void work();
  Status ensure(Session& session);
  Result<std::optional<Job>> next_job(Session& session);
  Status perform(Session& session, const Job& job);
  Status copy_chunk(Session& session, const CarriedTable& table, ChunkRecord& chunk);
  Status copy_group(Session& session, Unit& unit);
  Status build_indexes(Session& session, const CarriedTable& table,
                       const std::vector<std::string>& deferred);
  Status finish(Session& session, Unit& unit);
  Status on_copied(const Copied& more, const CarriedTable& table);
  Status wait_for_source();
  void stop_with(Error error);
  bool stopped();

  const SeedOptions& options_;
  const OnProgress& progress_;
  const BootTime begun_;
  std::vector<CarriedTable> catalog_;
  std::vector<std::unique_ptr<Unit>> units_;
  SeedReport report_;
  std::uint64_t rows_total_ = 0;

  std::mutex mutex_;  // of all below and of the units
  std::optional<Error> failure_;
  Copied copied_;  // in this call
  BootTime reported_{};
  std::optional<mysql::SqlConnection> watch_;  // asks the source how busy it is
  BootTime watched_{};
};

}  // namespace leeward::replication::internal
