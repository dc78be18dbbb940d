#include "mysql/row_image.h"

#include <algorithm>

#include "mysql/bytes.h"
#include "mysql/column_type.h"
#include "mysql/value.h"

namespace leeward::mysql {
namespace {

struct Layout {
  ChangeKind kind;
  bool version2;
  bool compressed;
};

std::optional<Layout> layout_of(EventType type) {
  auto from = [&](EventType first, bool version2, bool compressed) -> std::optional<Layout> {
    int step = static_cast<int>(type) - static_cast<int>(first);
    if (step < 0 || step > 2) return std::nullopt;
    return Layout{static_cast<ChangeKind>(step), version2, compressed};
  };
  if (type == EventType::kPartialUpdateRows) return Layout{ChangeKind::kUpdate, true, false};
  if (auto found = from(EventType::kWriteRowsV1, false, false)) return found;
  if (auto found = from(EventType::kWriteRows, true, false)) return found;
  if (auto found = from(EventType::kWriteRowsCompressedV1, false, true)) return found;
  return from(EventType::kWriteRowsCompressed, true, true);
}

bool bit(std::string_view bits, std::size_t i) {
  return static_cast<std::uint8_t>(bits[i / 8]) >> (i % 8) & 1;
}

std::size_t count_bits(std::string_view bits, std::size_t count) {
  std::size_t set = 0;
  for (std::size_t i = 0; i < count; ++i) set += bit(bits, i);
  return set;
}

std::size_t decimal_bytes(unsigned precision, unsigned scale) {
  constexpr std::size_t kBytes[] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};  // of so many digits
  unsigned whole = precision - scale;
  return whole / 9 * 4 + kBytes[whole % 9] + scale / 9 * 4 + kBytes[scale % 9];
}

bool is_json(const Column& column) {
  return static_cast<ColumnType>(column.type) == ColumnType::kJson;
}

}  // namespace

bool is_rows_event(EventType type) { return layout_of(type).has_value(); }

Result<RowsEvent> parse_rows(const Event& event) {
  auto malformed = [&] {
    return fail(Code::kCorrupt, "malformed {} event", to_string(event.type));
  };
  auto layout = layout_of(event.type);
  if (!layout) return malformed();
  Bytes body(event.body);
  RowsEvent rows;
  rows.kind = layout->kind;
  rows.compressed = layout->compressed;
  rows.partial = event.type == EventType::kPartialUpdateRows;
  rows.table_id = body.little(6);
  rows.flags = static_cast<std::uint16_t>(body.little(2));
  if (layout->version2) {
    std::uint64_t extra = body.little(2);  // counts itself
    if (extra < 2) return malformed();
    body.take(extra - 2);
  }
  rows.width = body.packed();
  if (rows.width > kColumnsMax) return malformed();
  rows.before_columns = body.take((rows.width + 7) / 8);
  rows.after_columns =
      rows.kind == ChangeKind::kUpdate ? body.take((rows.width + 7) / 8) : rows.before_columns;
  if (!body.ok()) return malformed();
  rows.rows = body.rest();
  return rows;
}

Result<std::string> unpack_rows(const RowsEvent& rows) {
  auto unpacked = unpack(rows.rows);
  if (!unpacked) return fail(Code::kCorrupt, "compressed rows cannot be unpacked");
  return std::move(*unpacked);
}

RowImages::RowImages(const Table& table, const RowsEvent& event, std::string_view rows)
    : table_(table), event_(event), rest_(rows) {}

Result<bool> RowImages::next(RowImage& image) {
  if (rest_.empty() && !after_) return false;
  std::size_t width = table_.columns.size();
  if (width == 0 || event_.width != width)
    return fail(Code::kCorrupt, "rows of {} columns do not fit table {}.{} of {}", event_.width,
                table_.schema, table_.name, width);
  bool update = event_.kind == ChangeKind::kUpdate;
  std::string_view present = after_ ? event_.after_columns : event_.before_columns;
  Bytes bytes(rest_);
  std::string_view partial;
  if (after_ && event_.partial) {
    constexpr std::uint64_t kPartialJson = 1;
    if (bytes.packed() & kPartialJson) {
      auto json = std::count_if(table_.columns.begin(), table_.columns.end(), is_json);
      partial = bytes.take((static_cast<std::size_t>(json) + 7) / 8);
    }
  }
  std::string_view nulls = bytes.take((count_bits(present, width) + 7) / 8);
  auto misfit = [&](const Column& column) {
    return fail(Code::kCorrupt, "column {} of table {}.{} cannot be read", column.name,
                table_.schema, table_.name);
  };
  if (!bytes.ok()) return misfit(table_.columns.front());
  image.columns.resize(width);
  std::size_t position = 0;
  std::size_t json = 0;  // each JSON column has a bit, present or not
  for (std::size_t i = 0; i < width; ++i) {
    const Column& column = table_.columns[i];
    bool differs = is_json(column) && !partial.empty() && bit(partial, json++);
    ColumnSpan& span = image.columns[i];
    span = ColumnSpan{bit(present, i), false, false, {}};
    if (!span.present) continue;
    span.null = bit(nulls, position++);
    if (span.null) continue;
    span.partial = differs;
    if (!value_span(bytes, column, span.bytes)) return misfit(column);
  }
  if (bytes.left() == rest_.size()) return misfit(table_.columns.front());  // no progress: no rows
  image.bytes = rest_.substr(0, rest_.size() - bytes.left());
  rest_ = bytes.rest();
  after_ = update && !after_;
  if (after_ && rest_.empty()) return misfit(table_.columns.front());
  return true;
}

bool value_span(Bytes& bytes, const Column& column, std::string_view& span) {
  std::size_t size = 0;
  switch (static_cast<ColumnType>(column.type)) {
    case ColumnType::kTiny:
    case ColumnType::kYear:
      size = 1;
      break;
    case ColumnType::kShort:
      size = 2;
      break;
    case ColumnType::kInt24:
    case ColumnType::kDate:
    case ColumnType::kNewDate:
    case ColumnType::kTime:
      size = 3;
      break;
    case ColumnType::kLong:
    case ColumnType::kFloat:
    case ColumnType::kTimestamp:
      size = 4;
      break;
    case ColumnType::kLongLong:
    case ColumnType::kDouble:
    case ColumnType::kDatetime:
      size = 8;
      break;
    case ColumnType::kDecimal:
      size = decimal_bytes(column.size >> 8, column.size & 255);
      break;
    case ColumnType::kBit:
    case ColumnType::kEnum:
    case ColumnType::kSet:
      size = column.size;
      break;
    case ColumnType::kTime2:
      size = 3 + (column.size + 1u) / 2;
      break;
    case ColumnType::kDatetime2:
      size = 5 + (column.size + 1u) / 2;
      break;
    case ColumnType::kTimestamp2:
      size = 4 + (column.size + 1u) / 2;
      break;
    case ColumnType::kString:
    case ColumnType::kVarString:
    case ColumnType::kVarchar:
    case ColumnType::kVarcharCompressed:
      size = bytes.little(column.size > 255 ? 2 : 1);
      break;
    case ColumnType::kBlob:
    case ColumnType::kTinyBlob:
    case ColumnType::kMediumBlob:
    case ColumnType::kLongBlob:
    case ColumnType::kBlobCompressed:
    case ColumnType::kGeometry:
    case ColumnType::kJson:
    case ColumnType::kVector:
      size = bytes.little(column.size);
      break;
    default:
      return false;
  }
  span = bytes.take(size);
  return bytes.ok();
}

}  // namespace leeward::mysql
