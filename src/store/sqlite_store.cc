#include "store/sqlite_store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace leeward::store {
namespace {

constexpr std::int64_t kSchemaVersion = 1;
constexpr auto kBusyTimeout = std::chrono::milliseconds(5000);

constexpr const char* kSchema =
    "CREATE TABLE schema (version INTEGER NOT NULL);"
    "CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL)"
    "  WITHOUT ROWID;"
    // AUTOINCREMENT: a sequence is never given out twice, even when the newest rows were removed.
    "CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL,"
    "  kind TEXT NOT NULL, site TEXT NOT NULL, epoch INTEGER NOT NULL, message TEXT NOT NULL);"
    "INSERT INTO schema (version) VALUES (1);";

Error sqlite_error(sqlite3* database, const std::string& path, std::string_view doing) {
  const int code = sqlite3_errcode(database) & 0xff;
  const char* text = sqlite3_errmsg(database);
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
    return Error{Code::kCorrupt,
                 fmt::format("{} is not an intact state database ({}); move it away and put a copy "
                             "back, or start without one",
                             path, text)};
  const Code mapped = code == SQLITE_BUSY || code == SQLITE_LOCKED ? Code::kTimeout : Code::kIo;
  return Error{mapped, fmt::format("{}: {}: {}", path, doing, text)};
}

// A prepared statement. Bind in order, then step. Errors are kept until asked for, so that a use
// reads as a sequence; after the first one nothing more is done.
class Statement {
 public:
  Statement(sqlite3* database, const std::string& path, std::string_view sql)
      : database_(database), path_(path), sql_(sql) {
    sqlite3_stmt* statement = nullptr;
    result_ =
        sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
    statement_.reset(statement);
  }

  Statement& bind(std::uint64_t number) {
    if (result_ == SQLITE_OK)
      result_ = sqlite3_bind_int64(statement_.get(), ++bound_, static_cast<sqlite3_int64>(number));
    return *this;
  }
  Statement& bind_text(std::string_view text) {
    if (result_ == SQLITE_OK)  // a null pointer would bind NULL
      result_ = sqlite3_bind_text64(statement_.get(), ++bound_, text.data() ? text.data() : "",
                                    text.size(), SQLITE_STATIC, SQLITE_UTF8);
    return *this;
  }
  Statement& bind_blob(std::string_view bytes) {
    if (result_ == SQLITE_OK)
      result_ = sqlite3_bind_blob64(statement_.get(), ++bound_, bytes.data() ? bytes.data() : "",
                                    bytes.size(), SQLITE_STATIC);
    return *this;
  }

  // True while there is a row.
  Result<bool> step() {
    if (result_ == SQLITE_OK || result_ == SQLITE_ROW) result_ = sqlite3_step(statement_.get());
    if (result_ == SQLITE_ROW) return true;
    if (result_ == SQLITE_DONE) return false;
    return fail(sqlite_error(database_, path_, sql_));
  }
  Status run() {
    for (;;) {
      auto row = step();
      if (!row) return fail(row.error());
      if (!*row) return {};
    }
  }

