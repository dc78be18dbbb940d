#include "replication/internal/conflict.h"

#include <mariadb/mysql.h>
#include <mariadb/mysqld_error.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "base/time.h"
#include "mysql/value.h"

namespace leeward::replication::internal {

namespace {

using mysql::ChangeKind;

constexpr Duration kLimit = 60s;
constexpr std::size_t kLoggedRowMax = 64u << 10;  // of one image in the log; the rest is cut off
constexpr std::string_view kNull = "NULL";

bool is_delta(const ChangedColumn& column) {
  return column.delta && column.before != kNull && column.after != kNull;
}

void append(std::string& list, std::string_view separator, std::string_view more) {
  if (!list.empty()) list += separator;
  list += more;
}

// Rows are found by the key; without one by all that they had.
std::string where(const RowChange& change, bool keys_only) {
  bool keyed = std::any_of(change.columns.begin(), change.columns.end(),
                           [](const ChangedColumn& column) { return column.key; });
  std::string text;
  for (const ChangedColumn& column : change.columns) {
    const std::string& value = change.kind == ChangeKind::kInsert ? column.after : column.before;
    if (column.key)
      append(text, " AND ", column.name + " = " + value);
    else if (!(keyed && keys_only) && !(change.kind == ChangeKind::kUpdate && is_delta(column)))
      append(text, " AND ", column.compare + " <=> " + value);
  }
  return " WHERE " + text;
}

// SET of an update. Columns whose differences are added up never overwrite.
std::string assignments(const RowChange& change, bool only_deltas) {
  std::string text;
  for (const ChangedColumn& column : change.columns) {
    bool delta = change.kind == ChangeKind::kUpdate && is_delta(column);
    if (delta)
      append(text, ", ",
             column.name + " = " + column.name + " + (" + column.after + ") - (" + column.before +
                 ")");
    else if (!only_deltas)
      append(text, ", ", column.name + " = " + column.after);
  }
  return text;
}

std::string insert_statement(const RowChange& change) {
  std::string names, values;
  for (const ChangedColumn& column : change.columns) {
    append(names, ",", column.name);
    append(values, ",", column.after);
  }
  return "INSERT INTO " + change.name() + " (" + names + ") VALUES (" + values + ")";
}

std::string described(const RowChange& change, bool before, bool keys) {
  std::string text;
  for (const ChangedColumn& column : change.columns) {
    if (keys && !column.key) continue;
    append(text, ", ", column.name + "=" + (before ? column.before : column.after));
    if (text.size() > kLoggedRowMax) break;
  }
  return text.substr(0, kLoggedRowMax);
}

// One conflict, while it is being looked at and decided.
class Case {
 public:
  Case(mysql::SqlConnection& sql, const std::string& task, const ConflictSettings& settings,
       const RowChange& change, Error& error)
      : sql_(sql), task_(task), settings_(settings), change_(change), error_(error) {}

  Resolution decide();

 private:
  std::optional<mysql::SqlRows> ask(const std::string& statement);
  std::optional<std::uint64_t> change_rows(const std::string& statement);
  bool look();
  std::optional<bool> same();
  std::optional<bool> source_wins();
  bool log(std::string_view resolution);
  bool carry_out(bool source_wins);
  std::string_view kind() const;
  Resolution refused(std::string why);

