// Type codes of columns in a table map (MariaDB: enum_field_types, as Field::binlog_type gives
// them).
#pragma once

#include <cstdint>

namespace leeward::mysql {

enum class ColumnType : std::uint8_t {
  kTiny = 1,
  kShort = 2,
  kLong = 3,
  kFloat = 4,
  kDouble = 5,
  kTimestamp = 7,  // formats from before MariaDB 10.1.2; not decoded
  kLongLong = 8,
  kInt24 = 9,
  kDate = 10,
  kTime = 11,      // likewise
  kDatetime = 12,  // likewise
  kYear = 13,
  kNewDate = 14,
  kVarchar = 15,
  kBit = 16,
  kTimestamp2 = 17,
  kDatetime2 = 18,
  kTime2 = 19,
  kBlobCompressed = 140,
  kVarcharCompressed = 141,
  kVector = 242,  // MySQL 9
  kJson = 245,    // MySQL; MariaDB's is text
  kDecimal = 246,
  kEnum = 247,
  kSet = 248,
  kTinyBlob = 249,
  kMediumBlob = 250,
  kLongBlob = 251,
  kBlob = 252,
  kVarString = 253,
  kString = 254,
  kGeometry = 255,
};

}  // namespace leeward::mysql
