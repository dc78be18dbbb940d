// Values of row images as text that people and SQL can read. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "mysql/table.h"

namespace leeward::mysql {

// The text of a stored value (ColumnSpan::bytes, row_image.h); false when the bytes or the type
// make that impossible.
bool decode_value(std::string_view stored, const Column& column, std::string& text);
// The text form of column bytes: the bytes themselves when they are readable, else "base64:" +
// base64.
std::string readable(std::string_view bytes, TextKind kind);
std::string base64(std::string_view bytes);
std::optional<std::string> unbase64(std::string_view text);
// Deflate data of exactly `size` bytes, with zlib's frame or `raw`; nullopt when malformed or
// beyond 256 MiB.
std::optional<std::string> inflate(std::string_view bytes, std::uint64_t size, bool raw);
// MariaDB's framing of compressed statements and rows: size of the length, length, zlib data.
std::optional<std::string> unpack(std::string_view packed);

}  // namespace leeward::mysql
