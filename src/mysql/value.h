// Values of row images as text that people and SQL can read. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "mysql/table.h"

namespace leeward::mysql {

// Reads one value of a row image; false when the bytes or the type make that
// impossible.
class Bytes;
bool decode_value(Bytes& bytes, const Column& column, std::string& text);
// The text form of column bytes: the bytes themselves when they are readable, else "base64:" +
// base64.
std::string readable(std::string_view bytes, TextKind kind);
std::string base64(std::string_view bytes);
std::optional<std::string> unbase64(std::string_view text);
// "compressed" framing of events and columns; nullopt when malformed or beyond 256 MiB.
std::optional<std::string> inflate(std::string_view bytes, std::uint64_t size, bool raw);

}  // namespace leeward::mysql
