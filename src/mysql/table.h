// A table as its table map describes it: the names and types that row images need, as they were
// when the rows were logged. Plain data.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace leeward::mysql {

inline constexpr std::size_t kColumnsMax = 4096;  // of a table; the servers' own limit

// How the bytes of a column with some collation become text.
enum class TextKind : std::uint8_t {
  kUtf8,    // utf8mb3 and utf8mb4
  kAscii,   // ASCII is itself, other bytes are not UTF-8: latin1, cp1251, gbk …
  kOpaque,  // binary, ucs2, utf16, utf32
};

// The types that the binary log shows as BINARY(n).
enum class Disguise : std::uint8_t { kNone, kUuid, kInet4, kInet6 };

struct Column {
  std::string name;
  std::uint8_t type = 0;  // the real type: ENUM and SET are not STRING here
  std::uint16_t size =
      0;  // of the type's metadata: bytes, fraction digits, precision << 8 | scale …
  bool is_unsigned = false;
  bool nullable = true;
  std::uint32_t collation = 0;  // of text, ENUM and SET, by its id at the source; 0: not told
  TextKind text = TextKind::kOpaque;
  Disguise disguise = Disguise::kNone;
  std::vector<std::string> labels;  // ENUM and SET
};

struct Table {
  std::string schema;
  std::string name;
  std::vector<Column> columns;
  bool named = false;                    // has column names: binlog_row_metadata=FULL
  std::vector<std::size_t> primary_key;  // indices into columns; empty: none (or not told)
  std::string event;                     // the table map itself, without checksum
};

enum class ChangeKind : std::uint8_t { kInsert, kUpdate, kDelete };

struct DecoderContext {
  std::function<TextKind(std::uint32_t collation)> text_kind;
  std::function<Disguise(std::string_view schema, std::string_view table, std::string_view column)>
      disguise;
};

}  // namespace leeward::mysql
