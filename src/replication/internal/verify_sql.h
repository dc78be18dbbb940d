// The statements of a comparison. Pure.
#pragma once

#include <string>
#include <vector>

#include "replication/internal/catalog.h"
#include "replication/internal/chunk_copy.h"

namespace leeward::replication::internal {

enum class End : std::uint8_t { kSource, kTarget };

// CRC32C over the carried columns of a row, as SQL. Both ends give the same number for the same
// values, whatever the columns are called: text as the bytes that are stored.
std::string row_checksum(const CarriedTable& table, End end);

// "SELECT COUNT(*), BIT_XOR(…), SUM(…) or 0" over the range; the row filter counts at the source,
// where it says what is carried.
std::string chunk_checksum(const CarriedTable& table, const KeyRange& range, End end,
                           const mysql::SqlConnection& sql);

// The key columns (as text) and the checksum of each row in the range.
std::string row_checksums(const CarriedTable& table, const KeyRange& range, End end,
                          const mysql::SqlConnection& sql);

// All carried columns of the row with that key, as they are read to be carried.
std::string whole_row(const CarriedTable& table, const std::vector<std::string>& key, End end,
                      const mysql::SqlConnection& sql);

// A query for the values of a key as text for people: in UTF-8, bytes as hexadecimal digits.
std::string readable_key(const CarriedTable& table, const std::vector<std::string>& key);
// "id=42, line=7" of what it answers.
std::string shown_key(const CarriedTable& table, const std::vector<mysql::Cell>& values);

// "`id` = 42 AND …" with the names of `end`.
std::string key_equals(const CarriedTable& table, const std::vector<std::string>& key, End end);

}  // namespace leeward::replication::internal
