// MariaDB binary log events, decoded: what each transaction changed, in values that people and SQL
// can read, and the raw row images from which the change can be undone. Pure; bytes come from
// outside and may be anything (fuzzed by tests/fuzz/binlog_fuzz.cc).
//
// Why not the text of mariadb-binlog: it does not escape backslashes, so '\x0a' there may be four
// characters or one; it rounds FLOAT to six digits; and it prints @1 instead of names. The table
// map with binlog_row_metadata=FULL has names, signs, character sets and labels as they were at
// that time.
//
// Layouts: MariaDB Knowledge Base, "Replication Protocol: Binlog Event" pages; the optional part of
// the table map as MySQL's WL#4618 describes it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/gtid.h"

namespace leeward::mysql {

// How the bytes of a column with some collation become text.
enum class TextKind : std::uint8_t {
  kUtf8,    // utf8mb3 and utf8mb4
  kAscii,   // ASCII is itself, other bytes are not UTF-8: latin1, cp1251, gbk …
  kOpaque,  // binary, ucs2, utf16, utf32
};

// The types that the binary log shows as BINARY(n).
enum class Disguise : std::uint8_t { kNone, kUuid, kInet4, kInet6 };

struct Column {
  std::string name;
  std::uint8_t type = 0;  // the real type: ENUM and SET are not STRING here
  std::uint16_t size =
      0;  // of the type's metadata: bytes, fraction digits, precision << 8 | scale …
  bool is_unsigned = false;
  TextKind text = TextKind::kOpaque;
  Disguise disguise = Disguise::kNone;
  std::vector<std::string> labels;  // ENUM and SET
};

struct Table {
  std::string schema;
  std::string name;
  std::vector<Column> columns;
  std::vector<std::size_t> primary_key;  // indices into columns; empty: none
  std::string event;                     // the table map itself, without checksum
};

enum class ChangeKind : std::uint8_t { kInsert, kUpdate, kDelete };

using Value = std::optional<std::string>;  // nullopt: NULL
using Row = std::vector<Value>;            // one value a column of the table

struct RowChange {
  ChangeKind kind = ChangeKind::kInsert;
  std::shared_ptr<const Table> table;
  Row before;  // empty for kInsert
  Row after;   // empty for kDelete
};

// A rows event cut into its row images, the form in which it can be turned round.
struct RawRows {
  ChangeKind kind = ChangeKind::kInsert;
  std::shared_ptr<const Table> table;
  std::string head;                 // common header up to the column bitmaps, those included
  std::vector<std::string> images;  // kUpdate: before and after alternate
};

struct LoggedStatement {
  std::string schema;  // default schema
  std::string sql;
};

struct Transaction {
  Gtid gtid;
  std::uint32_t time = 0;  // seconds since 1970, of the server that wrote it
  std::vector<RowChange> changes;
  std::vector<LoggedStatement> statements;  // DDL and what else is logged as SQL
  std::vector<RawRows> raw;
  std::shared_ptr<const std::string> format;  // the format description in force, without checksum
  std::string obstacle;                       // why it cannot be undone row by row; empty: it can
};

struct DecoderContext {
  std::function<TextKind(std::uint32_t collation)> text_kind;
  std::function<Disguise(std::string_view schema, std::string_view table, std::string_view column)>
      disguise;
};

class BinlogDecoder {
 public:
  explicit BinlogDecoder(DecoderContext context) : context_(std::move(context)) {}

  // Takes the next event, common header included. Returns the transaction that it completes, if it
  // does. kCorrupt: the bytes are not a binary log; the decoder must not be used further. What is
  // merely not understood becomes the transaction's obstacle.
  Result<std::optional<Transaction>> feed(std::string_view event);

 private:
  struct Header;
  Status format_description(std::string_view event);
  Status gtid(const Header& header, std::string_view body);
  Status query(std::string_view body, bool compressed);
  Status table_map(std::string_view event, std::string_view body);
  Status rows(const Header& header, std::string_view event);
  void obstruct(std::string_view reason);
  std::optional<Transaction> finish();

  DecoderContext context_;
  std::shared_ptr<const std::string> format_;
  bool checksums_ = false;
  std::map<std::uint64_t, std::shared_ptr<const Table>> tables_;  // by table id, at most kTablesMax
  std::optional<Transaction> open_;
  bool standalone_ = false;  // the open transaction ends with its first statement
  bool ended_ = false;       // the event just fed ended it
};

// binlog_value.cc: reads one value of a row image; false when the bytes or the type make that
// impossible.
class Bytes;
bool decode_value(Bytes& bytes, const Column& column, std::string& text);
// The text form of column bytes: the bytes themselves when they are readable, else "base64:" +
// base64.
std::string readable(std::string_view bytes, TextKind kind);
std::string base64(std::string_view bytes);
std::optional<std::string> unbase64(std::string_view text);
// "compressed" framing of events and columns; nullopt when malformed or beyond 256 MiB.
std::optional<std::string> inflate(std::string_view bytes, std::uint64_t size, bool raw);

}  // namespace leeward::mysql
