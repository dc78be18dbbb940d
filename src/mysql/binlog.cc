#include "mysql/binlog.h"

#include <algorithm>

#include "mysql/column_type.h"
#include "mysql/json.h"
#include "mysql/payload.h"
#include "mysql/row_image.h"
#include "mysql/table_map.h"
#include "mysql/value.h"

namespace leeward::mysql {
namespace {

constexpr std::size_t kTablesMax = 10'000;

bool is_control(std::string_view sql) {
  return sql == "BEGIN" || sql == "COMMIT" || sql.starts_with("SAVEPOINT ") ||
         sql.starts_with("savepoint ");
}

bool all_present(std::string_view bits, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i)
    if (!(static_cast<std::uint8_t>(bits[i / 8]) >> (i % 8) & 1)) return false;
  return true;
}

// A JSON column of an after image that holds differences: its value is made from the one before.
bool decode_differences(std::string_view before, std::string_view differences, std::string& text) {
  auto document = parse_mysql_json(before);
  if (!document || !apply_json_differences(*document, differences)) return false;
  text = to_string(*document);
  return true;
}

// Values of one image. Returns the column whose value cannot be read, null when all could.
const Column* decode_image(const Table& table, const RowImage& image, const RowImage* before,
                           Row& row) {
  row.assign(table.columns.size(), std::nullopt);
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const ColumnSpan& span = image.columns[i];
    if (!span.present || span.null) continue;
    std::string& text = row[i].emplace();
    bool done = span.partial
                    ? before && decode_differences(before->columns[i].bytes, span.bytes, text)
                    : decode_value(span.bytes, table.columns[i], text);
    if (!done) return &table.columns[i];
  }
  return nullptr;
}

}  // namespace

Result<std::optional<Transaction>> BinlogDecoder::feed(std::string_view bytes) {
  auto event = parse_event(bytes, checksums_);
  if (!event) return fail(std::move(event.error()).wrap("binary log"));
  auto fed = feed_event(*event);
  if (!fed) return fail(std::move(fed.error()).wrap("binary log"));
  return fed;
}

Result<std::optional<Transaction>> BinlogDecoder::feed_event(const Event& event) {
  std::optional<Transaction> cut_short;
  if (event.type == EventType::kGtid || event.type == EventType::kMysqlGtid ||
      event.type == EventType::kMysqlAnonymousGtid) {
    if (open_) {
      obstruct("it has no end in the binary log");
      cut_short = finish();
    }
  }
  Status done;
  bool ended = false;
  switch (event.type) {
    case EventType::kFormatDescription:
      done = format_description(event);
      break;
    case EventType::kGtid:
      done = gtid(event);
      break;
    case EventType::kMysqlGtid:
    case EventType::kMysqlAnonymousGtid:
      done = mysql_gtid(event);
      break;
    case EventType::kMysqlTaggedGtid:
      return fail(Code::kCorrupt, "tagged GTIDs (MySQL 8.3) are not understood");
    case EventType::kQuery:
    case EventType::kQueryCompressed:
      done = query(event, ended);
      break;
    case EventType::kTableMap:
      done = table_map(event);
      break;
    case EventType::kTransactionPayload:
      done = payload(event);
      ended = true;
      break;
    case EventType::kXid:
    case EventType::kXaPrepare:
      ended = true;
      break;
    case EventType::kIncident:
      obstruct("the binary log has an incident mark in it");
      break;
    default:
      if (is_rows_event(event.type))
        done = rows(event);
      else if (!is_known(event.type) && !event.ignorable())
        obstruct(fmt::format("it has an event that is not known: {}", to_string(event.type)));
  }
  if (!done) return fail(std::move(done.error()));
  if (cut_short) return cut_short;
  if (!open_ || !ended) return std::nullopt;
  return finish();
}

void BinlogDecoder::obstruct(std::string_view reason) {
  if (open_ && open_->obstacle.empty()) open_->obstacle = reason;
}

std::optional<Transaction> BinlogDecoder::finish() {
  open_->format = format_;
  std::optional<Transaction> finished = std::move(open_);
  open_.reset();
  return finished;
}

Status BinlogDecoder::format_description(const Event& event) {
  auto format = parse_format_description(event);
  if (!format) return fail(std::move(format.error()));
  checksums_ = format->checksums;
  std::string copy(event.bytes);
  copy.append(kEventChecksumBytes, '\0');  // its field; nobody verifies it after us
  format_ = std::make_shared<const std::string>(std::move(copy));
  tables_.clear();
  return {};
}

Status BinlogDecoder::gtid(const Event& event) {
  auto parsed = parse_gtid(event);
  if (!parsed) return fail(std::move(parsed.error()));
  open_.emplace();
  open_->time = event.time;
  open_->gtid = parsed->gtid;
  standalone_ = parsed->standalone;
  undecided_ = false;
  if (parsed->prepared_xa || parsed->completed_xa)
    obstruct("it is part of an XA transaction");
  else if (!parsed->standalone && !parsed->transactional)
    obstruct("it changed a table that has no transactions");
  return {};
}

Status BinlogDecoder::mysql_gtid(const Event& event) {
  auto parsed = parse_mysql_gtid(event);
  if (!parsed) return fail(std::move(parsed.error()));
  open_.emplace();
  open_->time = event.time;
  if (!parsed->anonymous) open_->mysql_gtid = parsed->gtid;
  standalone_ = false;
  undecided_ = true;
  return {};
}

