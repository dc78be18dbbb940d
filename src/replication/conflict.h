// What becomes of a row that both directions of a stream changed. docs/adr/0025 has the reasons and
// the table of outcomes.
//
// A stream that detects conflicts compares what the source saw before its change with what the
// target has now. Where they differ, the policy decides, and the decision is written to
// leeward.conflicts at the target, in the transaction of the change. Both directions of a pair must
// have the same policy, with `source_wins` true in exactly one of them; then both ends come to the
// same row. Pure data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace leeward::replication {

enum class ConflictPolicy : std::uint8_t {
  kStop,          // report it and stand still until somebody decides
  kSitePriority,  // the row of `winner` stays
  kLastWriter,    // the row with the greater `last_writer_column` stays; equal: as kSitePriority
};

struct ConflictSettings {
  bool bidirectional = false;  // compare before-images; changes that came from there do not go back
  ConflictPolicy policy = ConflictPolicy::kStop;
  bool source_wins = true;         // `winner`
  std::string last_writer_column;  // a DATETIME, TIMESTAMP or number in every table of the task
  std::vector<std::string> delta_columns;  // "schema.table.column": differences are added up
};

}  // namespace leeward::replication
