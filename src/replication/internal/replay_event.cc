#include "replication/internal/replay_event.h"

#include "mysql/bytes.h"
#include "mysql/event.h"

namespace leeward::replication::internal {
namespace {

using mysql::Bytes;
using mysql::kEventHeaderBytes;

constexpr std::size_t kServerOffset = 5, kSizeOffset = 9;
constexpr std::size_t kRowsFlagsOffset = kEventHeaderBytes + 6;     // after the table id
constexpr std::size_t kCreatedOffset = kEventHeaderBytes + 2 + 50;  // of a format description

void put_little(char* to, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<char>(value >> (8 * i) & 0xff);
}

}  // namespace

std::string replay_format(std::string_view event) {
  // The event ends with the checksum algorithm; 0 is none.
  std::string copy(event);
  copy.back() = 0;
  put_little(copy.data() + kCreatedOffset, 0, 4);
  copy.append(mysql::kEventChecksumBytes, '\0');
  set_size(copy.data(), copy.size());
  return copy;
}

std::string replay_table_map(std::string_view event, std::string_view schema,
                             std::string_view table) {
  Bytes bytes(event);
  std::string renamed(bytes.take(kEventHeaderBytes + 8));  // and table id, flags
  bytes.take(bytes.little(1) + 1);
  bytes.take(bytes.little(1) + 1);
  for (std::string_view part : {schema, table}) {
    renamed += static_cast<char>(part.size());
    renamed += part;
    renamed += '\0';
  }
  renamed += bytes.rest();
  set_size(renamed.data(), renamed.size());
  return renamed;
}

std::uint64_t table_id(std::string_view body) { return Bytes(body).little(6); }

void set_size(char* event, std::size_t size) { put_little(event + kSizeOffset, size, 4); }

void set_server(char* event, std::uint32_t server) { put_little(event + kServerOffset, server, 4); }

void set_rows_flags(char* event, std::uint16_t flags) {
  put_little(event + kRowsFlagsOffset, flags, 2);
}

std::uint16_t rows_flags(std::string_view event) {
  return static_cast<std::uint16_t>(Bytes(event.substr(kRowsFlagsOffset)).little(2));
}

}  // namespace leeward::replication::internal
