#include "mysql/table_map.h"

#include "mysql/bytes.h"
#include "mysql/column_type.h"
#include "mysql/value.h"

namespace leeward::mysql {
namespace {

// Kinds of the optional metadata fields.
enum class Optional : std::uint8_t {
  kSignedness = 1,
  kDefaultCharset = 2,
  kColumnCharset = 3,
  kColumnName = 4,
  kSetLabels = 5,
  kEnumLabels = 6,
  kPrimaryKey = 8,
  kPrimaryKeyWithPrefix = 9,
  kLabelDefaultCharset = 10,
  kLabelColumnCharset = 11,
};

ColumnType type_of(const Column& column) { return static_cast<ColumnType>(column.type); }

bool has_labels(const Column& column) {
  return type_of(column) == ColumnType::kEnum || type_of(column) == ColumnType::kSet;
}

bool is_numeric(const Column& column) {
  switch (type_of(column)) {
    case ColumnType::kTiny:
    case ColumnType::kShort:
    case ColumnType::kInt24:
    case ColumnType::kLong:
    case ColumnType::kLongLong:
    case ColumnType::kFloat:
    case ColumnType::kDouble:
    case ColumnType::kDecimal:
    case ColumnType::kYear:
      return true;
    default:
      return false;
  }
}

// As the server counts them: geometry is one, with the binary character set.
bool is_character(const Column& column) {
  switch (type_of(column)) {
    case ColumnType::kString:
    case ColumnType::kVarString:
    case ColumnType::kVarchar:
    case ColumnType::kVarcharCompressed:
    case ColumnType::kBlob:
    case ColumnType::kBlobCompressed:
    case ColumnType::kGeometry:
      return true;
    default:
      return false;
  }
}

// The type's own metadata: how long its values are.
void read_size(Bytes& metadata, Column& column) {
  switch (type_of(column)) {
    case ColumnType::kFloat:
    case ColumnType::kDouble:
    case ColumnType::kBlob:
    case ColumnType::kBlobCompressed:
    case ColumnType::kGeometry:
    case ColumnType::kJson:
    case ColumnType::kVector:
    case ColumnType::kTime2:
    case ColumnType::kDatetime2:
    case ColumnType::kTimestamp2:
      column.size = static_cast<std::uint16_t>(metadata.little(1));
      break;
    case ColumnType::kVarchar:
    case ColumnType::kVarcharCompressed:
      column.size = static_cast<std::uint16_t>(metadata.little(2));
      break;
    case ColumnType::kDecimal:
      column.size = static_cast<std::uint16_t>(metadata.big(2));  // precision, scale
      break;
    case ColumnType::kBit: {
      std::uint64_t bits = metadata.little(1);
      column.size = static_cast<std::uint16_t>(metadata.little(1) + (bits > 0 ? 1 : 0));
      break;
    }
    case ColumnType::kString:
    case ColumnType::kVarString:
    case ColumnType::kEnum:
    case ColumnType::kSet: {
      auto real = static_cast<std::uint16_t>(metadata.little(1));
      auto size = static_cast<std::uint16_t>(metadata.little(1));
      // Lengths above 255 borrow two bits of the type byte, inverted.
      if ((real & 0x30) != 0x30) size |= static_cast<std::uint16_t>(((real & 0x30) ^ 0x30) << 4);
      column.type = static_cast<std::uint8_t>(real | 0x30);
      column.size = size;
      break;
    }
    default:
      break;
  }
}

bool size_is_sane(const Column& column) {
  switch (type_of(column)) {
    case ColumnType::kTime2:
    case ColumnType::kDatetime2:
    case ColumnType::kTimestamp2:
      return column.size <= 6;
    case ColumnType::kBlob:
    case ColumnType::kBlobCompressed:
    case ColumnType::kGeometry:
    case ColumnType::kJson:
    case ColumnType::kVector:
      return column.size >= 1 && column.size <= 4;
    case ColumnType::kDecimal:
      return (column.size >> 8) <= 65 && (column.size & 255) <= (column.size >> 8);
    case ColumnType::kEnum:
      return column.size == 1 || column.size == 2;
    case ColumnType::kSet:
    case ColumnType::kBit:
      return column.size >= 1 && column.size <= 8;
    default:
      return true;
  }
}

template <typename Pick>
std::vector<Column*> pick(Table& table, Pick wanted) {
  std::vector<Column*> columns;
  for (Column& column : table.columns)
    if (wanted(column)) columns.push_back(&column);
  return columns;
}

void read_signedness(Bytes field, Table& table) {
  std::string_view bits = field.rest();
  std::size_t i = 0;
  for (Column* column : pick(table, is_numeric)) {
    if (i / 8 >= bits.size()) return;
    column->is_unsigned = static_cast<std::uint8_t>(bits[i / 8]) >> (7 - i % 8) & 1;
    ++i;
  }
}

void set_collation(Column& column, std::uint32_t collation, const DecoderContext& context) {
  column.collation = collation;
  column.text = context.text_kind(collation);
}

void read_default_charset(Bytes field, std::vector<Column*> columns,
                          const DecoderContext& context) {
  auto fallback = static_cast<std::uint32_t>(field.packed());
  for (Column* column : columns) set_collation(*column, fallback, context);
  while (field.left() > 0) {
    std::uint64_t index = field.packed();
    auto collation = static_cast<std::uint32_t>(field.packed());
    if (field.ok() && index < columns.size()) set_collation(*columns[index], collation, context);
  }
}

void read_column_charsets(Bytes field, std::vector<Column*> columns,
                          const DecoderContext& context) {
  for (Column* column : columns) {
    if (field.left() == 0) return;
    set_collation(*column, static_cast<std::uint32_t>(field.packed()), context);
  }
}

void read_labels(Bytes field, std::vector<Column*> columns) {
  for (Column* column : columns) {
    std::uint64_t count = field.packed();
    for (std::uint64_t i = 0; i < count && field.ok(); ++i)
      column->labels.emplace_back(field.take(field.packed()));
  }
}

void read_primary_key(Bytes field, bool with_prefix, Table& table) {
  while (field.left() > 0) {
    std::uint64_t index = field.packed();
    if (with_prefix) field.packed();
    if (field.ok() && index < table.columns.size()) table.primary_key.push_back(index);
  }
}

bool read_names(Bytes field, Table& table) {
  for (Column& column : table.columns) column.name = std::string(field.take(field.packed()));
  return field.ok();
}

bool read_optional(Bytes& bytes, Table& table, const DecoderContext& context) {
  bool named = false;
  while (bytes.left() > 0 && bytes.ok()) {
    auto kind = static_cast<Optional>(bytes.little(1));
    Bytes field(bytes.take(bytes.packed()));
    auto with_type = [&](ColumnType type) {
      return pick(table, [type](const Column& column) { return type_of(column) == type; });
    };
    switch (kind) {
      case Optional::kSignedness:
        read_signedness(field, table);
        break;
      case Optional::kDefaultCharset:
        read_default_charset(field, pick(table, is_character), context);
        break;
      case Optional::kColumnCharset:
        read_column_charsets(field, pick(table, is_character), context);
        break;
      case Optional::kColumnName:
        named = read_names(field, table);
        break;
      case Optional::kSetLabels:
        read_labels(field, with_type(ColumnType::kSet));
        break;
      case Optional::kEnumLabels:
        read_labels(field, with_type(ColumnType::kEnum));
        break;
      case Optional::kPrimaryKey:
        read_primary_key(field, false, table);
        break;
      case Optional::kPrimaryKeyWithPrefix:
        read_primary_key(field, true, table);
        break;
      case Optional::kLabelDefaultCharset:
        read_default_charset(field, pick(table, has_labels), context);
        break;
      case Optional::kLabelColumnCharset:
        read_column_charsets(field, pick(table, has_labels), context);
        break;
      default:
        break;
    }
  }
  return named;
}

}  // namespace

std::optional<NamedTable> parse_table_map(std::string_view body, const DecoderContext& context) {
  Bytes bytes(body);
  NamedTable named;
  Table& table = named.table;
  named.id = bytes.little(6);
  bytes.take(2);  // flags
  table.schema = std::string(bytes.take(bytes.little(1)));
  bytes.take(1);
  table.name = std::string(bytes.take(bytes.little(1)));
  bytes.take(1);
  std::uint64_t count = bytes.packed();
  if (count > kColumnsMax) return std::nullopt;
  for (char type : bytes.take(count))
    table.columns.emplace_back().type = static_cast<std::uint8_t>(type);
  Bytes metadata(bytes.take(bytes.packed()));
  for (Column& column : table.columns) {
    read_size(metadata, column);
    if (!size_is_sane(column)) return std::nullopt;
  }
  std::string_view nullable = bytes.take((count + 7) / 8);
  if (!bytes.ok() || !metadata.ok()) return std::nullopt;

  for (std::size_t i = 0; i < count; ++i)
    table.columns[i].nullable = static_cast<std::uint8_t>(nullable[i / 8]) >> (i % 8) & 1;
  table.named = read_optional(bytes, table, context);
  if (!bytes.ok()) return std::nullopt;
  for (Column& column : table.columns) {
    column.disguise = context.disguise(table.schema, table.name, column.name);
    for (std::string& label : column.labels) label = readable(label, column.text);
  }
  return named;
}

}  // namespace leeward::mysql
