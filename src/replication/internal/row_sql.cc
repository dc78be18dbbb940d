#include "replication/internal/row_sql.h"

#include <algorithm>

#include "mysql/bytes.h"
#include "mysql/column_type.h"
#include "mysql/sql.h"
#include "mysql/value.h"

namespace leeward::replication::internal {
namespace {

using mysql::ChangeKind;
using mysql::ColumnType;

constexpr std::string_view kBase64 = "base64:";

// Which column of the source fills a column of the target.
struct Filled {
  std::size_t source = 0;
  std::size_t target = 0;
};

std::vector<Filled> filled_columns(const RoutedTable& table) {
  std::vector<Filled> filled;
  for (std::size_t i = 0; i < table.table.columns.size(); ++i) {
    auto name = table.route.column(table.table.columns[i].name);
    if (!name) continue;
    for (std::size_t k = 0; k < table.target_columns.size(); ++k)
      if (table.target_columns[k].name == *name && !table.target_columns[k].generated)
        filled.push_back({i, k});
  }
  return filled;
}

std::string hexadecimal(std::string_view bytes, const std::string& charset) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = charset.empty() ? "X'" : "_" + charset + " X'";
  for (char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[c & 15];
  }
  return text + "'";
}

bool is_number(const mysql::Column& column) {
  switch (static_cast<ColumnType>(column.type)) {
    case ColumnType::kTiny:
    case ColumnType::kShort:
    case ColumnType::kInt24:
    case ColumnType::kLong:
    case ColumnType::kLongLong:
    case ColumnType::kDecimal:
    case ColumnType::kBit:
    case ColumnType::kYear:
      return true;
    default:
      return false;
  }
}

bool is_label(const mysql::Column& column) {
  auto type = static_cast<ColumnType>(column.type);
  return type == ColumnType::kEnum || type == ColumnType::kSet;
}

// The value as an SQL literal; empty when its bytes are not understood.
std::string literal(const mysql::Column& column, const mysql::ColumnSpan& span,
                    const TargetColumn& target) {
  if (span.null) return "NULL";
  auto type = static_cast<ColumnType>(column.type);
  // Labels by number: they are the same at both ends, and the text of one may be in any charset.
  if (is_label(column)) return std::to_string(mysql::Bytes(span.bytes).little(span.bytes.size()));
  std::string text;
  if (!mysql::decode_value(span.bytes, column, text)) return {};
  if (is_number(column)) return text;
  // As the double that it is exactly, so that it can also be compared.
  if (type == ColumnType::kFloat)
    return fmt::format("{:.17e}", static_cast<double>(std::stof(text)));
  if (type == ColumnType::kDouble) return fmt::format("{:.17e}", std::stod(text));
  if (text.starts_with(kBase64)) {
    auto bytes = mysql::unbase64(std::string_view(text).substr(kBase64.size()));
    if (!bytes) return {};
    text = std::move(*bytes);
  }
  bool disguised = column.disguise != mysql::Disguise::kNone;
  return hexadecimal(text, disguised ? "ascii" : target.charset);
}

class Writer {
 public:
  Writer(const RoutedTable& table, const mysql::RowsEvent& event, const RowSqlOptions& options,
         std::vector<Step>& steps, const HandoverOf& handover, bool cascades)
      : table_(table),
        event_(event),
        options_(options),
        steps_(steps),
        handover_(handover),
        unchecked_(handover && !cascades ? "SET STATEMENT foreign_key_checks=0 FOR " : ""),
        filled_(filled_columns(table)),
        name_(mysql::quote_name(table.route.schema) + "." + mysql::quote_name(table.route.table)),
        shown_(table.route.schema + "." + table.route.table) {}

  Status take(const mysql::RowImage& before, const mysql::RowImage* after) {
    ChangeKind kind = event_.kind;
    if (handover_) return hand_over(before, after);
    bool passed = passes_filter(before);
    if (kind == ChangeKind::kUpdate) {
      bool passes_now = passes_filter(*after);
      if (!passed && !passes_now) return {};
      if (!passed) return make(ChangeKind::kInsert, nullptr, after);
      return make(passes_now ? kind : ChangeKind::kDelete, &before, after);
    }
    if (!passed) return {};
    bool inserts = kind == ChangeKind::kInsert;
    return make(kind, inserts ? nullptr : &before, inserts ? &before : nullptr);
  }
  void finish() {
    if (inserts_ == 0) return;
    steps_.emplace_back(SqlStep{std::exchange(insert_, {}), std::exchange(inserts_, 0u),
                                "INSERT into " + shown_, nullptr});
  }

