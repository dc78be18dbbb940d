// What one transaction at the target consists of: one or more whole transactions of the source, in
// their order, made ready to be sent. Built by the scheduler's thread, executed by a worker. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/time.h"
#include "mysql/binlog.h"
#include "mysql/gtid.h"
#include "replication/internal/conflict.h"
#include "replication/internal/table_cache.h"

namespace leeward::replication::internal {

// Raw events for one BINLOG statement: groups of table maps and the rows events that use them.
struct ReplayStep {
  std::string events;
};

// One statement for rows that cannot be replayed (row_sql.h). It must match `rows` rows.
struct SqlStep {
  // While a seed is handed over: the copy may or may not hold the change already.
  static constexpr std::uint64_t kAnyRows = UINT64_MAX;
  std::string statement;
  std::uint64_t rows = 0;
  std::string what;                         // for the error: "UPDATE of shop.orders"
  std::shared_ptr<const RowChange> change;  // of the one row, when conflicts are detected
};

using Step = std::variant<ReplayStep, SqlStep>;

// Collects replay events so that as few groups as possible are opened at the target: a group opens
// its tables once, whatever number of source statements it holds. A new one begins when the
// session flags of the events differ, a table changed its shape, or the bytes reach the limit.
class ReplayBuilder {
 public:
  explicit ReplayBuilder(std::size_t group_bytes_max = 1u << 20)
      : group_bytes_max_(group_bytes_max) {}

  // `event`: a rows event without checksum.
  void add(const std::shared_ptr<const RoutedTable>& table, std::string_view event,
           std::uint32_t server);
  // Everything so far as one statement's events; empty when there is nothing.
  std::string take();
  std::size_t bytes() const { return done_.size() + maps_.size() + rows_.size(); }

 private:
  void close_group();

  const std::size_t group_bytes_max_;
  std::string done_;  // closed groups
  std::string maps_;
  std::string rows_;
  std::size_t last_rows_ = 0;  // where the last rows event begins in rows_
  std::uint16_t flags_ = 0;
  std::vector<const RoutedTable*> tables_;                // of the open group
  std::vector<std::shared_ptr<const RoutedTable>> keep_;  // so that their addresses stay theirs
};

struct Batch {
  std::uint64_t id = 0;          // 1, 2, … in source order
  std::uint64_t depends_on = 0;  // must be committed before this one runs; 0: nothing
  std::vector<Step> steps;
  std::uint32_t server = 0;                   // origin of all its transactions
  std::shared_ptr<const std::string> format;  // the source's format description, no checksums
  mysql::GtidPosition before;                 // the checkpoint that the target must have
  mysql::GtidPosition end;                    // and has afterwards
  std::uint64_t relay_end = 0;
  std::uint64_t transactions = 0;
  std::uint64_t rows = 0;
  std::uint64_t conflicts = 0;        // that were resolved while it was applied
  std::size_t bytes = 0;              // of memory, roughly
  std::uint32_t source_time = 0;      // of the last transaction
  std::optional<WallTime> heartbeat;  // newest heartbeat row in it
};

}  // namespace leeward::replication::internal
