// Binary log events, edited so that a target replays them: other names, no checksums, another
// origin. Pure. All events here are whole and have no checksum behind them; their size fields may
// still count one, and every function that returns or takes an event for sending corrects that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace leeward::replication::internal {

// Flags of a rows event (MariaDB: Rows_log_event::enum_flag).
inline constexpr std::uint16_t kStatementEnd = 1, kNoForeignKeyChecks = 2, kRelaxedUniqueChecks = 4,
                               kNoCheckConstraints = 128;

// A format description that announces events without checksums and no server start, with the four
// bytes of its own checksum that it always has.
std::string replay_format(std::string_view event);

// A table map with these names.
std::string replay_table_map(std::string_view event, std::string_view schema,
                             std::string_view table);

// Id of the table that a table map or a rows event is about.
std::uint64_t table_id(std::string_view body);

// Overwrite fields of the event that begins at `event`.
void set_size(char* event, std::size_t size);
void set_server(char* event, std::uint32_t server);
void set_rows_flags(char* event, std::uint16_t flags);
std::uint16_t rows_flags(std::string_view event);

}  // namespace leeward::replication::internal
