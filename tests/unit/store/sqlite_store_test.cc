#include "store/sqlite_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

namespace leeward::store {
namespace {

using ::testing::HasSubstr;

class SqliteStoreTest : public ::testing::Test {
 protected:
  SqliteStoreTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeward-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = (directory_ / "state.db").string();
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<SqliteStore> open(SqliteOptions options = {}) {
    auto store = SqliteStore::open(path_, options);
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }

  std::filesystem::path directory_;
  std::string path_;
};

EventRecord event(std::string message) {
  EventRecord e;
  e.time = WallTime(1'700'000'000'123'456'789ns);
  e.kind = "plan.step";
  e.site = "gcp";
  e.epoch = Epoch{7};
  e.message = std::move(message);
  return e;
}

TEST_F(SqliteStoreTest, ChangesAKeyOnlyFromTheExpectedVersion) {
  auto store = open();
  EXPECT_FALSE(store->get("service")->has_value());
  EXPECT_EQ(store->compare_and_swap("service", 1, "x").error().code, Code::kConflict);
  EXPECT_EQ(*store->compare_and_swap("service", 0, "one"), 1u);
  EXPECT_EQ(store->compare_and_swap("service", 0, "x").error().code, Code::kConflict);
  EXPECT_EQ(*store->compare_and_swap("service", 1, std::string("t\0wo", 4)), 2u);
  auto stale = store->compare_and_swap("service", 1, "x");
  EXPECT_EQ(stale.error().code, Code::kConflict);
  EXPECT_EQ(stale.error().message, "service is at version 2, not 1");
  EXPECT_EQ(*store->compare_and_swap("lease", 0, ""), 1u);  // versions are per key
  auto entry = store->get("service");
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->value, std::string("t\0wo", 4));
  EXPECT_EQ((*entry)->version, 2u);
  EXPECT_EQ((*store->get("lease"))->value, "");
}

TEST_F(SqliteStoreTest, KeepsEverythingOverAReopening) {
  {
    auto store = open();
    const EventRecord events[] = {event("first"), event("second")};
    ASSERT_TRUE(store->compare_and_swap("service", 0, "one", events));
  }
  auto store = open();
  EXPECT_EQ((*store->get("service"))->value, "one");
  EXPECT_EQ(*store->last_event(), 2u);
  auto events = store->events(0, 10);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 2u);
  const EventRecord& last = events->back();
  EXPECT_EQ(last.sequence, 2u);
  EXPECT_EQ(last.time, event("").time);
  EXPECT_EQ(last.kind, "plan.step");
  EXPECT_EQ(last.site, "gcp");
  EXPECT_EQ(last.epoch, Epoch{7});
  EXPECT_EQ(last.message, "second");
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(SqliteStoreTest, WritesNoEventOfAChangeThatLost) {
  auto store = open();
  const EventRecord events[] = {event("never")};
  EXPECT_FALSE(store->compare_and_swap("service", 5, "x", events));
  EXPECT_EQ(*store->last_event(), 0u);
  EXPECT_TRUE(store->events(0, 10)->empty());
}

TEST_F(SqliteStoreTest, ReadsEventsInPieces) {
  auto store = open();
  std::vector<EventRecord> events;
  for (int i = 1; i <= 5; ++i) events.push_back(event(std::to_string(i)));
  ASSERT_TRUE(store->compare_and_swap("service", 0, "x", events));
  auto piece = store->events(2, 2);
  ASSERT_EQ(piece->size(), 2u);
  EXPECT_EQ((*piece)[0].message, "3");
  EXPECT_EQ((*piece)[1].sequence, 4u);
  EXPECT_TRUE(store->events(5, 10)->empty());
  EXPECT_TRUE(store->events(UINT64_MAX, 10)->empty());
}

TEST_F(SqliteStoreTest, DropsTheOldestEventsButNeverReusesASequence) {
  auto store = open({.events_kept = 3});
  for (std::uint64_t i = 0; i < 5; ++i) {
    const EventRecord events[] = {event(std::to_string(i + 1))};
    ASSERT_TRUE(store->compare_and_swap("service", i, "x", events));
  }
  auto events = store->events(0, 10);
  ASSERT_EQ(events->size(), 3u);
  EXPECT_EQ(events->front().sequence, 3u);
  EXPECT_EQ(events->back().message, "5");
  EXPECT_EQ(*store->last_event(), 5u);
}

TEST_F(SqliteStoreTest, TellsWatchersOfEachSuccessfulChange) {
  auto store = open();
  std::vector<std::string> seen;
  store->watch([&](std::string_view key, const Entry& entry) {
    EXPECT_EQ((*store->get(key))->version, entry.version);  // a watcher may ask the store
    seen.push_back(fmt::format("{}={}@{}", key, entry.value, entry.version));
  });
  EXPECT_TRUE(store->compare_and_swap("a", 0, "1"));
  EXPECT_FALSE(store->compare_and_swap("a", 0, "2"));
  EXPECT_TRUE(store->compare_and_swap("a", 1, "3"));
  EXPECT_EQ(seen, (std::vector<std::string>{"a=1@1", "a=3@2"}));
}

TEST_F(SqliteStoreTest, LetsExactlyOneOfManyWritersWin) {
  auto store = open();
  std::vector<std::thread> threads;
  std::atomic<int> won{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (std::uint64_t version = 0; version < 20; ++version)
        if (store->compare_and_swap("service", version, "x")) ++won;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ((*store->get("service"))->version, static_cast<std::uint64_t>(won));
}

TEST_F(SqliteStoreTest, RefusesWhatIsTooLarge) {
  auto store = open();
  EXPECT_EQ(store->compare_and_swap("", 0, "x").error().code, Code::kInvalid);
  EXPECT_EQ(store->compare_and_swap(std::string(kKeyBytesMax + 1, 'k'), 0, "x").error().code,
            Code::kInvalid);
  EXPECT_EQ(store->compare_and_swap("k", 0, std::string(kValueBytesMax + 1, 'v')).error().code,
            Code::kInvalid);
  std::vector<EventRecord> events(kEventsPerChangeMax + 1, event("x"));
  EXPECT_EQ(store->compare_and_swap("k", 0, "x", events).error().code, Code::kInvalid);
  EXPECT_TRUE(store->compare_and_swap("k", 0, std::string(kValueBytesMax, 'v')));
}

TEST_F(SqliteStoreTest, IsOpenInOneProcessOnly) {
  auto store = open();
  auto second = SqliteStore::open(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
  store.reset();
  EXPECT_TRUE(open());
}

TEST_F(SqliteStoreTest, NamesTheFileThatIsNoDatabase) {
  std::ofstream(path_) << std::string(5000, 'x');
  auto store = SqliteStore::open(path_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kCorrupt);
  EXPECT_THAT(store.error().message, HasSubstr(path_));
}

TEST_F(SqliteStoreTest, NamesTheFileThatIsDamaged) {
  {
    auto store = open();
    std::vector<EventRecord> events(kEventsPerChangeMax, event(std::string(200, 'm')));
    ASSERT_TRUE(store->compare_and_swap("service", 0, std::string(20'000, 'v'), events));
  }  // closing moves the log into the file
  const auto size = std::filesystem::file_size(path_);
  ASSERT_GT(size, 20'000u);
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  for (std::uintmax_t page = 4096; page < size; page += 4096) {  // all page headers but the first
    file.seekp(static_cast<std::streamoff>(page));
    file.write("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  }
  file.close();
  auto store = SqliteStore::open(path_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kCorrupt);
  EXPECT_THAT(store.error().message, HasSubstr(path_));
}

TEST_F(SqliteStoreTest, RefusesAForeignDatabaseAndANewerSchema) {
  open().reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "UPDATE schema SET version = 2", nullptr, nullptr, nullptr), 0);
  sqlite3_close(database);
  auto newer = SqliteStore::open(path_);
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, Code::kInvalid);
  EXPECT_THAT(newer.error().message, HasSubstr("schema version 2"));

  ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "DROP TABLE schema", nullptr, nullptr, nullptr), 0);
  sqlite3_close(database);
  EXPECT_EQ(SqliteStore::open(path_).error().code, Code::kCorrupt);
}

// In the child: changes the key for ever, tells the parent each acknowledged version, until killed.
[[noreturn]] void change_until_killed(const std::string& path, int acknowledged) {
  auto store = SqliteStore::open(path, {.events_kept = 50});
  if (!store) ::_exit(1);
  auto entry = (*store)->get("service");
  if (!entry) ::_exit(2);
  std::uint64_t version = *entry ? (*entry)->version : 0;
  for (;;) {
    const EventRecord events[] = {event(std::to_string(version + 1))};
    auto changed =
        (*store)->compare_and_swap("service", version, std::to_string(version + 1), events);
    if (!changed) ::_exit(3);
    version = *changed;
    if (::write(acknowledged, &version, sizeof version) != sizeof version) ::_exit(4);
  }
}

TEST_F(SqliteStoreTest, LosesNothingAcknowledgedWhenKilledAtAnyPoint) {
  std::uint64_t known = 0;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    UniqueFd from_child(ends[0]);
    UniqueFd to_parent(ends[1]);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) change_until_killed(path_, to_parent.get());
    to_parent.reset();
    for (int acknowledged = 0; acknowledged < 1 + 3 * round; ++acknowledged) {
      pollfd waiting{from_child.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 20'000) != 1 ||
          ::read(from_child.get(), &known, sizeof known) != sizeof known) {
        ADD_FAILURE() << "the child ended or hangs in round " << round;
        break;
      }
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    while (::read(from_child.get(), &known, sizeof known) == sizeof known) {
    }

    auto store = open({.events_kept = 50});
    ASSERT_NE(store, nullptr);
    auto entry = store->get("service");
    ASSERT_TRUE(entry && *entry);
    EXPECT_GE((*entry)->version, known);
    EXPECT_LE((*entry)->version, known + 1);  // committed, but killed before saying so
    EXPECT_EQ((*entry)->value, std::to_string((*entry)->version));
    EXPECT_EQ(*store->last_event(), (*entry)->version);  // one transaction with its event
  }
}

}  // namespace
}  // namespace leeward::store