  mysql::SqlConnection& sql_;
  const std::string& task_;
  const ConflictSettings& settings_;
  const RowChange& change_;
  Error& error_;
  bool there_ = false;   // the target has a row with the key
  std::string current_;  // it, as text
};

std::optional<mysql::SqlRows> Case::ask(const std::string& statement) {
  auto rows = sql_.query(statement, BootClock::now() + kLimit);
  if (rows) return std::move(*rows);
  error_ = std::move(rows.error());
  return std::nullopt;
}

// Rows that the statement changed or, for an UPDATE, found.
std::optional<std::uint64_t> Case::change_rows(const std::string& statement) {
  auto rows = ask(statement);
  if (!rows) return std::nullopt;
  return matched_rows(sql_, rows->affected);
}

bool Case::look() {
  std::string columns;
  for (const ChangedColumn& column : change_.columns) append(columns, ",", column.name);
  auto rows =
      ask("SELECT " + columns + " FROM " + change_.name() + where(change_, true) + " FOR UPDATE");
  if (!rows) return false;
  there_ = !rows->rows.empty();
  if (!there_) return true;
  for (std::size_t i = 0; i < change_.columns.size() && current_.size() < kLoggedRowMax; ++i) {
    const mysql::Cell& cell = rows->rows[0][i];
    append(current_, ", ",
           change_.columns[i].name + "=" +
               (cell ? sql_.quote(mysql::readable(*cell, mysql::TextKind::kUtf8)) : "NULL"));
  }
  current_ = current_.substr(0, kLoggedRowMax);
  return true;
}

// Whether the target has already what the source made of the row.
std::optional<bool> Case::same() {
  if (change_.kind == ChangeKind::kDelete) return !there_;
  if (!there_) return false;
  std::string equal;
  for (const ChangedColumn& column : change_.columns)
    append(equal, " AND ", column.compare + " <=> " + column.after);
  RowChange after = change_;
  for (ChangedColumn& column : after.columns) column.before = column.after;
  auto rows = ask("SELECT " + equal + " FROM " + change_.name() + where(after, true));
  if (!rows) return std::nullopt;
  return rows->scalar() == "1";
}

std::optional<bool> Case::source_wins() {
  if (settings_.policy != ConflictPolicy::kLastWriter) return settings_.source_wins;
  // Who changes a row outlives who removes it: the removal has no time of its own.
  if (change_.kind == ChangeKind::kDelete) return false;
  if (!there_) return true;
  for (const ChangedColumn& column : change_.columns) {
    if (!column.decides) continue;
    auto rows = ask("SELECT COALESCE(" + column.name + " < " + column.after + ", " + column.name +
                    " IS NULL AND NOT " + column.after + " <=> NULL), " + column.name + " <=> " +
                    column.after + " FROM " + change_.name() + where(change_, true));
    if (!rows || rows->rows.empty()) return std::nullopt;
    if (rows->rows[0][1] == "1") return settings_.source_wins;
    return rows->rows[0][0] == "1";
  }
  return settings_.source_wins;
}

std::string_view Case::kind() const {
  switch (change_.kind) {
    case ChangeKind::kInsert:
      return "insert_exists";
    case ChangeKind::kUpdate:
      return there_ ? "update_differs" : "update_missing";
    case ChangeKind::kDelete:
      return there_ ? "delete_differs" : "delete_missing";
  }
  return "update_differs";
}

bool Case::log(std::string_view resolution) {
  auto text = [&](const std::string& image) { return image.empty() ? "NULL" : sql_.quote(image); };
  bool inserted = change_.kind == ChangeKind::kInsert;
  return ask(fmt::format(
                 "INSERT INTO leeward.conflicts (task, source_gtid, table_schema, table_name, "
                 "kind, "
                 "resolution, row_key, source_before, source_after, target_before) VALUES ({}, "
                 "'{}', "
                 "{}, {}, '{}', '{}', {}, {}, {}, {})",
                 sql_.quote(task_), change_.gtid, sql_.quote(change_.schema),
                 sql_.quote(change_.table), kind(), resolution,
                 sql_.quote(described(change_, !inserted, true)),
                 text(inserted ? "" : described(change_, true, false)),
                 text(change_.kind == ChangeKind::kDelete ? "" : described(change_, false, false)),
                 text(current_)))
      .has_value();
}

bool Case::carry_out(bool source_wins) {
  std::string which = where(change_, true) + " LIMIT 1";
  if (!source_wins) {
    // What is added up is added up whoever wins.
    std::string deltas = assignments(change_, true);
    if (change_.kind != ChangeKind::kUpdate || !there_ || deltas.empty()) return true;
    return change_rows("UPDATE " + change_.name() + " SET " + deltas + which).has_value();
  }
  if (change_.kind == ChangeKind::kDelete)
    return !there_ || change_rows("DELETE FROM " + change_.name() + which).has_value();
  if (!there_) return change_rows(insert_statement(change_)).has_value();
  return change_rows("UPDATE " + change_.name() + " SET " + assignments(change_, false) + which)
      .has_value();
}

Resolution Case::refused(std::string why) {
  return {
      Resolution::Kind::kRefused,
      fmt::format("{} of {}: {}; the target has {}, the source had {} and has {}", change_.shown(),
                  change_.gtid, why, there_ ? current_ : "no such row",
                  change_.kind == ChangeKind::kInsert ? "none" : described(change_, true, false),
                  change_.kind == ChangeKind::kDelete ? "none" : described(change_, false, false))};
}

Resolution Case::decide() {
  bool keyed = std::any_of(change_.columns.begin(), change_.columns.end(),
                           [](const ChangedColumn& column) { return column.key; });
  if (!keyed)
    return refused("conflict in a table without a primary key, which no policy can decide");
  if (!look()) return {};
  if (change_.kind != ChangeKind::kInsert) {
    // Whoever held the row may have brought it to where it should be, or taken it away.
    auto fits = change_rows(guarded_statement(change_));
    if (!fits && sql_.last_error() != ER_DUP_ENTRY) return {};
    if (fits && *fits == 1) return {Resolution::Kind::kFitted, ""};
    if (!fits) return refused("its new key belongs to another row of the target");
  } else if (!there_) {
    return refused("a unique key of it belongs to another row of the target");
  }
  auto already = same();
  if (!already) return {};
  if (*already) return log("same") ? Resolution{Resolution::Kind::kSame, ""} : Resolution{};
  if (settings_.policy == ConflictPolicy::kStop) return refused("both sides changed the row");
  auto wins = source_wins();
  if (!wins) return {};
  if (!log(*wins ? "source" : "target")) return {};
  if (!carry_out(*wins)) {
    if (sql_.last_error() == ER_DUP_ENTRY)
      return refused("a unique key of it belongs to another row of the target");
    return {};
  }
  return {*wins ? Resolution::Kind::kApplied : Resolution::Kind::kKept, ""};
}

}  // namespace

std::string RowChange::name() const {
  return mysql::quote_name(schema) + "." + mysql::quote_name(table);
}

std::string RowChange::shown() const {
  std::string_view verb = kind == ChangeKind::kInsert   ? "INSERT into "
                          : kind == ChangeKind::kUpdate ? "UPDATE of "
                                                        : "DELETE from ";
  return std::string(verb) + schema + "." + table;
}

std::string guarded_statement(const RowChange& change) {
  switch (change.kind) {
    case ChangeKind::kInsert:
      return insert_statement(change);
    case ChangeKind::kUpdate:
      return "UPDATE " + change.name() + " SET " + assignments(change, false) +
             where(change, false) + " LIMIT 1";
    case ChangeKind::kDelete:
      return "DELETE FROM " + change.name() + where(change, false) + " LIMIT 1";
  }
  return {};
}

std::uint64_t matched_rows(mysql::SqlConnection& sql, std::uint64_t affected) {
  const char* info = mysql_info(sql.native());
  constexpr std::string_view kMatched = "Rows matched: ";
  std::string_view text = info ? info : "";
  if (!text.starts_with(kMatched)) return affected;
  text.remove_prefix(kMatched.size());
  std::from_chars(text.data(), text.data() + text.size(), affected);
  return affected;
}

Resolution resolve(mysql::SqlConnection& sql, const std::string& task,
                   const ConflictSettings& settings, const RowChange& change, Error& error) {
  return Case(sql, task, settings, change, error).decide();
}

}  // namespace leeward::replication::internal
