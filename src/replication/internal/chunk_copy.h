// Copies one range of a table's rows from a snapshot at the source into one transaction at the
// target: a SELECT read as it arrives, written by an INSERT that is executed in bulk. Memory: one
// row and a batch of kBatchBytes.
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
  // Both connections are prepared (prepare_reader, prepare_writer).
  ChunkCopier(mysql::SqlConnection& source, mysql::SqlConnection& target)
      : source_(source), target_(target) {}

  // REQUIRES: transactions are open on both. kConflict when the target did not store every row,
  // because it had some already.
  Result<Copied> copy(const CarriedTable& table, const KeyRange& range, BootTime deadline,
                      const OnCopied& on_copied);

 private:
  mysql::SqlConnection& source_;
  mysql::SqlConnection& target_;
};

// The key of the row `rows` places behind `lower` (nullopt: there are not so many), which is the
// upper bound of a chunk of that many rows.
Result<std::optional<std::vector<std::string>>> chunk_end(mysql::SqlConnection& source,
                                                          const CarriedTable& table,
                                                          const std::vector<std::string>& lower,
                                                          std::uint64_t rows, BootTime deadline);

}  // namespace leeward::replication::internal
