#include "database/internal/undo.h"

#include <algorithm>

namespace leeward::database::internal {
namespace {

constexpr std::size_t kHeaderBytes = 19;
constexpr std::size_t kTypeOffset = 4;
constexpr std::size_t kSizeOffset = 9;
constexpr std::size_t kFlagsOffset = kHeaderBytes + 6;  // of a rows event, after the table id
constexpr std::size_t kChecksumFlagFromEnd = 5;
constexpr std::uint8_t kStatementEnd = 0x01;
constexpr std::uint8_t kFirstRowsV1 = 23, kFirstRowsV2 = 30;

// BINLOG expects a sequence of events in base64. Checksums are declared off in the format
// description, so that turned events need none.
std::string statement(std::string_view events) { return "BINLOG '" + mysql::base64(events) + "'"; }

void set_size(std::string& event) {
  auto size = static_cast<std::uint32_t>(event.size());
  for (std::size_t i = 0; i < 4; ++i)
    event[kSizeOffset + i] = static_cast<char>(size >> (8 * i) & 0xff);
}

mysql::ChangeKind opposite(mysql::ChangeKind kind) {
  if (kind == mysql::ChangeKind::kInsert) return mysql::ChangeKind::kDelete;
  if (kind == mysql::ChangeKind::kDelete) return mysql::ChangeKind::kInsert;
  return kind;
}

bool is_version2(std::uint8_t type) {
  return (type >= kFirstRowsV2 && type < kFirstRowsV2 + 3) || type >= 169;
}

// The table map as it was logged, but for the checksum that has been cut off.
std::string table_map(const mysql::Table& table) {
  std::string event = table.event;
  set_size(event);
  return event;
}

std::string turned(const mysql::RawRows& rows) {
  std::string event = rows.head;
  std::uint8_t first =
      is_version2(static_cast<std::uint8_t>(event[kTypeOffset])) ? kFirstRowsV2 : kFirstRowsV1;
  event[kTypeOffset] = static_cast<char>(first + static_cast<std::uint8_t>(opposite(rows.kind)));
  event[kFlagsOffset] = static_cast<char>(event[kFlagsOffset] | kStatementEnd);
  // Last row first; reversing also swaps before and after of each update. With FULL images both
  // column bitmaps are alike and stay.
  for (auto image = rows.images.rbegin(); image != rows.images.rend(); ++image) event += *image;
  set_size(event);
  return event;
}

std::string format_statement(const std::string& format) {
  std::string event = format;
  event[event.size() - kChecksumFlagFromEnd] = 0;
  return statement(event);
}

}  // namespace

Result<std::vector<std::string>> undo_statements(const std::vector<mysql::Transaction>& lost,
                                                 std::size_t statement_bytes_max) {
  std::vector<std::string> statements;
  const std::string* declared = nullptr;
  for (auto transaction = lost.rbegin(); transaction != lost.rend(); ++transaction) {
    if (transaction->raw.empty()) continue;
    if (!declared || *declared != *transaction->format) {
      declared = transaction->format.get();
      statements.push_back(format_statement(*declared));
    }
    for (auto rows = transaction->raw.rbegin(); rows != transaction->raw.rend(); ++rows) {
      statements.push_back(statement(table_map(*rows->table) + turned(*rows)));
      if (statements.back().size() > statement_bytes_max)
        return fail(Code::kRefused, "rows of {}.{} are too large for one statement",
                    rows->table->schema, rows->table->name);
    }
  }
  return statements;
}

}  // namespace leeward::database::internal
