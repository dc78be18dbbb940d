// MySQL's binary JSON (what its binary log has for a JSON column) as text, and the differences that
// PARTIAL_UPDATE_ROWS carries instead of a whole document. MariaDB's JSON is text already. Pure;
// fuzzed by tests/fuzz/binlog_fuzz.cc.
//
// Formats: MySQL source, sql-common/json_binary.h and sql/json_diff.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace leeward::mysql {

struct JsonValue {
  enum class Kind { kScalar, kArray, kObject } kind = Kind::kScalar;
  std::string text;                // of a scalar: JSON text, quoted if it is a string
  std::vector<std::string> names;  // of an object, as many as items and in MySQL's order
  std::vector<JsonValue> items;
};

// nullopt when the bytes are not such a document. No bytes at all are JSON null. Nested at most 100
// deep, as the server has it; documents whose parts overlap to pretend a size are refused.
std::optional<JsonValue> parse_mysql_json(std::string_view bytes);

// As the server prints it: {"a": 1, "b": [true, null]}. Decimals become numbers, dates and times
// strings, other values of SQL types "base64:type<number>:<base64>".
std::string to_string(const JsonValue& value);

// Applies replacements, insertions and removals in their order. False when the bytes are not such a
// list or name a path that the document does not have; it may then be changed in part.
bool apply_json_differences(JsonValue& document, std::string_view differences);

}  // namespace leeward::mysql