  // `gone` is the row that a change takes away, `come` the one that it makes.
  Status hand_over(const mysql::RowImage& before, const mysql::RowImage* after) {
    bool inserts = event_.kind == ChangeKind::kInsert;
    const mysql::RowImage* gone = inserts || !passes_filter(before) ? nullptr : &before;
    const mysql::RowImage* come = inserts ? &before : after;
    if (come && !passes_filter(*come)) come = nullptr;
    Handover of_gone = gone ? handover_(*gone) : Handover::kSkip;
    Handover of_come = come ? handover_(*come) : Handover::kSkip;
    if (of_gone == Handover::kApply && of_come == Handover::kApply) return update(*gone, *come);
    if (of_gone != Handover::kSkip)
      if (auto done = erase(*gone, of_gone == Handover::kMerge ? SqlStep::kAnyRows : 1); !done)
        return done;
    if (of_come == Handover::kMerge) return merge(*come);
    return of_come == Handover::kApply ? insert(*come) : Status();
  }

 private:
  const mysql::Column& source(const Filled& filled) const {
    return table_.table.columns[filled.source];
  }
  const TargetColumn& target(const Filled& filled) const {
    return table_.target_columns[filled.target];
  }

  bool passes_filter(const mysql::RowImage& image) const {
    if (!table_.filter) return true;
    mysql::Row row(image.columns.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string text;
      if (image.columns[i].null ||
          !mysql::decode_value(image.columns[i].bytes, table_.table.columns[i], text))
        continue;
      auto bytes = text.starts_with(kBase64)
                       ? mysql::unbase64(std::string_view(text).substr(kBase64.size()))
                       : std::nullopt;
      row[i] = bytes ? std::move(*bytes) : std::move(text);
    }
    return passes(*table_.filter, row);
  }

  Result<std::string> value(const mysql::RowImage& image, const Filled& filled) const {
    const mysql::ColumnSpan& span = image.columns[filled.source];
    if (!span.present || span.partial)
      return fail(Code::kRefused,
                  "source logs rows of {} without all their columns; set binlog_row_image=FULL",
                  shown_);
    std::string text = literal(source(filled), span, target(filled));
    if (text.empty())
      return fail(Code::kCorrupt, "binary log: column {} of {} cannot be read", source(filled).name,
                  shown_);
    return text;
  }

  Result<std::string> where(const mysql::RowImage& image) const {
    const auto& key = table_.target_key;
    bool keyed = !key.empty() && std::all_of(key.begin(), key.end(), [&](std::size_t part) {
      return std::any_of(filled_.begin(), filled_.end(),
                         [&](const Filled& filled) { return filled.target == part; });
    });
    std::string text = " WHERE ";
    for (const Filled& filled : filled_) {
      if (keyed && std::find(key.begin(), key.end(), filled.target) == key.end()) continue;
      auto bound = value(image, filled);
      if (!bound) return fail(std::move(bound.error()));
      if (text.size() > 7) text += " AND ";
      text += mysql::quote_name(target(filled).name) + (keyed ? " = " : " <=> ") + *bound;
    }
    return text + " LIMIT 1";
  }

  Status make(ChangeKind kind, const mysql::RowImage* before, const mysql::RowImage* after) {
    if (options_.conflicts) return guarded(kind, before, after);
    if (kind == ChangeKind::kInsert) return insert(*after);
    return kind == ChangeKind::kUpdate ? update(*before, *after) : erase(*before);
  }

  Status guarded(ChangeKind kind, const mysql::RowImage* before, const mysql::RowImage* after) {
    auto change = std::make_shared<RowChange>();
    change->kind = kind;
    change->schema = table_.route.schema;
    change->table = table_.route.table;
    change->gtid = options_.gtid;
    for (const Filled& filled : filled_) {
      ChangedColumn column;
      const std::string& plain = target(filled).name;
      column.name = mysql::quote_name(plain);
      // Another case or another accent is another value, whatever the collation says.
      bool by_number = is_label(source(filled));
      column.compare = by_number                        ? column.name + " + 0"
                       : target(filled).charset.empty() ? column.name
                                                        : "BINARY " + column.name;
      const auto& key = table_.target_key;
      column.key = std::find(key.begin(), key.end(), filled.target) != key.end();
      const auto& deltas = options_.conflicts->delta_columns;
      column.delta = std::find(deltas.begin(), deltas.end(),
                               table_.table.schema + "." + table_.table.name + "." +
                                   source(filled).name) != deltas.end();
      column.decides = plain == options_.conflicts->last_writer_column;
      for (auto [image, text] : {std::pair{before, &column.before}, {after, &column.after}}) {
        if (!image || (image == after && kind == ChangeKind::kDelete)) continue;
        auto bound = value(*image, filled);
        if (!bound) return fail(std::move(bound.error()));
        *text = std::move(*bound);
      }
      change->columns.push_back(std::move(column));
    }
    steps_.emplace_back(SqlStep{guarded_statement(*change), 1, change->shown(), change});
    return {};
  }

