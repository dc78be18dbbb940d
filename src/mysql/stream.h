// Where one is in a source's history, and where its transactions begin and end: what the
// replication client, the relay log and its readers keep while events pass. Pure.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "mysql/event.h"

namespace leeward::mysql {

// A point between two transactions. MariaDB's GTIDs or MySQL's set say it across servers; the log
// position only at the server that it came from.
struct StreamPosition {
  GtidPosition gtids;  // MariaDB: the last transaction of each domain
  GtidSet executed;    // MySQL: all transactions
  LogPosition log;     // the source's own file and offset; may be unknown (empty file)
  bool operator==(const StreamPosition&) const = default;
};
// "0-1-42", "uuid:1-5" or, without GTIDs, "binlog.000003:1234"; "the beginning" for none of these.
std::string to_string(const StreamPosition& position);

// The identity of a transaction, of either vendor.
struct TransactionId {
  enum class Kind { kNone, kMariadb, kMysql } kind = Kind::kNone;  // kNone: the source gave none
  Gtid gtid;
  MysqlGtid mysql;
  bool operator==(const TransactionId&) const = default;
};
std::string to_string(const TransactionId& id);

// Whether a reader at `position` has seen the transaction. False for one without identity.
bool includes(const StreamPosition& position, const TransactionId& id);
// Whether a reader at `position` has seen everything up to `earlier`. Without GTIDs on either side
// the log positions decide, which is only meaningful for one and the same source.
bool includes(const StreamPosition& position, const StreamPosition& earlier);

enum class Place : std::uint8_t {
  kOutside,  // describes the log; belongs to no transaction
  kBegin,
  kInside,
  kEnd,
  kWhole,     // begin and end at once: one event is the transaction
  kWithdrawn  // the source itself lost the end of the open transaction (crash): it never happened
};

class StreamTracker {
 public:
  StreamTracker() = default;
  explicit StreamTracker(StreamPosition start) : position_(std::move(start)) {}

  // Takes the next event; the body may be cut after its first 128 KiB. kCorrupt: a sequence that no
  // source writes (two beginnings, rows outside a transaction), or an event that is neither known
  // nor marked ignorable; the tracker stays as it was.
  Result<Place> take(const Event& event);

  const StreamPosition& position() const { return position_; }  // after the last whole transaction
  bool inside() const { return open_; }
  const TransactionId& transaction() const { return id_; }  // the open one, else the last
  const LogPosition& log() const { return log_; }           // after the last event
  std::uint32_t transaction_time() const { return time_; }  // of its first event
  // Forgets the open transaction: the stream starts again behind position().
  void withdraw();

 private:
  Result<Place> place(const Event& event);
  Result<Place> begin(const Event& event, TransactionId id);
  Result<Place> statement(const Event& event);
  Place finish(Place place);

  StreamPosition position_;
  LogPosition log_;
  TransactionId id_;
  std::uint32_t time_ = 0;
  bool open_ = false;
  bool standalone_ = false;  // ends with its first statement
  bool undecided_ = false;   // MySQL: the first statement tells (BEGIN or a statement of its own)
};

}  // namespace leeward::mysql
