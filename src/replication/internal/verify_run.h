// One call of verify(). See verify.h for what is promised.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "replication/internal/verify_sql.h"
#include "replication/verify.h"

namespace leeward::replication::internal {

class VerifyRun {
 public:
  VerifyRun(const VerifyEnds& ends, const VerifyOptions& options, const OnProgress& progress)
      : ends_(ends), options_(options), progress_(progress), begun_(BootClock::now()) {}
  Result<VerifyReport> run();

 private:
  using Key = std::vector<std::string>;
  struct Sum {
    std::string rows, bits, sum;
    bool operator==(const Sum&) const = default;
  };
  struct Wrong {
    DifferenceKind kind;
    Key key;
  };

  static BootTime soon() { return BootClock::now() + std::chrono::seconds(30); }
  static BootTime late() { return BootClock::now() + std::chrono::hours(24); }

  Status connect();
  Result<std::vector<CarriedTable>> choose_tables();
  // New snapshots at one position, unless the present ones are young enough.
  Status fresh_pair();
  Status open_pair();
  Status try_pair();
  Status compare_table(const CarriedTable& table);
  Result<Sum> sum_of(const CarriedTable& table, const KeyRange& range, End end);
  Result<std::map<Key, std::string>> rows_of(const CarriedTable& table, const KeyRange& range,
                                             End end);
  Status find_rows(const CarriedTable& table, const KeyRange& range);
  Status list(const CarriedTable& table, const Wrong& wrong);
  Status repair(const CarriedTable& table, const std::vector<Wrong>& wrong);
  Status repair_some(const CarriedTable& table, std::span<const Wrong> wrong);
  Status tell(const CarriedTable& table);
  Status pace();

  const VerifyEnds& ends_;
  const VerifyOptions& options_;
  const OnProgress& progress_;
  const BootTime begun_;
  std::optional<mysql::SqlConnection> source_, target_;
  std::string source_server_;
  BootTime opened_{};  // the pair of snapshots; 0: none
  std::uint64_t rows_total_ = 0;
  VerifyReport report_;
};

}  // namespace leeward::replication::internal
