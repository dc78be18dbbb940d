#include "database/internal/extract.h"

namespace leeward::database::internal {
namespace {

constexpr std::string_view kOwnSchema = "leeward";

LedgerRow named(const mysql::Table& table, const mysql::Row& row) {
  LedgerRow values;
  for (std::size_t i = 0; i < row.size(); ++i) values[table.columns[i].name] = row[i];
  return values;
}

LedgerRow key_of(const mysql::Table& table, const mysql::Row& row) {
  if (table.primary_key.empty()) return named(table, row);
  LedgerRow key;
  for (std::size_t i : table.primary_key) key[table.columns[i].name] = row[i];
  return key;
}

LedgerChange row_change(const mysql::RowChange& change) {
  const mysql::Table& table = *change.table;
  LedgerChange result;
  result.schema = table.schema;
  result.table = table.name;
  switch (change.kind) {
    case mysql::ChangeKind::kInsert:
      result.operation = LedgerOperation::kInsert;
      break;
    case mysql::ChangeKind::kUpdate:
      result.operation = LedgerOperation::kUpdate;
      break;
    case mysql::ChangeKind::kDelete:
      result.operation = LedgerOperation::kDelete;
      break;
  }
  result.key =
      key_of(table, change.kind == mysql::ChangeKind::kInsert ? change.after : change.before);
  if (change.kind != mysql::ChangeKind::kInsert) result.before = named(table, change.before);
  if (change.kind != mysql::ChangeKind::kDelete) result.after = named(table, change.after);
  return result;
}

}  // namespace

std::optional<LedgerEntry> ledger_entry(const mysql::Transaction& transaction,
                                        const std::string& site,
                                        const std::vector<EpochRow>& epochs) {
  LedgerEntry entry;
  entry.epoch = epoch_of(epochs, transaction.gtid.sequence);
  entry.id = fmt::format("{}@{}", to_string(transaction.gtid), entry.epoch.value);
  entry.site = site;
  entry.time = WallTime(std::chrono::seconds(transaction.time));
  for (const mysql::RowChange& change : transaction.changes)
    if (change.table->schema != kOwnSchema) entry.changes.push_back(row_change(change));
  bool own = entry.changes.empty() && !transaction.changes.empty();
  for (const mysql::LoggedStatement& statement : transaction.statements) {
    LedgerChange change;
    change.schema = statement.schema;
    change.operation = LedgerOperation::kDdl;
    change.sql = statement.sql;
    entry.changes.push_back(std::move(change));
    own = false;
  }
  if (own) return std::nullopt;
  if (!transaction.obstacle.empty()) entry.note = transaction.obstacle;
  return entry;
}

}  // namespace leeward::database::internal