  std::uint64_t number(int column) const {
    return static_cast<std::uint64_t>(sqlite3_column_int64(statement_.get(), column));
  }
  std::string bytes(int column) const {
    const void* data = sqlite3_column_blob(statement_.get(), column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
    return size == 0 ? std::string{} : std::string(static_cast<const char*>(data), size);
  }

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  sqlite3* database_;
  const std::string& path_;
  std::string_view sql_;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
  int bound_ = 0;
  int result_ = SQLITE_OK;
};

Status execute(sqlite3* database, const std::string& path, const char* sql) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return fail(sqlite_error(database, path, sql));
  return {};
}

// Rolls back unless committed.
class Transaction {
 public:
  Transaction(sqlite3* database, const std::string& path) : database_(database), path_(path) {}
  ~Transaction() {
    // SQLite rolls back by itself after some errors; then this one fails, which is fine.
    if (open_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  Status begin() {
    auto begun = execute(database_, path_, "BEGIN IMMEDIATE");
    open_ = begun.has_value();
    return begun;
  }
  Status commit() {
    auto committed = execute(database_, path_, "COMMIT");
    if (committed) open_ = false;
    return committed;
  }

 private:
  sqlite3* database_;
  const std::string& path_;
  bool open_ = false;
};

// SQLite would make the file readable to all; and the name of a new file must survive a crash, too.
Status create_privately(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail(os_error(errno, "open " + path));
  const auto parent = std::filesystem::path(path).parent_path();
  UniqueFd directory(
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0)
    return fail(os_error(errno, "fsync directory of " + path));
  return {};
}

Status check_limits(std::string_view key, std::string_view value,
                    std::span<const EventRecord> events) {
  if (key.empty() || key.size() > kKeyBytesMax)
    return fail(Code::kInvalid, "a key must have 1 to {} bytes, not {}", kKeyBytesMax, key.size());
  if (value.size() > kValueBytesMax)
    return fail(Code::kInvalid, "the value of {} has {} bytes; {} fit", key, value.size(),
                kValueBytesMax);
  if (events.size() > kEventsPerChangeMax)
    return fail(Code::kInvalid, "{} events in one change of {}; {} fit", events.size(), key,
                kEventsPerChangeMax);
  return {};
}

}  // namespace

void SqliteStore::Closer::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

SqliteStore::SqliteStore(std::string path, SqliteOptions options, UniqueFd lock)
    : path_(std::move(path)), options_(options), lock_(std::move(lock)) {}

SqliteStore::~SqliteStore() = default;

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& path,
                                                       SqliteOptions options) {
  auto lock = lock_file(path + ".lock");
  if (!lock) return fail(lock.error());
  if (auto created = create_privately(path); !created) return fail(created.error());
  std::unique_ptr<SqliteStore> store(new SqliteStore(path, options, std::move(*lock)));
  if (auto prepared = store->prepare(); !prepared) return fail(prepared.error());
  return store;
}

Status SqliteStore::prepare() {
  sqlite3* database = nullptr;
  const int result = sqlite3_open_v2(path_.c_str(), &database,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  database_.reset(database);  // to be closed also when opening failed
  if (result != SQLITE_OK) {
    if (database == nullptr) return fail(Code::kIo, "{}: out of memory", path_);
    return fail(sqlite_error(database, path_, "open"));
  }
  sqlite3_busy_timeout(database, static_cast<int>(kBusyTimeout.count()));
  if (auto status = check_integrity(); !status) return status;
  if (auto status = execute(database, path_,
                            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                            "PRAGMA locking_mode=EXCLUSIVE;");
      !status)
    return status;
  return prepare_schema();
}

Status SqliteStore::check_integrity() {
  Statement check(database_.get(), path_, "PRAGMA integrity_check(1)");
  auto row = check.step();
  if (!row) return fail(row.error());
  const std::string verdict = *row ? check.bytes(0) : "no answer";
  if (verdict == "ok") return {};
  return fail(Code::kCorrupt,
              "{} is damaged ({}); move it away and put a copy back, or start without one", path_,
              verdict);
}

Status SqliteStore::prepare_schema() {
  sqlite3* database = database_.get();
  Transaction transaction(database, path_);
  if (auto begun = transaction.begin(); !begun) return begun;
  std::uint64_t tables = 0;
  {
    Statement count(database, path_, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'");
    auto row = count.step();
    if (!row) return fail(row.error());
    tables = count.number(0);
  }
  if (tables == 0) {
    if (auto created = execute(database, path_, kSchema); !created) return created;
    return transaction.commit();
  }
  Statement version(database, path_, "SELECT version FROM schema");
  auto row = version.step();
  if (!row || !*row) return fail(Code::kCorrupt, "{} is a database, but not one of Leeward", path_);
  const auto found = static_cast<std::int64_t>(version.number(0));
  if (found != kSchemaVersion)
    return fail(Code::kInvalid,
                "{} has schema version {}, this program knows {}; run the Leeward that wrote it",
                path_, found, kSchemaVersion);
  return {};
}

Result<std::optional<Entry>> SqliteStore::get(std::string_view key) {
  std::lock_guard lock(mutex_);
  Statement select(database_.get(), path_, "SELECT value, version FROM entries WHERE key = ?");
  auto row = select.bind_text(key).step();
  if (!row) return fail(row.error());
  if (!*row) return std::nullopt;
  return Entry{select.bytes(0), select.number(1)};
}

Result<std::uint64_t> SqliteStore::compare_and_swap(std::string_view key,
                                                    std::uint64_t expected_version,
                                                    std::string_view value,
                                                    std::span<const EventRecord> events) {
  if (auto fits = check_limits(key, value, events); !fits) return fail(fits.error());
  {
    std::lock_guard lock(mutex_);
    if (auto changed = change(key, expected_version, value, events); !changed)
      return fail(changed.error());
  }
  std::vector<Watcher> watchers;
  {
    std::lock_guard lock(watchers_mutex_);
    watchers = watchers_;
  }
  const Entry entry{std::string(value), expected_version + 1};
  for (const Watcher& watcher : watchers) watcher(key, entry);
  return entry.version;
}

Status SqliteStore::change(std::string_view key, std::uint64_t expected_version,
                           std::string_view value, std::span<const EventRecord> events) {
  sqlite3* database = database_.get();
  Transaction transaction(database, path_);
  if (auto begun = transaction.begin(); !begun) return begun;
  std::uint64_t version = 0;
  {
    Statement select(database, path_, "SELECT version FROM entries WHERE key = ?");
    auto row = select.bind_text(key).step();
    if (!row) return fail(row.error());
    if (*row) version = select.number(0);
  }
  if (version != expected_version)
    return fail(Code::kConflict, "{} is at version {}, not {}", key, version, expected_version);
  Statement put(database, path_,
                "INSERT INTO entries (key, value, version) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (key) DO UPDATE SET value = ?2, version = ?3");
  if (auto done = put.bind_text(key).bind_blob(value).bind(version + 1).run(); !done) return done;
  for (const EventRecord& event : events)
    if (auto done = append(event); !done) return done;
  if (!events.empty())
    if (auto done = trim_events(); !done) return done;
  return transaction.commit();
}

Status SqliteStore::append(const EventRecord& event) {
  Statement insert(database_.get(), path_,
                   "INSERT INTO events (time_ns, kind, site, epoch, message) VALUES (?,?,?,?,?)");
  return insert.bind(static_cast<std::uint64_t>(event.time.time_since_epoch().count()))
      .bind_text(event.kind)
      .bind_text(event.site)
      .bind(event.epoch.value)
      .bind_text(event.message)
      .run();
}

Status SqliteStore::trim_events() {
  Statement trim(database_.get(), path_,
                 "DELETE FROM events WHERE sequence <= (SELECT max(sequence) FROM events) - ?");
  return trim.bind(options_.events_kept).run();
}

Result<std::vector<EventRecord>> SqliteStore::events(std::uint64_t after_sequence,
                                                     std::size_t limit) {
  std::lock_guard lock(mutex_);
  Statement select(database_.get(), path_,
                   "SELECT sequence, time_ns, kind, site, epoch, message FROM events"
                   " WHERE sequence > ? ORDER BY sequence LIMIT ?");
  // Sequences are signed in SQLite; one beyond that range has nothing after it.
  select.bind(std::min<std::uint64_t>(after_sequence, INT64_MAX))
      .bind(std::min(limit, kEventsReadMax));
  std::vector<EventRecord> found;
  for (;;) {
    auto row = select.step();
    if (!row) return fail(row.error());
    if (!*row) return found;
    EventRecord event;
    event.sequence = select.number(0);
    event.time = WallTime(Duration(static_cast<std::int64_t>(select.number(1))));
    event.kind = select.bytes(2);
    event.site = select.bytes(3);
    event.epoch = Epoch{select.number(4)};
    event.message = select.bytes(5);
    found.push_back(std::move(event));
  }
}

Result<std::uint64_t> SqliteStore::last_event() {
  std::lock_guard lock(mutex_);
  Statement select(database_.get(), path_, "SELECT coalesce(max(sequence), 0) FROM events");
  auto row = select.step();
  if (!row) return fail(row.error());
  return select.number(0);
}

void SqliteStore::watch(Watcher watcher) {
  std::lock_guard lock(watchers_mutex_);
  watchers_.push_back(std::move(watcher));
}

}  // namespace leeward::store