Status BinlogDecoder::query(const Event& event, bool& ended) {
  auto parsed = parse_query(event);
  if (!parsed) return fail(std::move(parsed.error()));
  LoggedStatement statement{std::string(parsed->schema), std::string(parsed->sql)};
  if (parsed->compressed) {
    auto sql = unpack(parsed->sql);
    if (!sql) return fail(Code::kCorrupt, "a compressed statement cannot be unpacked");
    statement.sql = std::move(*sql);
  }
  if (!open_) return {};
  const std::string& sql = statement.sql;
  // MySQL: a first statement that opens nothing is the whole transaction.
  bool alone = standalone_ || (undecided_ && sql != "BEGIN" && !sql.starts_with("XA START"));
  undecided_ = false;
  ended = alone || sql == "COMMIT" || sql == "ROLLBACK";
  if (is_control(sql)) return {};
  obstruct(fmt::format("it has a statement that cannot be undone: {}", sql.substr(0, 60)));
  open_->statements.push_back(std::move(statement));
  return {};
}

Status BinlogDecoder::payload(const Event& event) {
  if (in_payload_) return fail(Code::kCorrupt, "a transaction payload inside another one");
  auto reader = PayloadReader::open(event);
  if (!reader) return fail(std::move(reader.error()));
  in_payload_ = true;
  Status done;
  std::size_t bytes = 0;
  while (done) {
    auto inner = reader->next();
    if (!inner) {
      done = fail(std::move(inner.error()));
      break;
    }
    if (!*inner) break;
    bytes += (*inner)->bytes.size();
    bool ended = false;
    if (bytes > kPayloadBytesMax)
      done = fail(Code::kRefused, "a transaction payload of more than {} bytes", kPayloadBytesMax);
    else if ((*inner)->type == EventType::kQuery)
      done = query(**inner, ended);
    else if ((*inner)->type == EventType::kTableMap)
      done = table_map(**inner);
    else if (is_rows_event((*inner)->type))
      done = rows(**inner);
    // The raw events are inside the compressed one: nothing can be undone from them.
  }
  in_payload_ = false;
  obstruct("it is a compressed payload of MySQL");
  return done;
}

Status BinlogDecoder::table_map(const Event& event) {
  auto named = parse_table_map(event.body, context_);
  if (!named) return fail(Code::kCorrupt, "malformed table map");
  if (tables_.size() >= kTablesMax) tables_.clear();  // ids are announced again in each transaction
  if (!named->table.named) {
    obstruct("binlog_row_metadata was not FULL");
    for (std::size_t i = 0; i < named->table.columns.size(); ++i)
      named->table.columns[i].name = fmt::format("@{}", i + 1);
  }
  named->table.event = std::string(event.bytes);
  tables_[named->id] = std::make_shared<const Table>(std::move(named->table));
  return {};
}

Status BinlogDecoder::rows(const Event& event) {
  auto parsed = parse_rows(event);
  if (!parsed) return fail(std::move(parsed.error()));
  if (!open_) return {};
  auto found = tables_.find(parsed->table_id);
  if (found == tables_.end()) {
    // The dummy event that ends a statement has no table; every other one does.
    if (!parsed->rows.empty()) obstruct("a rows event names an unknown table");
    return {};
  }
  std::shared_ptr<const Table> table = found->second;
  if (parsed->width != table->columns.size())
    return fail(Code::kCorrupt, "a rows event does not fit table {}.{}", table->schema,
                table->name);
  if (!all_present(parsed->before_columns, parsed->width) ||
      !all_present(parsed->after_columns, parsed->width))
    obstruct("binlog_row_image was not FULL");

  RawRows raw{parsed->kind,
              table,
              std::string(event.bytes.substr(0, event.bytes.size() - parsed->rows.size())),
              {}};
  std::string unpacked;
  std::string_view bytes = parsed->rows;
  if (parsed->compressed) {
    auto inflated = unpack_rows(*parsed);
    if (!inflated) return fail(std::move(inflated.error()));
    unpacked = std::move(*inflated);
    bytes = unpacked;
  }
  RowImages images(*table, *parsed, bytes);
  RowImage first, second;
  for (;;) {
    auto more = images.next(first);
    bool update = parsed->kind == ChangeKind::kUpdate;
    if (more && *more && update) more = images.next(second);
    if (!more) {
      obstruct(more.error().message);
      return {};
    }
    if (!*more) break;
    RowChange change{parsed->kind, table, {}, {}};
    Row& leading = parsed->kind == ChangeKind::kInsert ? change.after : change.before;
    const Column* unread = decode_image(*table, first, nullptr, leading);
    raw.images.emplace_back(first.bytes);
    if (!unread && update) {
      unread = decode_image(*table, second, &first, change.after);
      raw.images.emplace_back(second.bytes);
    }
    if (unread) {
      obstruct(fmt::format("column {} of table {}.{} cannot be read", unread->name, table->schema,
                           table->name));
      return {};
    }
    open_->changes.push_back(std::move(change));
  }
  if (parsed->partial) obstruct("it has partial updates of JSON");
  open_->raw.push_back(std::move(raw));
  return {};
}

}  // namespace leeward::mysql
