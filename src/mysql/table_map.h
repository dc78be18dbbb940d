// Table map events: the names and types that the row images after them need.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "mysql/table.h"

namespace leeward::mysql {

struct NamedTable {
  std::uint64_t id = 0;
  Table table;
};

// Parses the body of a table map event (after the common header, without checksum). nullopt when
// the bytes are not one; more than 4096 columns (the server's limit) are refused as well.
std::optional<NamedTable> parse_table_map(std::string_view body, const DecoderContext& context);

}  // namespace leeward::mysql
