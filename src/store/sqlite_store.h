// Store in one SQLite file, for a platform with a single control node. Write-ahead log with
// synchronous=FULL: each acknowledged change has been fsynced. Exactly one process may have it
// open; FILE.lock beside it sees to that.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/file.h"
#include "store/store.h"

struct sqlite3;

namespace leeward::store {

struct SqliteOptions {
  std::uint64_t events_kept =
      100'000;  // the oldest beyond are dropped with the change that adds one
};

class SqliteStore final : public Store {
 public:
  // Opens or creates the file; its directory must exist. Checks every page before the first use
  // (a full trail of 100,000 events takes well below a second).
  //   kConflict  another process, or another SqliteStore, has it open
  //   kCorrupt   not a database, or a damaged one
  //   kInvalid   written by a newer Leeward
  //   kIo        the operating system refuses the file
  static Result<std::unique_ptr<SqliteStore>> open(const std::string& path,
                                                   SqliteOptions options = {});
  ~SqliteStore() override;

  Result<std::optional<Entry>> get(std::string_view key) override;
  Result<std::uint64_t> compare_and_swap(std::string_view key, std::uint64_t expected_version,
                                         std::string_view value,
                                         std::span<const EventRecord> events = {}) override;
  Result<std::vector<EventRecord>> events(std::uint64_t after_sequence, std::size_t limit) override;
  Result<std::uint64_t> last_event() override;
  void watch(Watcher watcher) override;

 private:
  struct Closer {
    void operator()(sqlite3* database) const;
  };
  SqliteStore(std::string path, SqliteOptions options, UniqueFd lock);
  Status prepare();
  Status check_integrity();
  Status prepare_schema();
  Status change(std::string_view key, std::uint64_t expected_version, std::string_view value,
                std::span<const EventRecord> events);
  Status append(const EventRecord& event);
  Status trim_events();

  const std::string path_;
  const SqliteOptions options_;
  UniqueFd lock_;  // released after the database is closed
  std::mutex mutex_;
  std::unique_ptr<sqlite3, Closer> database_;
  std::mutex watchers_mutex_;
  std::vector<Watcher> watchers_;
};

}  // namespace leeward::store
