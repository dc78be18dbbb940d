// The exact hand-over from the seed to the stream.
//
// The seed copies every table in chunks of its primary key, each in a consistent snapshot of its
// own, whose GTID position P is known exactly (START TRANSACTION WITH CONSISTENT SNAPSHOT and
// binlog_snapshot_*). So the copy of a chunk holds all transactions up to its P and none after. The
// stream begins at the least of all P (from) and asks about every row change:
//
//   kSkip   the copy holds it already: drop it
//   kApply  it came after the copy: apply it as ever, a mismatch is an error
//   kMerge  it may or may not be in the copy: make the row as the change leaves it (insert or
//           replace; delete if it is there)
//
// For keys of integers the chunk of a row is known and the answer is never kMerge. For other keys
// the order is that of a collation, which only the server knows; there every change after the
// table's first and up to its last P is merged. That converges: images are full, all changes of a
// row up to the last P are applied in order, so after the last P each row is as its last change
// left it, whatever the copy held.
//
// A change of a table's definition between `from` and `until` cannot be handed over: the seed
// fails or must be made again. Pure; immutable once read; may be shared by threads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mysql/gtid.h"

namespace leeward::replication {

enum class Handover : std::uint8_t { kSkip, kApply, kMerge };

struct SeedChunk {
  // Greatest key of the chunk, by column of the primary key, as text; empty: the chunk goes on to
  // the end of the table. Keys greater than the chunk's before and up to this one belong to it.
  std::vector<std::string> upper;
  mysql::GtidPosition at;
};

struct SeededTable {
  bool integer_key = false;       // every column of the primary key is an integer
  std::vector<SeedChunk> chunks;  // ascending; one for a table without a primary key
  bool cascades = false;          // copied in one snapshot with all that its foreign keys tie it to
};

struct SeedState {
  // By (schema, table) as they are called at the source.
  std::map<std::pair<std::string, std::string>, SeededTable> tables;
  mysql::GtidPosition from;   // where the stream begins: behind every transaction in all chunks
  mysql::GtidPosition until;  // after it every answer is kApply

  // What to do with a change by transaction `gtid` to the row with that primary key (values as
  // text, in key order; for an UPDATE that changes the key, ask for both images). A table that was
  // not seeded is kApply.
  Handover handover(std::string_view schema, std::string_view table,
                    const std::vector<std::string>& key, const mysql::Gtid& gtid) const;
  bool cascades(std::string_view schema, std::string_view table) const;
  // Whether the table was copied; with an empty `table`, whether any of the schema was.
  bool concerns(std::string_view schema, std::string_view table) const;
  // Whether `gtid` is behind every chunk of every table, so that handover() need not be asked.
  bool over(const mysql::Gtid& gtid) const;
};

// Whether the transaction is in the history that ends at `position`.
bool contains(const mysql::GtidPosition& position, const mysql::Gtid& gtid);

// The state whose chunks are `tables`: finds `from` and `until`.
SeedState make_seed_state(std::map<std::pair<std::string, std::string>, SeededTable> tables);

}  // namespace leeward::replication
