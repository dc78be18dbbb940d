#include "mysql/event.h"

#include <libdeflate.h>

#include "mysql/bytes.h"

namespace leeward::mysql {
namespace {

constexpr std::size_t kGtidListMax = 65'536;
constexpr std::size_t kVersionBytes = 50;
// Flags of a MariaDB GTID event.
constexpr unsigned kStandalone = 0x01, kGroupCommitId = 0x02, kTransactional = 0x04,
                   kAllowParallel = 0x08, kWaited = 0x10, kDdl = 0x20, kPreparedXa = 0x40,
                   kCompletedXa = 0x80;

tl::unexpected<Error> malformed(EventType type) {
  return fail(Code::kCorrupt, "malformed {} event", to_string(type));
}

std::uint32_t u32(std::string_view bytes) {
  return static_cast<std::uint32_t>(Bytes(bytes).little(4));
}

}  // namespace

std::string to_string(EventType type) {
  switch (type) {
    case EventType::kQuery:
      return "QUERY";
    case EventType::kStop:
      return "STOP";
    case EventType::kRotate:
      return "ROTATE";
    case EventType::kIntvar:
      return "INTVAR";
    case EventType::kRand:
      return "RAND";
    case EventType::kUserVar:
      return "USER_VAR";
    case EventType::kFormatDescription:
      return "FORMAT_DESCRIPTION";
    case EventType::kXid:
      return "XID";
    case EventType::kBeginLoadQuery:
      return "BEGIN_LOAD_QUERY";
    case EventType::kExecuteLoadQuery:
      return "EXECUTE_LOAD_QUERY";
    case EventType::kTableMap:
      return "TABLE_MAP";
    case EventType::kWriteRowsV1:
      return "WRITE_ROWS_V1";
    case EventType::kUpdateRowsV1:
      return "UPDATE_ROWS_V1";
    case EventType::kDeleteRowsV1:
      return "DELETE_ROWS_V1";
    case EventType::kIncident:
      return "INCIDENT";
    case EventType::kHeartbeat:
      return "HEARTBEAT";
    case EventType::kIgnorable:
      return "IGNORABLE";
    case EventType::kRowsQuery:
      return "ROWS_QUERY";
    case EventType::kWriteRows:
      return "WRITE_ROWS";
    case EventType::kUpdateRows:
      return "UPDATE_ROWS";
    case EventType::kDeleteRows:
      return "DELETE_ROWS";
    case EventType::kMysqlGtid:
      return "GTID_LOG";
    case EventType::kMysqlAnonymousGtid:
      return "ANONYMOUS_GTID_LOG";
    case EventType::kPreviousGtids:
      return "PREVIOUS_GTIDS";
    case EventType::kTransactionContext:
      return "TRANSACTION_CONTEXT";
    case EventType::kViewChange:
      return "VIEW_CHANGE";
    case EventType::kXaPrepare:
      return "XA_PREPARE";
    case EventType::kPartialUpdateRows:
      return "PARTIAL_UPDATE_ROWS";
    case EventType::kTransactionPayload:
      return "TRANSACTION_PAYLOAD";
    case EventType::kHeartbeatV2:
      return "HEARTBEAT_V2";
    case EventType::kMysqlTaggedGtid:
      return "GTID_TAGGED_LOG";
    case EventType::kAnnotateRows:
      return "ANNOTATE_ROWS";
    case EventType::kBinlogCheckpoint:
      return "BINLOG_CHECKPOINT";
    case EventType::kGtid:
      return "GTID";
    case EventType::kGtidList:
      return "GTID_LIST";
    case EventType::kStartEncryption:
      return "START_ENCRYPTION";
    case EventType::kQueryCompressed:
      return "QUERY_COMPRESSED";
    case EventType::kWriteRowsCompressedV1:
      return "WRITE_ROWS_COMPRESSED_V1";
    case EventType::kUpdateRowsCompressedV1:
      return "UPDATE_ROWS_COMPRESSED_V1";
    case EventType::kDeleteRowsCompressedV1:
      return "DELETE_ROWS_COMPRESSED_V1";
    case EventType::kWriteRowsCompressed:
      return "WRITE_ROWS_COMPRESSED";
    case EventType::kUpdateRowsCompressed:
      return "UPDATE_ROWS_COMPRESSED";
    case EventType::kDeleteRowsCompressed:
      return "DELETE_ROWS_COMPRESSED";
    case EventType::kUnknown:
      break;
  }
  return fmt::format("event type {}", static_cast<unsigned>(type));
}

bool is_known(EventType type) { return !to_string(type).starts_with("event type"); }

std::uint32_t crc32(std::string_view bytes, std::uint32_t seed) {
  return libdeflate_crc32(seed, bytes.data(), bytes.size());
}

std::uint32_t event_size(std::string_view bytes) { return u32(bytes.substr(9, 4)); }

Result<Event> parse_event_head(std::string_view bytes) {
  if (bytes.size() < kEventHeaderBytes)
    return fail(Code::kCorrupt, "an event of {} bytes is shorter than its header", bytes.size());
  Event event;
  Bytes head(bytes);
  event.time = static_cast<std::uint32_t>(head.little(4));
  event.type = static_cast<EventType>(head.little(1));
  event.server = static_cast<std::uint32_t>(head.little(4));
  std::uint64_t size = head.little(4);
  event.next_position = static_cast<std::uint32_t>(head.little(4));
  event.flags = static_cast<std::uint16_t>(head.little(2));
  if (size < kEventHeaderBytes)
    return fail(Code::kCorrupt, "{} event says that it has {} bytes", to_string(event.type), size);
  event.bytes = bytes;
  event.body = bytes.substr(kEventHeaderBytes);
  return event;
}

Result<Event> parse_event(std::string_view bytes, bool checksummed) {
  auto event = parse_event_head(bytes);
  if (!event) return event;
  if (std::uint32_t size = event_size(bytes); size != bytes.size())
    return fail(Code::kCorrupt, "{} event of {} bytes says that it has {}", to_string(event->type),
                bytes.size(), size);
  if (event->type == EventType::kFormatDescription) {
    // Its last bytes are the algorithm and a checksum field, whether used or not.
    if (bytes.size() < kEventHeaderBytes + 1 + kEventChecksumBytes) return malformed(event->type);
    checksummed = bytes[bytes.size() - kEventChecksumBytes - 1] == 1;
    event->bytes.remove_suffix(kEventChecksumBytes);
    event->body.remove_suffix(kEventChecksumBytes);
  } else if (checksummed) {
    if (bytes.size() < kEventHeaderBytes + kEventChecksumBytes)
      return fail(Code::kCorrupt, "{} event without its checksum", to_string(event->type));
    event->bytes.remove_suffix(kEventChecksumBytes);
    event->body.remove_suffix(kEventChecksumBytes);
  }
  if (checksummed) {
    std::uint32_t told = u32(bytes.substr(bytes.size() - kEventChecksumBytes));
    std::uint32_t seen = crc32(event->bytes);
    if (told != seen)
      return fail(Code::kCorrupt, "{} event: wrong checksum ({:08x}, should be {:08x})",
                  to_string(event->type), seen, told);
  }
  return event;
}

Result<FormatDescription> parse_format_description(const Event& event) {
  Bytes body(event.body);
  FormatDescription format;
  std::uint64_t version = body.little(2);
  std::string_view name = body.take(kVersionBytes);
  format.server_version = std::string(name.substr(0, name.find('\0')));
  format.created = static_cast<std::uint32_t>(body.little(4));
  std::uint64_t header = body.little(1);
  if (!body.ok() || body.left() < 1) return malformed(event.type);
  if (version != 4 || header != kEventHeaderBytes)
    return fail(Code::kCorrupt, "binary log of version {} with headers of {} bytes", version,
                header);
  auto algorithm = static_cast<std::uint8_t>(body.rest().back());
  if (algorithm > 1)
    return fail(Code::kCorrupt,
                "events have checksums of unknown kind {}; set binlog_checksum=CRC32 at the source",
                algorithm);
  format.checksums = algorithm == 1;
  return format;
}

std::string to_string(const LogPosition& position) {
  return fmt::format("{}:{}", position.file, position.offset);
}

Result<LogPosition> parse_rotate(const Event& event) {
  Bytes body(event.body);
  LogPosition position;
  position.offset = body.little(8);
  position.file = std::string(body.rest());
  if (!body.ok() || position.file.empty()) return malformed(event.type);
  return position;
}

Result<GtidEvent> parse_gtid(const Event& event) {
  Bytes body(event.body);
  GtidEvent parsed;
  parsed.gtid.server = event.server;
  parsed.gtid.sequence = body.little(8);
  parsed.gtid.domain = static_cast<std::uint32_t>(body.little(4));
  auto flags = static_cast<unsigned>(body.little(1));
  if (flags & kGroupCommitId) parsed.commit_id = body.little(8);
  if (!body.ok()) return malformed(event.type);
  parsed.standalone = flags & kStandalone;
  parsed.transactional = flags & kTransactional;
  parsed.allows_parallel = flags & kAllowParallel;
  parsed.waited = flags & kWaited;
  parsed.ddl = flags & kDdl;
  parsed.prepared_xa = flags & kPreparedXa;
  parsed.completed_xa = flags & kCompletedXa;
  return parsed;
}

Result<GtidPosition> parse_gtid_list(const Event& event) {
  Bytes body(event.body);
  std::uint64_t count = body.little(4) & 0x0fffffff;  // the upper bits are flags
  if (!body.ok() || count > kGtidListMax) return malformed(event.type);
  GtidPosition position;
  for (std::uint64_t i = 0; i < count; ++i) {
    Gtid gtid;
    gtid.domain = static_cast<std::uint32_t>(body.little(4));
    gtid.server = static_cast<std::uint32_t>(body.little(4));
    gtid.sequence = body.little(8);
    // One entry a domain and server; of a domain the last one is the newest.
    position.domains[gtid.domain] = gtid;
  }
  if (!body.ok()) return malformed(event.type);
  return position;
}

Result<MysqlGtidEvent> parse_mysql_gtid(const Event& event) {
  Bytes body(event.body);
  MysqlGtidEvent parsed;
  parsed.anonymous = event.type == EventType::kMysqlAnonymousGtid;
  body.take(1);  // flags
  std::string_view source = body.take(parsed.gtid.source.size());
  for (std::size_t i = 0; i < source.size(); ++i)
    parsed.gtid.source[i] = static_cast<std::uint8_t>(source[i]);
  parsed.gtid.number = body.little(8);
  if (!body.ok()) return malformed(event.type);
  if (!parsed.anonymous && (parsed.gtid.number == 0 || parsed.gtid.number > INT64_MAX - 1))
    return malformed(event.type);
  constexpr std::uint64_t kLogicalClock = 2;
  if (body.left() == 0 || body.little(1) != kLogicalClock) return parsed;  // 5.6 has none
  parsed.last_committed = static_cast<std::int64_t>(body.little(8));
  parsed.sequence = static_cast<std::int64_t>(body.little(8));
  // Microseconds in 55 bits; the highest of the seven bytes says that the time at the first server
  // follows.
  if (body.left() >= 7) {
    std::uint64_t immediate = body.little(7);
    constexpr std::uint64_t kOriginalFollows = std::uint64_t{1} << 55;
    parsed.commit_time_us = immediate & ~kOriginalFollows;
    if (immediate & kOriginalFollows && body.left() >= 7) parsed.commit_time_us = body.little(7);
  }
  if (!body.ok()) return malformed(event.type);
  return parsed;
}

Result<GtidSet> parse_previous_gtids(const Event& event) { return decode_gtid_set(event.body); }

Result<QueryEvent> parse_query(const Event& event) {
  Bytes body(event.body);
  QueryEvent query;
  query.thread = static_cast<std::uint32_t>(body.little(4));
  body.take(4);  // execution time
  std::uint64_t schema_bytes = body.little(1);
  query.error_code = static_cast<std::uint16_t>(body.little(2));
  query.status = body.take(body.little(2));
  query.schema = body.take(schema_bytes);
  body.take(1);
  if (!body.ok()) return malformed(event.type);
  query.sql = body.rest();
  query.compressed = event.type == EventType::kQueryCompressed;
  return query;
}

Result<LogPosition> parse_heartbeat(const Event& event) {
  LogPosition position;
  if (event.type == EventType::kHeartbeat) {
    // MariaDB: for logs beyond 4 GiB the name is followed by a zero and the offset in eight bytes.
    std::size_t zero = event.body.find('\0');
    position.file = std::string(event.body.substr(0, zero));
    position.offset = event.next_position;
    if (zero != std::string_view::npos && event.body.size() == zero + 9)
      position.offset = Bytes(event.body.substr(zero + 1)).little(8);
  } else {
    // HEARTBEAT_V2: fields of type, length, value; 1 is the file, 2 the packed offset.
    Bytes body(event.body);
    while (body.left() > 0 && body.ok()) {
      std::uint64_t field = body.packed();
      if (field == 0) break;
      std::string_view value = body.take(body.packed());
      if (field == 1) position.file = std::string(value);
      if (field == 2) position.offset = Bytes(value).packed();
    }
    if (!body.ok()) return malformed(event.type);
  }
  if (position.file.empty()) return malformed(event.type);
  return position;
}

}  // namespace leeward::mysql
