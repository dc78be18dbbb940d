// The ledger: transactions that an old primary had acknowledged and the new primary never received.
// They are written here, durably, before anything is undone, and stay until a person has replayed
// or discarded them.
//
// One JSON file an entry under the ledger's directory; in memory only its LedgerSummary, so that an
// outage that lost a hundred thousand transactions costs some 20 MB. The object is for one thread
// at a time; two processes must not write the same ledger (the agent's lock sees to it). At most
// kEntriesMax entries: beyond it the rest is kept out, and one last entry says so in its note,
// which names the GTIDs left out.
//
// Values are text: numbers as digits, times as the server prints them in UTC, text as UTF-8,
// everything else (binary columns, text that is not UTF-8, text that itself begins with "base64:")
// as "base64:" and the bytes of the column in base64.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/platform.h"
#include "mysql/tls.h"

namespace leeward::database {

enum class LedgerState : std::uint8_t {
  kOpen,
  kReplayed,
  kDiscarded,
  kUnacknowledged,  // lossless mode: no client was ever told that it happened, so nothing was lost
};
std::string_view name(LedgerState state);  // "open", "replayed", "discarded", "unacknowledged"

enum class LedgerOperation : std::uint8_t { kInsert, kUpdate, kDelete, kDdl };
std::string_view name(LedgerOperation operation);  // "insert" … "ddl"

using LedgerRow = std::map<std::string, std::optional<std::string>>;  // by column; nullopt: NULL

struct LedgerChange {
  std::string schema;
  std::string table;  // empty for kDdl
  LedgerOperation operation = LedgerOperation::kInsert;
  LedgerRow
      key;  // primary key before the change (of an insert: after it); the whole row without one
  std::optional<LedgerRow> before;    // update, delete
  std::optional<LedgerRow> after;     // insert, update
  std::string sql;                    // kDdl: any change that was logged as a statement
  std::optional<bool> changed_since;  // see check_entry(); nullopt: not looked at
};

struct LedgerEntry {
  std::string id;    // "0-1-42@7": GTID and epoch; unique in this ledger
  std::string site;  // where it was written
  Epoch epoch;       // under which it was written
  WallTime time;     // when, by that site's clock, to the second
  LedgerState state = LedgerState::kOpen;
  std::vector<LedgerChange> changes;
  std::string note;  // for people: what this entry could not keep, empty when it is whole
};

struct LedgerSummary {
  std::string id;
  Epoch epoch;
  LedgerState state = LedgerState::kOpen;
};

// {"id","site","epoch","time","state","changes":[{"table":"schema.table","operation","key":{},"before":{}|null,
// "after":{}|null,"changed_since":bool|null,"sql"?}],"note"?}
std::string to_json(const LedgerEntry& entry);
Result<LedgerEntry> parse_ledger_entry(std::string_view json);  // kCorrupt

class Ledger {
 public:
  static constexpr std::size_t kEntriesMax = 100'000;

  // The ledger in `directory`, created when missing. Reads all of it; a file that is not an entry
  // is kCorrupt and named.
  static Result<Ledger> open(std::string directory);

  // Takes entries one at a time, oldest first, and holds no more than a few of them in memory. An
  // entry whose id is there already is left as it is, so adding the same ones again after a crash
  // changes nothing. What was given is on disk, and in the list, after finish() at the latest. The
  // ledger must outlive it, and nothing else may change the ledger meanwhile.
  class Addition {
   public:
    explicit Addition(Ledger& ledger, std::size_t entries_max = kEntriesMax);
    Status give(LedgerEntry entry);
    Result<std::size_t> finish();  // how many are new

   private:
    Status flush();

    Ledger& ledger_;
    const std::size_t entries_max_;
    std::unordered_set<std::string> known_;
    std::vector<std::pair<LedgerSummary, std::string>> waiting_;  // with their JSON
    std::size_t waiting_bytes_ = 0;
    std::size_t added_ = 0;
    std::optional<LedgerEntry> first_left_out_;  // without its changes
    std::string last_left_out_;
    std::size_t left_out_ = 0;
    bool last_known_ = false;  // the entry given last was there already
    bool told_ = false;        // an earlier, interrupted try has noted what was left out
  };
  Result<std::size_t> add(const std::vector<LedgerEntry>& entries);

  // Oldest first.
  const std::vector<LedgerSummary>& list() const { return entries_; }
  Result<LedgerEntry> show(std::string_view id) const;  // from disk; kNotFound
  Status mark(std::string_view id, LedgerState state);  // durable on return; kNotFound
  std::size_t open_count() const;

 private:
  explicit Ledger(std::string directory) : directory_(std::move(directory)) {}
  std::string path_of(std::string_view id) const;
  const LedgerSummary* find(std::string_view id) const;
  void sort();

  std::string directory_;
  std::vector<LedgerSummary> entries_;
};

// The writer's database, for looking and replaying.
struct ReplayTarget {
  Endpoint endpoint;
  std::string user;
  std::string password;
  mysql::TlsOptions tls{};
};

// Fills in changed_since of each change: whether the rows it touches look different on the target
// now from what the lost transaction found (an insert: whether a row with that key exists; an
// update or delete: whether the row is gone or has other values). Within one entry later changes
// see earlier ones, as they did then. Nothing is changed on the target.
Result<LedgerEntry> check_entry(const LedgerEntry& entry, const ReplayTarget& target);

// Applies the entry in one transaction on the target and marks it replayed.
// kConflict: a row changed since, each is named; nothing is applied. With `force` the entry's
// values win: rows are inserted or overwritten as they were after the lost transaction. kRefused:
// not open any more, has a statement (replay those by hand, then mark it), or the target is
// read-only. If this dies between the commit and the mark, the entry stays open and another replay
// finds its rows changed: a conflict to look at, never a second application.
Status replay_entry(Ledger& ledger, std::string_view id, const ReplayTarget& target, bool force);

}  // namespace leeward::database
