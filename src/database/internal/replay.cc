// Looking at, and replaying, one entry of the ledger on the writer.
#include <algorithm>

#include "database/ledger.h"
#include "mysql/binlog.h"
#include "mysql/sql.h"

namespace leeward::database {

using mysql::quote_name;
using mysql::SqlConnection;

namespace {

constexpr Duration kReplayTimeout = 30s;
constexpr std::string_view kBase64Prefix = "base64:";

std::string hex(std::string_view bytes) {
  std::string text;
  for (unsigned char c : bytes) text += fmt::format("{:02X}", c);
  return text;
}

// The table as it is on the target now.
struct TargetTable {
  std::string name;                          // quoted, with schema
  std::map<std::string, std::string> types;  // data type by column
};

bool one_of(std::string_view type, std::initializer_list<std::string_view> types) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

bool is_number(std::string_view type) {
  return one_of(type, {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float",
                       "double", "bit", "year"});
}

bool is_text(std::string_view type) {
  return one_of(type,
                {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"});
}

bool is_binary(std::string_view type) {
  return one_of(type, {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob",
                       "geometry", "point", "linestring", "polygon", "multipoint",
                       "multilinestring", "multipolygon", "geometrycollection"});
}

class Replayer {
 public:
  static Result<Replayer> start(const ReplayTarget& target) {
    BootTime deadline = BootClock::now() + kReplayTimeout;
    auto sql =
        SqlConnection::open({target.endpoint, target.user, target.password, target.tls}, deadline);
    if (!sql) return fail(std::move(sql.error()));
    Replayer replayer(std::move(*sql), deadline);
    if (auto begun = replayer.sql_.execute("START TRANSACTION", deadline); !begun)
      return fail(std::move(begun.error()));
    return replayer;
  }

  Result<bool> read_only() {
    auto rows = sql_.query("SELECT @@global.read_only", deadline_);
    if (!rows) return fail(std::move(rows.error()));
    return rows->scalar() != "0";
  }

  // Whether the row of `change` looks different from what the lost transaction found.
  // `lock` keeps it so until the transaction ends; looking alone must not hold up the writer.
  Result<bool> changed(const LedgerChange& change, bool lock) {
    auto table = describe(change);
    if (!table) return fail(std::move(table.error()));
    bool insert = change.operation == LedgerOperation::kInsert;
    const LedgerRow& expected = insert ? change.key : change.before.value_or(change.key);
    auto where = condition(*table, expected);
    if (!where) return fail(std::move(where.error()));
    auto rows = sql_.query("SELECT 1 FROM " + table->name + " WHERE " + *where + " LIMIT 1" +
                               (lock ? " FOR UPDATE" : ""),
                           deadline_);
    if (!rows) return fail(std::move(rows.error()));
    return rows->rows.empty() != insert;
  }

  // Makes the row look as it did after the lost change.
  Status apply(const LedgerChange& change) {
    auto table = describe(change);
    if (!table) return fail(std::move(table.error()));
    auto where = condition(*table, change.key);
    if (!where) return fail(std::move(where.error()));
    if (change.operation == LedgerOperation::kDelete)
      return sql_.execute("DELETE FROM " + table->name + " WHERE " + *where + " LIMIT 1",
                          deadline_);
    auto values = assignments(*table, change);
    if (!values) return fail(std::move(values.error()));
    if (change.operation == LedgerOperation::kUpdate) {
      auto exists =
          sql_.query("SELECT 1 FROM " + table->name + " WHERE " + *where + " LIMIT 1", deadline_);
      if (!exists) return fail(std::move(exists.error()));
      if (!exists->rows.empty())
        return sql_.execute(
            "UPDATE " + table->name + " SET " + *values + " WHERE " + *where + " LIMIT 1",
            deadline_);
      LedgerChange whole = change;  // the row is gone: bring it back as it was after the change
      whole.before.reset();
      values = assignments(*table, whole);
      if (!values) return fail(std::move(values.error()));
    }
    return sql_.execute(
        "INSERT INTO " + table->name + " SET " + *values + " ON DUPLICATE KEY UPDATE " + *values,
        deadline_);
  }

  // Tries `change` for its effect on the later ones of the same entry; a failure undoes just that.
  void rehearse(const LedgerChange& change) {
    if (!sql_.execute("SAVEPOINT rehearsal", deadline_)) return;
    if (!apply(change)) (void)sql_.execute("ROLLBACK TO rehearsal", deadline_);
  }

  Status commit() { return sql_.execute("COMMIT", deadline_); }

 private:
  Replayer(SqlConnection sql, BootTime deadline) : sql_(std::move(sql)), deadline_(deadline) {}

  Result<TargetTable> describe(const LedgerChange& change) {
    auto rows = sql_.query(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = " +
            sql_.quote(change.schema) + " AND table_name = " + sql_.quote(change.table),
        deadline_);
    if (!rows) return fail(std::move(rows.error()));
    TargetTable table{quote_name(change.schema) + "." + quote_name(change.table), {}};
    for (const auto& row : rows->rows) table.types[row[0].value_or("")] = row[1].value_or("");
    if (table.types.empty())
      return fail(Code::kConflict, "table {}.{} does not exist on the writer", change.schema,
                  change.table);
    return table;
  }

  Result<std::string> type_of(const TargetTable& table, const std::string& column) {
    auto type = table.types.find(column);
    if (type == table.types.end())
      return fail(Code::kConflict, "{} has no column {} on the writer", table.name, column);
    return type->second;
  }

  std::string literal(std::string_view type, const std::string& value) {
    bool digits = value.find_first_not_of("0123456789.+-eE") == std::string::npos && !value.empty();
    if (is_number(type) && digits) return value;
    if (auto bytes = raw(value)) return "x'" + hex(*bytes) + "'";
    return sql_.quote(value);
  }

  static std::optional<std::string> raw(const std::string& value) {
    if (!value.starts_with(kBase64Prefix)) return std::nullopt;
    return mysql::unbase64(std::string_view(value).substr(kBase64Prefix.size()));
  }

  // True of a row with exactly this value: collations, which take 'a' for 'A', are kept out of it.
  std::string equals(std::string_view type, const std::string& column,
                     const std::optional<std::string>& value) {
    std::string name = quote_name(column);
    if (!value) return name + " IS NULL";
    auto bytes = raw(*value);
    if (bytes && (is_text(type) || is_binary(type)))
      return "HEX(" + name + ") = '" + hex(*bytes) + "'";
    if (is_text(type))  // the first half is for an index, the second is exact
      return name + " = " + sql_.quote(*value) + " AND HEX(CONVERT(" + name +
             " USING utf8mb4)) = '" + hex(*value) + "'";
    if (type == "float") return name + " = CAST(" + literal(type, *value) + " AS FLOAT)";
    return name + " = " + literal(type, *value);
  }

  Result<std::string> condition(const TargetTable& table, const LedgerRow& row) {
    if (row.empty())
      return fail(Code::kConflict, "the entry does not say which row of {}", table.name);
    std::string text;
    for (const auto& [column, value] : row) {
      auto type = type_of(table, column);
      if (!type) return fail(std::move(type.error()));
      text += (text.empty() ? "" : " AND ") + equals(*type, column, value);
    }
    return text;
  }

  // "a = 1, b = NULL": the columns that the change set; all of them for an insert.
  Result<std::string> assignments(const TargetTable& table, const LedgerChange& change) {
    std::string text;
    for (const auto& [column, value] : change.after.value_or(LedgerRow{})) {
      if (change.before) {
        auto before = change.before->find(column);
        if (before != change.before->end() && before->second == value) continue;
      }
      auto type = type_of(table, column);
      if (!type) return fail(std::move(type.error()));
      text += (text.empty() ? "" : ", ") + quote_name(column) + " = " +
              (value ? literal(*type, *value) : "NULL");
    }
    if (text.empty()) return fail(Code::kConflict, "the change of {} has no values", table.name);
    return text;
  }

  SqlConnection sql_;
  BootTime deadline_;
};

std::string describe_row(const LedgerChange& change) {
  std::string text =
      fmt::format("{} of {}.{}", name(change.operation), change.schema, change.table);
  for (const auto& [column, value] : change.key)
    text += fmt::format(" {}={}", column, value.value_or("NULL").substr(0, 40));
  return text;
}

bool has_statement(const LedgerEntry& entry) {
  return std::any_of(entry.changes.begin(), entry.changes.end(), [](const LedgerChange& change) {
    return change.operation == LedgerOperation::kDdl;
  });
}

}  // namespace

Result<LedgerEntry> check_entry(const LedgerEntry& entry, const ReplayTarget& target) {
  auto replayer = Replayer::start(target);
  if (!replayer) return fail(std::move(replayer.error()));
  LedgerEntry checked = entry;
  for (LedgerChange& change : checked.changes) {
    if (change.operation == LedgerOperation::kDdl) continue;
    auto changed = replayer->changed(change, false);
    if (!changed && changed.error().code != Code::kConflict)
      return fail(std::move(changed.error()));
    change.changed_since = changed.value_or(true);  // a missing table is a change as well
    if (!*change.changed_since) replayer->rehearse(change);
  }
  return checked;  // closing the connection rolls the rehearsal back
}

Status replay_entry(Ledger& ledger, std::string_view id, const ReplayTarget& target, bool force) {
  auto entry = ledger.show(id);
  if (!entry) return fail(std::move(entry.error()));
  if (entry->state != LedgerState::kOpen)
    return fail(Code::kRefused, "entry {} is {} already", id, name(entry->state));
  if (has_statement(*entry) || entry->changes.empty())
    return fail(Code::kRefused,
                "entry {} cannot be replayed row by row: do it by hand, then mark it", id);
  auto replayer = Replayer::start(target);
  if (!replayer) return fail(std::move(replayer.error()));
  auto read_only = replayer->read_only();
  if (!read_only) return fail(std::move(read_only.error()));
  if (*read_only) return fail(Code::kRefused, "{} is not the writer", to_string(target.endpoint));

  std::string conflicts;
  for (const LedgerChange& change : entry->changes) {
    auto changed = force ? Result<bool>(false) : replayer->changed(change, true);
    if (!changed) return fail(std::move(changed.error()));
    if (*changed) {
      conflicts += "\n  " + describe_row(change);
      continue;
    }
    if (auto applied = replayer->apply(change); !applied)
      return fail(std::move(applied.error()).wrap(describe_row(change)));
  }
  if (!conflicts.empty())
    return fail(Code::kConflict, "entry {}: rows have changed since, nothing was replayed:{}", id,
                conflicts);
  if (auto committed = replayer->commit(); !committed) return committed;
  return ledger.mark(id, LedgerState::kReplayed);
}

}  // namespace leeward::database