  std::string insert_head() const {
    std::string head = unchecked_ + "INSERT INTO " + name_ + " (";
    for (std::size_t i = 0; i < filled_.size(); ++i)
      head += (i ? "," : "") + mysql::quote_name(target(filled_[i]).name);
    return head + ") VALUES ";
  }

  Result<std::string> tuple(const mysql::RowImage& image) const {
    std::string row;
    for (const Filled& filled : filled_) {
      auto bound = value(image, filled);
      if (!bound) return fail(std::move(bound.error()));
      row += (row.empty() ? "(" : ",") + *bound;
    }
    return row + ")";
  }

  // The row as the image has it, whether it is there or not.
  Status merge(const mysql::RowImage& image) {
    finish();
    auto row = tuple(image);
    if (!row) return fail(std::move(row.error()));
    std::string set;
    for (const Filled& filled : filled_) {
      std::string column = mysql::quote_name(target(filled).name);
      set += (set.empty() ? "" : ", ") + column + " = VALUES(" + column + ")";
    }
    steps_.emplace_back(SqlStep{insert_head() + *row + " ON DUPLICATE KEY UPDATE " + set,
                                SqlStep::kAnyRows, "merge into " + shown_, nullptr});
    return {};
  }

  Status insert(const mysql::RowImage& image) {
    if (insert_.size() >= options_.statement_bytes_max) finish();
    auto row = tuple(image);
    if (!row) return fail(std::move(row.error()));
    if (inserts_++ == 0) {
      insert_ = insert_head();
    } else {
      insert_ += ',';
    }
    insert_ += *row;
    return {};
  }

  Status update(const mysql::RowImage& before, const mysql::RowImage& after) {
    finish();
    std::string set;
    for (const Filled& filled : filled_) {
      auto bound = value(after, filled);
      if (!bound) return fail(std::move(bound.error()));
      set +=
          (set.empty() ? " SET " : ", ") + mysql::quote_name(target(filled).name) + " = " + *bound;
    }
    auto which = where(before);
    if (!which) return fail(std::move(which.error()));
    steps_.emplace_back(
        SqlStep{unchecked_ + "UPDATE " + name_ + set + *which, 1, "UPDATE of " + shown_, nullptr});
    return {};
  }

  Status erase(const mysql::RowImage& before, std::uint64_t rows = 1) {
    finish();
    auto which = where(before);
    if (!which) return fail(std::move(which.error()));
    steps_.emplace_back(SqlStep{unchecked_ + "DELETE FROM " + name_ + *which, rows,
                                "DELETE from " + shown_, nullptr});
    return {};
  }

  const RoutedTable& table_;
  const mysql::RowsEvent& event_;
  const RowSqlOptions& options_;
  std::vector<Step>& steps_;
  const HandoverOf& handover_;
  const std::string unchecked_;
  const std::vector<Filled> filled_;
  const std::string name_;
  const std::string shown_;
  std::string insert_;
  std::uint64_t inserts_ = 0;
};

}  // namespace

Status row_statements(const RoutedTable& table, const mysql::RowsEvent& event,
                      std::string_view rows, const RowSqlOptions& options,
                      const std::function<void(const mysql::RowImage&)>& see,
                      std::vector<Step>& steps, const HandoverOf& handover, bool cascades) {
  Writer writer(table, event, options, steps, handover, cascades);
  mysql::RowImages images(table.table, event, rows);
  mysql::RowImage before;
  mysql::RowImage after;
  for (;;) {
    auto more = images.next(before);
    if (!more) return fail(std::move(more.error()));
    if (!*more) break;
    see(before);
    bool pair = event.kind == ChangeKind::kUpdate;
    if (pair) {
      auto second = images.next(after);
      if (!second) return fail(std::move(second.error()));
      if (!*second) return fail(Code::kCorrupt, "binary log: an update without its second image");
      see(after);
    }
    if (auto taken = writer.take(before, pair ? &after : nullptr); !taken) return taken;
  }
  writer.finish();
  return {};
}

}  // namespace leeward::replication::internal
