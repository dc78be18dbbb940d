#include "mysql/binlog.h"

#include <algorithm>

#include "mysql/bytes.h"
#include "mysql/table_map.h"

namespace leeward::mysql {
namespace {

constexpr std::size_t kHeaderBytes = 19;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kTablesMax = 10'000;
constexpr std::size_t kChecksumFlagOffset =
    1 + kChecksumBytes;  // from the end of a format description

// Event types that matter here (MariaDB: enum Log_event_type).
constexpr std::uint8_t kQuery = 2, kFormatDescription = 15, kXid = 16, kTableMap = 19,
                       kIncident = 26, kXaPrepare = 38, kGtid = 162, kQueryCompressed = 165;

// Flags of a GTID event.
constexpr unsigned kStandalone = 0x01, kTransactional = 0x04, kPreparedXa = 0x40,
                   kCompletedXa = 0x80;

struct RowsType {
  ChangeKind kind;
  bool version2;
  bool compressed;
};

std::optional<RowsType> rows_type(std::uint8_t type) {
  auto in = [&](std::uint8_t first) { return type >= first && type < first + 3; };
  auto made = [&](std::uint8_t first, bool version2, bool compressed) {
    return RowsType{static_cast<ChangeKind>(type - first), version2, compressed};
  };
  if (in(23)) return made(23, false, false);
  if (in(30)) return made(30, true, false);
  if (in(166)) return made(166, false, true);
  if (in(169)) return made(169, true, true);
  return std::nullopt;
}

bool bit(std::string_view bits, std::size_t i) {
  return static_cast<std::uint8_t>(bits[i / 8]) >> (i % 8) & 1;
}

std::size_t count_bits(std::string_view bits, std::size_t count) {
  std::size_t set = 0;
  for (std::size_t i = 0; i < count; ++i) set += bit(bits, i);
  return set;
}

// "Compressed" framing: a byte with the size of the length field, the length, zlib data.
std::optional<std::string> unpack(std::string_view packed) {
  Bytes bytes(packed);
  std::uint64_t size = bytes.big(bytes.little(1) & 7);
  if (!bytes.ok()) return std::nullopt;
  return inflate(bytes.rest(), size, false);
}

bool starts_with_word(std::string_view sql, std::string_view word) {
  if (sql.size() < word.size()) return false;
  return std::equal(word.begin(), word.end(), sql.begin(),
                    [](char a, char b) { return a == (b >= 'a' && b <= 'z' ? b - 32 : b); });
}

// One row image with the columns that `present` names. Returns the column whose value cannot be
// read, null when all could.
const Column* read_row(Bytes& bytes, const Table& table, std::string_view present, Row& row) {
  std::size_t width = table.columns.size();
  std::string_view nulls = bytes.take((count_bits(present, width) + 7) / 8);
  if (!bytes.ok()) return &table.columns.front();
  row.assign(width, std::nullopt);
  std::size_t position = 0;
  for (std::size_t i = 0; i < width; ++i) {
    if (!bit(present, i)) continue;
    if (bit(nulls, position++)) continue;
    if (!decode_value(bytes, table.columns[i], row[i].emplace())) return &table.columns[i];
  }
  return nullptr;
}

}  // namespace

struct BinlogDecoder::Header {
  std::uint32_t time = 0;
  std::uint8_t type = 0;
  std::uint32_t server = 0;
  std::uint16_t flags = 0;
};

Result<std::optional<Transaction>> BinlogDecoder::feed(std::string_view event) {
  Bytes bytes(event);
  Header header;
  header.time = static_cast<std::uint32_t>(bytes.little(4));
  header.type = static_cast<std::uint8_t>(bytes.little(1));
  header.server = static_cast<std::uint32_t>(bytes.little(4));
  std::uint64_t size = bytes.little(4);
  bytes.take(4);  // position of the next event
  header.flags = static_cast<std::uint16_t>(bytes.little(2));
  if (!bytes.ok() || size != event.size())
    return fail(Code::kCorrupt, "binary log: an event of {} bytes says that it has {}",
                event.size(), size);
  if (header.type == kFormatDescription) {
    if (auto known = format_description(event); !known) return fail(std::move(known.error()));
    return std::nullopt;
  }
  if (checksums_) {
    if (event.size() < kHeaderBytes + kChecksumBytes)
      return fail(Code::kCorrupt, "binary log: an event without its checksum");
    event.remove_suffix(kChecksumBytes);
  }
  std::string_view body = event.substr(kHeaderBytes);

  ended_ = false;
  Status done;
  switch (header.type) {
    case kGtid: {
      std::optional<Transaction> cut_short;
      if (open_) {
        obstruct("it has no end in the binary log");
        cut_short = finish();
      }
      if (auto begun = gtid(header, body); !begun) return fail(std::move(begun.error()));
      return cut_short;
    }
    case kQuery:
      done = query(body, false);
      break;
    case kQueryCompressed:
      done = query(body, true);
      break;
    case kTableMap:
      done = table_map(event, body);
      break;
    case kXid:
    case kXaPrepare:
      ended_ = true;
      break;
    case kIncident:
      obstruct("the binary log has an incident mark in it");
      break;
    default:
      if (rows_type(header.type)) done = rows(header, event);
  }
  if (!done) return fail(std::move(done.error()));
  if (!open_ || !ended_) return std::nullopt;
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

Status BinlogDecoder::format_description(std::string_view event) {
  // Version, server version, creation time, header length; then sizes by type, checksum algorithm,
  // checksum.
  constexpr std::size_t kFixed = 2 + 50 + 4 + 1;
  if (event.size() < kHeaderBytes + kFixed + kChecksumFlagOffset)
    return fail(Code::kCorrupt, "binary log: short format description");
  auto version = static_cast<std::uint8_t>(event[kHeaderBytes]);
  auto header_bytes = static_cast<std::uint8_t>(event[kHeaderBytes + kFixed - 1]);
  if (version != 4 || header_bytes != kHeaderBytes)
    return fail(Code::kCorrupt, "binary log: version {} with headers of {} bytes", version,
                header_bytes);
  checksums_ = event[event.size() - kChecksumFlagOffset] == 1;
  format_ = std::make_shared<const std::string>(event);
  tables_.clear();
  return {};
}

Status BinlogDecoder::gtid(const Header& header, std::string_view body) {
  Bytes bytes(body);
  open_.emplace();
  open_->time = header.time;
  open_->gtid.server = header.server;
  open_->gtid.sequence = bytes.little(8);
  open_->gtid.domain = static_cast<std::uint32_t>(bytes.little(4));
  auto flags = static_cast<unsigned>(bytes.little(1));
  if (!bytes.ok()) return fail(Code::kCorrupt, "binary log: short GTID event");
  standalone_ = flags & kStandalone;
  if (flags & (kPreparedXa | kCompletedXa))
    obstruct("it is part of an XA transaction");
  else if (!standalone_ && !(flags & kTransactional))
    obstruct("it changed a table that has no transactions");
  return {};
}

Status BinlogDecoder::query(std::string_view body, bool compressed) {
  Bytes bytes(body);
  bytes.take(8);  // thread, execution time
  std::uint64_t schema_bytes = bytes.little(1);
  bytes.take(2);                // error code
  bytes.take(bytes.little(2));  // status variables
  LoggedStatement statement;
  statement.schema = std::string(bytes.take(schema_bytes));
  bytes.take(1);
  if (!bytes.ok()) return fail(Code::kCorrupt, "binary log: short query event");
  statement.sql = std::string(bytes.rest());
  if (compressed) {
    auto sql = unpack(bytes.rest());
    if (!sql) return fail(Code::kCorrupt, "binary log: a compressed statement cannot be unpacked");
    statement.sql = std::move(*sql);
  }
  if (!open_) return {};
  const std::string& sql = statement.sql;
  bool controls = sql == "BEGIN" || sql == "COMMIT" || starts_with_word(sql, "SAVEPOINT ");
  ended_ = standalone_ || sql == "COMMIT" || sql == "ROLLBACK";
  if (controls) return {};
  obstruct(fmt::format("it has a statement that cannot be undone: {}", sql.substr(0, 60)));
  open_->statements.push_back(std::move(statement));
  return {};
}

Status BinlogDecoder::table_map(std::string_view event, std::string_view body) {
  auto named = parse_table_map(body, context_);
  if (!named) return fail(Code::kCorrupt, "binary log: malformed table map");
  if (tables_.size() >= kTablesMax) tables_.clear();  // ids are announced again in each transaction
  if (!named->table.named) {
    obstruct("binlog_row_metadata was not FULL");
    for (std::size_t i = 0; i < named->table.columns.size(); ++i)
      named->table.columns[i].name = fmt::format("@{}", i + 1);
  }
  named->table.event = std::string(event);
  tables_[named->id] = std::make_shared<const Table>(std::move(named->table));
  return {};
}

Status BinlogDecoder::rows(const Header& header, std::string_view event) {
  RowsType type = *rows_type(header.type);
  Bytes bytes(event.substr(kHeaderBytes));
  auto found = tables_.find(bytes.little(6));
  bytes.take(2);  // flags
  if (type.version2) {
    std::uint64_t extra = bytes.little(2);
    if (extra < 2) return fail(Code::kCorrupt, "binary log: malformed rows event");
    bytes.take(extra - 2);
  }
  if (!bytes.ok() || !open_) return {};
  if (found == tables_.end()) {
    // The dummy event that ends a statement has no table; every other one does.
    if (bytes.left() > 1) obstruct("a rows event names an unknown table");
    return {};
  }
  std::shared_ptr<const Table> table = found->second;
  std::uint64_t width = bytes.packed();
  std::string_view first = bytes.take((width + 7) / 8);
  std::string_view second = type.kind == ChangeKind::kUpdate ? bytes.take((width + 7) / 8) : first;
  if (!bytes.ok() || width != table->columns.size())
    return fail(Code::kCorrupt, "binary log: a rows event does not fit table {}.{}", table->schema,
                table->name);
  if (count_bits(first, width) != width || count_bits(second, width) != width)
    obstruct("binlog_row_image was not FULL");

  RawRows raw{type.kind, table, std::string(event.substr(0, event.size() - bytes.left())), {}};
  std::string unpacked;
  if (type.compressed) {
    auto inflated = unpack(bytes.rest());
    if (!inflated) return fail(Code::kCorrupt, "binary log: compressed rows cannot be unpacked");
    unpacked = std::move(*inflated);
    bytes = Bytes(unpacked);
  }
  while (bytes.left() > 0) {
    RowChange change{type.kind, table, {}, {}};
    std::string_view start = bytes.rest();
    Row& leading = type.kind == ChangeKind::kInsert ? change.after : change.before;
    const Column* unread = read_row(bytes, *table, first, leading);
    raw.images.emplace_back(start.substr(0, start.size() - bytes.left()));
    if (!unread && type.kind == ChangeKind::kUpdate) {
      start = bytes.rest();
      unread = read_row(bytes, *table, second, change.after);
      raw.images.emplace_back(start.substr(0, start.size() - bytes.left()));
    }
    if (unread || start.size() == bytes.left()) {
      obstruct(fmt::format("column {} of table {}.{} cannot be read", unread ? unread->name : "1",
                           table->schema, table->name));
      return {};
    }
    open_->changes.push_back(std::move(change));
  }
  open_->raw.push_back(std::move(raw));
  return {};
}

}  // namespace leeward::mysql
