// Binary log events of MariaDB and MySQL, decoded: what each transaction changed, in values that
// people and SQL can read, and the raw row images from which the change can be undone. Pure; bytes
// come from outside and may be anything (fuzzed by tests/fuzz/binlog_fuzz.cc).
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
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/event.h"
#include "mysql/table.h"
#include "mysql/value.h"

namespace leeward::mysql {

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
  std::optional<MysqlGtid> mysql_gtid;  // instead, of a MySQL server
  std::uint32_t time = 0;               // seconds since 1970, of the server that wrote it
  std::vector<RowChange> changes;
  std::vector<LoggedStatement> statements;  // DDL and what else is logged as SQL
  std::vector<RawRows> raw;
  std::shared_ptr<const std::string> format;  // the format description in force, without checksum
  std::string obstacle;                       // why it cannot be undone row by row; empty: it can
};

class BinlogDecoder {
 public:
  // A transaction payload (MySQL) is unpacked up to this size; larger ones are kRefused.
  // Transactions are handed out whole, so this is no way to follow a stream of huge ones.
  static constexpr std::size_t kPayloadBytesMax = 256u << 20;

  explicit BinlogDecoder(DecoderContext context) : context_(std::move(context)) {}

  // Takes the next event, common header included. Returns the transaction that it completes, if it
  // does. kCorrupt: the bytes are not a binary log; the decoder must not be used further. What is
  // merely not understood becomes the transaction's obstacle.
  Result<std::optional<Transaction>> feed(std::string_view event);

  // The same for an event that has been parsed, and its checksum verified.
  Result<std::optional<Transaction>> feed_event(const Event& event);

 private:
  Status format_description(const Event& event);
  Status gtid(const Event& event);
  Status mysql_gtid(const Event& event);
  Status query(const Event& event, bool& ended);
  Status payload(const Event& event);
  Status table_map(const Event& event);
  Status rows(const Event& event);
  void obstruct(std::string_view reason);
  std::optional<Transaction> finish();

  DecoderContext context_;
  std::shared_ptr<const std::string> format_;
  bool checksums_ = false;
  std::map<std::uint64_t, std::shared_ptr<const Table>> tables_;  // by table id, at most kTablesMax
  std::optional<Transaction> open_;
  bool standalone_ = false;  // the open transaction ends with its first statement
  bool undecided_ = false;   // its first statement tells (MySQL)
  bool in_payload_ = false;
};

}  // namespace leeward::mysql
