#include "mysql/stream.h"

#include <algorithm>

namespace leeward::mysql {
namespace {

bool same_word(char a, char b) { return a == (b >= 'a' && b <= 'z' ? b - 32 : b); }

bool starts_with_words(std::string_view sql, std::string_view words) {
  return sql.size() >= words.size() &&
         std::equal(words.begin(), words.end(), sql.begin(), same_word);
}
bool is_word(std::string_view sql, std::string_view word) {
  return sql.size() == word.size() && starts_with_words(sql, word);
}

// Events carry the lower 32 bits of their position; a log grows beyond that by one huge
// transaction.
std::uint64_t widen(std::uint64_t before, std::uint32_t next) {
  std::uint64_t wide = (before & ~std::uint64_t{0xffffffff}) | next;
  return wide < before ? wide + (std::uint64_t{1} << 32) : wide;
}

}  // namespace

std::string to_string(const StreamPosition& position) {
  if (!position.gtids.domains.empty()) return to_string(position.gtids);
  if (!position.executed.empty()) return to_string(position.executed);
  if (!position.log.file.empty()) return to_string(position.log);
  return "the beginning";
}

std::string to_string(const TransactionId& id) {
  if (id.kind == TransactionId::Kind::kMariadb) return to_string(id.gtid);
  if (id.kind == TransactionId::Kind::kMysql) return to_string(id.mysql);
  return "a transaction without GTID";
}

bool includes(const StreamPosition& position, const TransactionId& id) {
  if (id.kind == TransactionId::Kind::kMysql) return position.executed.contains(id.mysql);
  if (id.kind == TransactionId::Kind::kNone) return false;
  auto found = position.gtids.domains.find(id.gtid.domain);
  return found != position.gtids.domains.end() && found->second.sequence >= id.gtid.sequence;
}

bool includes(const StreamPosition& position, const StreamPosition& earlier) {
  bool no_gtids = position.gtids.domains.empty() && position.executed.empty() &&
                  earlier.gtids.domains.empty() && earlier.executed.empty();
  if (no_gtids) return earlier.log <= position.log;
  if (!position.executed.contains(earlier.executed)) return false;
  return std::all_of(earlier.gtids.domains.begin(), earlier.gtids.domains.end(),
                     [&](const auto& entry) {
                       auto found = position.gtids.domains.find(entry.first);
                       return found != position.gtids.domains.end() &&
                              found->second.sequence >= entry.second.sequence;
                     });
}

void StreamTracker::withdraw() {
  open_ = standalone_ = undecided_ = false;
  log_ = position_.log;
}

Result<Place> StreamTracker::begin(const Event& event, TransactionId id) {
  if (open_)
    return fail(Code::kCorrupt, "{} begins before {} has ended", to_string(id), to_string(id_));
  open_ = true;
  id_ = std::move(id);
  time_ = event.time;
  return Place::kBegin;
}

Place StreamTracker::finish(Place place) {
  open_ = standalone_ = undecided_ = false;
  if (id_.kind == TransactionId::Kind::kMariadb)
    position_.gtids.domains[id_.gtid.domain] = id_.gtid;
  if (id_.kind == TransactionId::Kind::kMysql) position_.executed.add(id_.mysql);
  return place;
}

Result<Place> StreamTracker::statement(const Event& event) {
  auto query = parse_query(event);
  if (!query) return fail(std::move(query.error()));
  // Words of transaction control are too short to be compressed.
  std::string_view sql = query->compressed ? std::string_view() : query->sql;
  bool begins = is_word(sql, "BEGIN");
  if (!open_) {
    if (auto begun = begin(event, {}); !begun || begins) return begun;
    return finish(Place::kWhole);
  }
  if (undecided_) {
    undecided_ = false;
    bool more = begins || starts_with_words(sql, "XA START");
    return more ? Place::kInside : finish(Place::kEnd);
  }
  bool ends = standalone_ || is_word(sql, "COMMIT") || is_word(sql, "ROLLBACK");
  return ends ? finish(Place::kEnd) : Place::kInside;
}

Result<Place> StreamTracker::place(const Event& event) {
  switch (event.type) {
    case EventType::kFormatDescription:
    case EventType::kStop:
    case EventType::kRotate: {
      // A source that crashed in the middle of writing begins a new log; what had begun never was.
      bool lost = open_;
      if (lost) withdraw();
      return lost ? Place::kWithdrawn : Place::kOutside;
    }
    case EventType::kHeartbeat:
    case EventType::kHeartbeatV2:
    case EventType::kPreviousGtids:
    case EventType::kBinlogCheckpoint:
    case EventType::kGtidList:
    case EventType::kStartEncryption:
    case EventType::kIgnorable:
      return Place::kOutside;
    case EventType::kTransactionContext:
    case EventType::kViewChange:
      return open_ ? Place::kInside : Place::kOutside;
    case EventType::kGtid: {
      auto gtid = parse_gtid(event);
      if (!gtid) return fail(std::move(gtid.error()));
      auto begun = begin(event, {TransactionId::Kind::kMariadb, gtid->gtid, {}});
      if (begun) standalone_ = gtid->standalone;
      return begun;
    }
    case EventType::kMysqlGtid:
    case EventType::kMysqlAnonymousGtid: {
      auto gtid = parse_mysql_gtid(event);
      if (!gtid) return fail(std::move(gtid.error()));
      TransactionId id;
      if (!gtid->anonymous) id = {TransactionId::Kind::kMysql, {}, gtid->gtid};
      auto begun = begin(event, std::move(id));
      if (begun) undecided_ = true;
      return begun;
    }
    case EventType::kMysqlTaggedGtid:
      return fail(Code::kCorrupt,
                  "the source uses tagged GTIDs (MySQL 8.3), which are not understood; set "
                  "gtid_next=AUTOMATIC without a tag there");
    case EventType::kIncident:
      return fail(Code::kCorrupt,
                  "the source has lost events of its log (INCIDENT): seed the target again");
    case EventType::kQuery:
    case EventType::kQueryCompressed:
      return statement(event);
    case EventType::kXid:
    case EventType::kXaPrepare:
      if (open_) return finish(Place::kEnd);
      break;
    case EventType::kTransactionPayload:
      if (open_) return finish(Place::kEnd);
      break;
    case EventType::kIntvar:
    case EventType::kRand:
    case EventType::kUserVar:
      // What a statement needs comes before it, also where no GTID begins the transaction.
      if (open_) return Place::kInside;
      if (auto begun = begin(event, {}); !begun) return begun;
      undecided_ = true;
      return Place::kBegin;
    default:
      if (is_known(event.type)) {
        if (open_) return Place::kInside;
        break;
      }
      if (event.ignorable()) return open_ ? Place::kInside : Place::kOutside;
      return fail(Code::kCorrupt,
                  "{} is not known and not marked as ignorable: a newer version is needed to "
                  "follow this source",
                  to_string(event.type));
  }
  return fail(Code::kCorrupt, "{} event outside a transaction", to_string(event.type));
}

Result<Place> StreamTracker::take(const Event& event) {
  std::uint64_t offset = log_.offset;
  std::optional<LogPosition> rotated;
  if (event.type == EventType::kRotate) {
    auto parsed = parse_rotate(event);
    if (!parsed) return fail(std::move(parsed.error()));
    rotated = std::move(*parsed);
  } else if (event.type == EventType::kHeartbeat || event.type == EventType::kHeartbeatV2) {
    auto heartbeat = parse_heartbeat(event);
    if (!heartbeat) return fail(std::move(heartbeat.error()));
    // It stands where the source has looked to, which may be beyond events that are not for us.
    if (!open_ && heartbeat->file == log_.file) offset = heartbeat->offset;
  } else if (!event.artificial() && event.next_position != 0) {
    offset = widen(offset, event.next_position);
  }
  auto where = place(event);
  if (!where) return where;
  if (rotated)
    log_ = std::move(*rotated);
  else
    log_.offset = offset;
  if (!open_) position_.log = log_;
  return where;
}

}  // namespace leeward::mysql
