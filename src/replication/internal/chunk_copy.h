// Copies one range of a table's rows from a snapshot at the source into one transaction at the
// target: a SELECT read as it arrives, written as the file of a LOAD DATA LOCAL, or as multi-row
// INSERT where the target does not permit that. Memory: one row and a buffer of kBatchBytes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "replication/internal/catalog.h"

namespace leeward::replication::internal {

inline constexpr std::size_t kBatchBytes = 1u << 20;

// Greater than `lower` and at most `upper`, by primary key; an empty one is no bound.
struct KeyRange {
  std::vector<std::string> lower, upper;
};

struct Copied {
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;
};

// "(1,X'61',NULL)" of the carried columns, as select lists of read_expression give them.
void append_tuple(std::string& out, const CarriedTable& table,
                  const std::vector<std::size_t>& carried, const mysql::RowView& row);
// "INSERT INTO `t` (…) VALUES ", or REPLACE, for such tuples.
std::string insert_head(const CarriedTable& table);
std::string replace_head(const CarriedTable& table);

// Called after about each megabyte with what came since; an error ends the copy.
using OnCopied = std::function<Status(const Copied& more)>;

class ChunkCopier {
 public:
  // Both connections are prepared (prepare_reader, prepare_writer); the target's was opened with
  // local_infile.
  ChunkCopier(mysql::SqlConnection& source, mysql::SqlConnection& target)
      : source_(source), target_(target) {}

  // REQUIRES: transactions are open on both. kConflict when the target did not store every row,
  // because it had some already.
  Result<Copied> copy(const CarriedTable& table, const KeyRange& range, BootTime deadline,
                      const OnCopied& on_copied);

 private:
  Result<std::optional<Copied>> bulk(const CarriedTable& table, const std::string& select,
                                     BootTime deadline, const OnCopied& on_copied);
  Result<Copied> load(const CarriedTable& table, const std::string& select, BootTime deadline,
                      const OnCopied& on_copied);
  Result<Copied> insert(const CarriedTable& table, const std::string& select, BootTime deadline,
                        const OnCopied& on_copied);

  mysql::SqlConnection& source_;
  mysql::SqlConnection& target_;
  bool may_bulk_ = getenv("NOBULK") == nullptr;
  bool may_load_ = true;  // until the target says no
};

// The key of the row `rows` places behind `lower` (nullopt: there are not so many), which is the
// upper bound of a chunk of that many rows.
Result<std::optional<std::vector<std::string>>> chunk_end(mysql::SqlConnection& source,
                                                          const CarriedTable& table,
                                                          const std::vector<std::string>& lower,
                                                          std::uint64_t rows, BootTime deadline);

}  // namespace leeward::replication::internal
