#include "database/ledger.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "servers/servers.h"

namespace leeward::database {
namespace {

using testing::MariadbServer;
using testing::TempDirectory;

LedgerEntry update_entry(std::uint64_t sequence, const std::string& before,
                         const std::string& after) {
  LedgerChange change;
  change.schema = "app";
  change.table = "t";
  change.operation = LedgerOperation::kUpdate;
  change.key = {{"id", "1"}};
  change.before = LedgerRow{{"id", "1"}, {"v", before}, {"note", std::nullopt}};
  change.after = LedgerRow{{"id", "1"}, {"v", after}, {"note", std::nullopt}};
  LedgerEntry entry;
  entry.epoch = Epoch{3};
  entry.id = "0-1-" + std::to_string(sequence) + "@3";
  entry.site = "gcp";
  entry.time = WallTime(std::chrono::seconds(1'700'000'000));
  entry.changes.push_back(change);
  return entry;
}

TEST(LedgerFile, KeepsEntriesInCommitOrderOverARestart) {
  TempDirectory directory;
  auto ledger = Ledger::open(directory.path() + "/ledger");
  ASSERT_TRUE(ledger);
  std::vector<LedgerEntry> entries{update_entry(100, "a", "b"), update_entry(9, "x", "a")};
  EXPECT_EQ(*ledger->add(entries), 2u);
  EXPECT_EQ(*ledger->add(entries), 0u);
  ASSERT_TRUE(ledger->mark("0-1-9@3", LedgerState::kDiscarded));
  EXPECT_EQ(*ledger->add(entries), 0u);                                      // the mark stays
  std::ofstream(directory.path() + "/ledger/0-1-7@3.json.new") << "{ half";  // an interrupted write

  auto again = Ledger::open(directory.path() + "/ledger");
  ASSERT_TRUE(again);
  ASSERT_EQ(again->list().size(), 2u);
  EXPECT_EQ(again->list()[0].id, "0-1-9@3");
  EXPECT_EQ(again->list()[0].state, LedgerState::kDiscarded);
  EXPECT_EQ(again->open_count(), 1u);
  EXPECT_EQ(to_json(*again->show("0-1-100@3")), to_json(entries[0]));
  EXPECT_EQ(again->show("0-1-8@3").error().code, Code::kNotFound);
  EXPECT_EQ(again->mark("nothing", LedgerState::kOpen).error().code, Code::kNotFound);
}

TEST(LedgerFile, TakesALongOutageOneTransactionAtATimeUpToItsBound) {
  TempDirectory directory;
  auto ledger = Ledger::open(directory.path() + "/ledger");
  ASSERT_TRUE(ledger);
  constexpr std::size_t kMax = 5000;
  constexpr std::size_t kMore = 3;
  Ledger::Addition addition(*ledger, kMax);
  for (std::size_t n = 1; n <= kMax + kMore; ++n)
    ASSERT_TRUE(addition.give(update_entry(n, "a", "b")));
  EXPECT_GT(ledger->list().size(), kMax - 1000);  // on disk before the end
  auto added = addition.finish();
  ASSERT_TRUE(added) << added.error().message;
  EXPECT_EQ(*added, kMax + 1);
  ASSERT_EQ(ledger->list().size(), kMax + 1);
  auto first = ledger->show("0-1-1@3");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->changes.size(), 1u);
  auto rest = ledger->show(ledger->list().back().id);
  ASSERT_TRUE(rest);
  EXPECT_TRUE(rest->changes.empty());
  EXPECT_NE(rest->note.find("3 transactions from 0-1-5001@3 to 0-1-5003@3 are not listed"),
            std::string::npos)
      << rest->note;

  // The same again, as after a crash: nothing is added, the note neither.
  Ledger::Addition again(*ledger, kMax);
  for (std::size_t n = 1; n <= kMax + kMore; ++n)
    ASSERT_TRUE(again.give(update_entry(n, "a", "b")));
  EXPECT_EQ(*again.finish(), 0u);
}

TEST(LedgerFile, JsonIsAsDocumentedAndDamageIsNamed) {
  EXPECT_EQ(to_json(update_entry(9, "it's \"q\"\n", "b")),
            "{\"changes\":[{\"after\":{\"id\":\"1\",\"note\":null,\"v\":\"b\"},\"before\":{\"id\":"
            "\"1\",\"note\":"
            "null,\"v\":\"it's "
            "\\\"q\\\"\\n\"},\"changed_since\":null,\"key\":{\"id\":\"1\"},\"operation\":"
            "\"update\",\"table\":\"app.t\"}],\"epoch\":3,\"id\":\"0-1-9@3\",\"site\":\"gcp\","
            "\"state\":\"open\","
            "\"time\":\"2023-11-14T22:13:20.000Z\"}");
  for (const char* wrong : {"", "[]", "{}", "{\"id\":\"x\"}",
                            "{\"id\":\"x\",\"epoch\":-1,\"time\":\"2023-11-14T22:13:20Z\","
                            "\"state\":\"open\",\"changes\":[]}"})
    EXPECT_FALSE(parse_ledger_entry(wrong)) << wrong;
  TempDirectory directory;
  std::ofstream(directory.path() + "/0-1-7@3.json") << "{ half";
  auto ledger = Ledger::open(directory.path());
  ASSERT_FALSE(ledger);
  EXPECT_NE(ledger.error().message.find("0-1-7@3.json"), std::string::npos);
}

TEST(LedgerReplay, IsRefusedWhenTheRowChangedSinceUnlessForced) {
  MariadbServer writer(1);
  writer.run("CREATE DATABASE app");
  writer.run("CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(20), note TEXT)");
  writer.run("INSERT INTO app.t VALUES (1, 'a', NULL)");
  ReplayTarget target{writer.endpoint(), MariadbServer::kUser, MariadbServer::kPassword};
  TempDirectory directory;
  auto ledger = Ledger::open(directory.path());
  ASSERT_TRUE(ledger);
  LedgerEntry two_steps = update_entry(10, "a", "b");
  two_steps.changes.push_back(update_entry(10, "b", "c").changes[0]);
  ASSERT_TRUE(ledger->add({two_steps, update_entry(11, "a", "z"), update_entry(12, "c", "d")}));

  auto checked = check_entry(two_steps, target);
  ASSERT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(checked->changes[0].changed_since, false);
  EXPECT_EQ(checked->changes[1].changed_since, false);   // it sees the first one
  EXPECT_EQ(writer.scalar("SELECT v FROM app.t"), "a");  // and nothing stays
  auto replayed = replay_entry(*ledger, two_steps.id, target, false);
  ASSERT_TRUE(replayed) << replayed.error().message;
  EXPECT_EQ(writer.scalar("SELECT v FROM app.t"), "c");
  EXPECT_EQ(replay_entry(*ledger, two_steps.id, target, false).error().code, Code::kRefused);

  EXPECT_EQ(check_entry(*ledger->show("0-1-11@3"), target)->changes[0].changed_since, true);
  auto conflict = replay_entry(*ledger, "0-1-11@3", target, false);
  ASSERT_FALSE(conflict);
  EXPECT_EQ(conflict.error().code, Code::kConflict);
  EXPECT_NE(conflict.error().message.find("update of app.t id=1"), std::string::npos);
  EXPECT_EQ(writer.scalar("SELECT v FROM app.t"), "c");
  writer.run("UPDATE app.t SET v = 'C'");  // equal to 'c' for the collation, not for us
  EXPECT_EQ(replay_entry(*ledger, "0-1-12@3", target, false).error().code, Code::kConflict);
  ASSERT_TRUE(replay_entry(*ledger, "0-1-11@3", target, true));
  EXPECT_EQ(writer.scalar("SELECT v FROM app.t"), "z");
  EXPECT_EQ(ledger->open_count(), 1u);

  writer.run("DELETE FROM app.t");
  ASSERT_TRUE(replay_entry(*ledger, "0-1-12@3", target, true));  // the row comes back
  EXPECT_EQ(writer.scalar("SELECT v FROM app.t"), "d");
  writer.run("SET GLOBAL read_only = 1");
  ASSERT_TRUE(ledger->mark("0-1-12@3", LedgerState::kOpen));
  EXPECT_EQ(replay_entry(*ledger, "0-1-12@3", target, true).error().code, Code::kRefused);
}

}  // namespace
}  // namespace leeward::database
