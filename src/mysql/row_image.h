// Rows events cut into rows and column values without decoding them: for write sets, which hash the
// bytes of keys, and for who turns or filters rows. Pure views into the event. Fuzzed by
// tests/fuzz/binlog_fuzz.cc.
//
// Equal bytes are equal values. The converse holds for binary collations only: under a
// case-insensitive or padding collation ('a' = 'A' = 'a ') equal keys can have different bytes, so
// a write set must look at Column::collation and fold or serialise such keys.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/event.h"
#include "mysql/table.h"

namespace leeward::mysql {

class Bytes;

// The frame of a rows event. `rows` is still packed when `compressed`.
struct RowsEvent {
  ChangeKind kind = ChangeKind::kInsert;
  bool compressed = false;  // MariaDB: log_bin_compress
  bool partial = false;     // MySQL: PARTIAL_UPDATE_ROWS; after images may hold JSON differences
  std::uint64_t table_id = 0;
  std::uint16_t flags = 0;
  std::uint64_t width = 0;          // columns of the table
  std::string_view before_columns;  // bitmap of present columns; of the only image for inserts
  std::string_view after_columns;   // equal to before_columns but for updates
  std::string_view rows;

  static constexpr std::uint16_t kStatementEnd = 0x1;
  static constexpr std::uint16_t kNoForeignKeyChecks = 0x2;
  static constexpr std::uint16_t kNoUniqueChecks = 0x4;
};

// True for every event type that parse_rows takes.
bool is_rows_event(EventType type);
// kCorrupt when the bytes are not a rows event. The dummy event that only ends a statement has
// width 0 and no rows.
Result<RowsEvent> parse_rows(const Event& event);
// The rows of a compressed event, unpacked; kCorrupt, or kRefused above 256 MiB.
Result<std::string> unpack_rows(const RowsEvent& rows);

struct ColumnSpan {
  bool present = false;
  bool null = false;
  bool partial = false;    // JSON difference instead of a value (MySQL)
  std::string_view bytes;  // stored value, its length prefix cut off; decode_value() reads it
};

struct RowImage {
  std::string_view bytes;           // the whole image: NULL bitmap and values
  std::vector<ColumnSpan> columns;  // one a column of the table
};

// Iterates the images of one rows event: one a row, or two (before, after) a row of an update.
class RowImages {
 public:
  // `rows` outlives the object: RowsEvent::rows, or what unpack_rows() returned.
  RowImages(const Table& table, const RowsEvent& event, std::string_view rows);

  // False at the end. kCorrupt when the bytes do not fit the table, naming the column. `image` is
  // reused from call to call: its vector is not reallocated.
  Result<bool> next(RowImage& image);

 private:
  const Table& table_;
  const RowsEvent& event_;
  std::string_view rest_;
  bool after_ = false;
};

// Reads the stored bytes of one value from a row image; false when they or the type are not
// understood.
bool value_span(Bytes& bytes, const Column& column, std::string_view& span);

}  // namespace leeward::mysql
