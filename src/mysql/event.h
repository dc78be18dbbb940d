// The frame of binary log events, MariaDB's and MySQL's: common header, body, checksum; and the few
// bodies that everybody who follows a stream must understand (GTIDs, rotation, format). Views only:
// nothing is copied, and a view lives as long as the bytes it was made from. Pure; fuzzed by
// tests/fuzz/event_fuzz.cc.
//
// Layouts: MariaDB Knowledge Base, "Replication Protocol: Binlog Event" pages; MySQL source
// documentation, "Replication Protocol" and libbinlogevents (control_events.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "mysql/gtid.h"
#include "mysql/gtid_set.h"

namespace leeward::mysql {

inline constexpr std::size_t kEventHeaderBytes = 19;
inline constexpr std::size_t kEventChecksumBytes = 4;

enum class EventType : std::uint8_t {
  kUnknown = 0,
  kQuery = 2,
  kStop = 3,
  kRotate = 4,
  kIntvar = 5,
  kRand = 13,
  kUserVar = 14,
  kFormatDescription = 15,
  kXid = 16,
  kBeginLoadQuery = 17,
  kExecuteLoadQuery = 18,
  kTableMap = 19,
  kWriteRowsV1 = 23,
  kUpdateRowsV1 = 24,
  kDeleteRowsV1 = 25,
  kIncident = 26,
  kHeartbeat = 27,
  kIgnorable = 28,
  kRowsQuery = 29,  // MySQL's comment on a rows event
  kWriteRows = 30,
  kUpdateRows = 31,
  kDeleteRows = 32,
  kMysqlGtid = 33,
  kMysqlAnonymousGtid = 34,
  kPreviousGtids = 35,
  kTransactionContext = 36,  // group replication; no change of data
  kViewChange = 37,          // likewise
  kXaPrepare = 38,
  kPartialUpdateRows = 39,
  kTransactionPayload = 40,
  kHeartbeatV2 = 41,
  kMysqlTaggedGtid = 42,
  kAnnotateRows = 160,
  kBinlogCheckpoint = 161,
  kGtid = 162,
  kGtidList = 163,
  kStartEncryption = 164,
  kQueryCompressed = 165,
  kWriteRowsCompressedV1 = 166,
  kUpdateRowsCompressedV1 = 167,
  kDeleteRowsCompressedV1 = 168,
  kWriteRowsCompressed = 169,
  kUpdateRowsCompressed = 170,
  kDeleteRowsCompressed = 171,
};
std::string to_string(EventType type);  // "WRITE_ROWS_V1"; "event type 99" for what we do not know

// Flags of the common header.
inline constexpr std::uint16_t kEventArtificial = 0x20;  // made for this stream, not in the log
inline constexpr std::uint16_t kEventIgnorable = 0x80;   // may be skipped by who does not know it

struct Event {
  std::uint32_t time = 0;  // seconds since 1970, of the server that wrote it
  EventType type = EventType::kUnknown;
  std::uint32_t server = 0;
  std::uint32_t next_position = 0;  // in the source's log file; 0 for what is not in it
  std::uint16_t flags = 0;
  std::string_view bytes;  // header and body, without checksum
  std::string_view body;

  bool artificial() const { return flags & kEventArtificial; }
  bool ignorable() const { return flags & kEventIgnorable; }
};

// Whether an event of this type carries a change of data or part of one: who does not understand it
// must not go on. False for what only describes the log or the stream.
bool is_known(EventType type);

// Parses exactly one event. With `checksummed` the last four bytes are its CRC32 (zlib's
// polynomial) and are verified. A format description always has a checksum field and verifies it
// only if it announces CRC32. kCorrupt names the type and what is wrong.
Result<Event> parse_event(std::string_view bytes, bool checksummed);
// The header alone; `bytes` may be longer or shorter than the event. body and bytes are what is
// there, checksum included. kCorrupt when fewer than kEventHeaderBytes, or a size below them.
Result<Event> parse_event_head(std::string_view bytes);
// Size of the event, checksum included, from its header. REQUIRES: kEventHeaderBytes are there.
std::uint32_t event_size(std::string_view bytes);

// CRC32 of `bytes`, going on from `seed` (the result for what came before).
std::uint32_t crc32(std::string_view bytes, std::uint32_t seed = 0);

// A format description: who wrote the log and whether its events have checksums.
struct FormatDescription {
  std::string server_version;  // "10.11.19-MariaDB-log"
  std::uint32_t created = 0;   // of the server's start, when this is its first log since; else 0
  bool checksums = false;
};
Result<FormatDescription> parse_format_description(const Event& event);

// Where the source goes on: file and offset of the next event there.
struct LogPosition {
  std::string file;
  std::uint64_t offset = 0;
  auto operator<=>(const LogPosition&) const = default;
};
std::string to_string(const LogPosition& position);  // "binlog.000003:1234"
Result<LogPosition> parse_rotate(const Event& event);

// A MariaDB GTID event: begins a transaction (there is no BEGIN).
struct GtidEvent {
  Gtid gtid;
  std::uint64_t commit_id = 0;   // same id: committed as one group; 0: alone
  bool standalone = false;       // ends with its first statement; there is no COMMIT
  bool transactional = false;    // touched only tables with transactions
  bool allows_parallel = false;  // not opted out by skip_parallel_replication
  bool waited = false;           // had to wait for a row lock of another transaction
  bool ddl = false;
  bool prepared_xa = false;   // XA PREPARE: commits with a later one
  bool completed_xa = false;  // XA COMMIT or XA ROLLBACK
};
Result<GtidEvent> parse_gtid(const Event& event);
// A MariaDB GTID list: the state of the log where it stands. At most 65,536 entries.
Result<GtidPosition> parse_gtid_list(const Event& event);

// A MySQL GTID_LOG or ANONYMOUS_GTID event.
struct MysqlGtidEvent {
  bool anonymous = false;  // no GTID: the source has gtid_mode off
  MysqlGtid gtid;
  std::int64_t last_committed = 0;  // logical clock: may run with all of sequence > this
  std::int64_t sequence = 0;
  std::uint64_t commit_time_us = 0;  // of the server that committed it first; 0: not told
};
Result<MysqlGtidEvent> parse_mysql_gtid(const Event& event);
Result<GtidSet> parse_previous_gtids(const Event& event);

// A statement, or a word of transaction control. `compressed` SQL is still packed.
struct QueryEvent {
  std::uint32_t thread = 0;
  std::uint16_t error_code = 0;
  std::string_view status;  // status variables, as logged
  std::string_view schema;
  std::string_view sql;
  bool compressed = false;
};
Result<QueryEvent> parse_query(const Event& event);

// A heartbeat: where the source stands while it has nothing to send.
Result<LogPosition> parse_heartbeat(const Event& event);

}  // namespace leeward::mysql
