#include <fstream>

#include "base/file.h"
#include "pair.h"

namespace leeward::database {
namespace {

using Rejoin = Pair;
using Kind = FollowOutcome::Kind;

// Every type with values that are easy to get wrong.
constexpr const char* kTypes =
    "CREATE TABLE app.types (id BIGINT UNSIGNED PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, si "
    "SMALLINT, "
    "mi MEDIUMINT, mu MEDIUMINT UNSIGNED, bi BIGINT, f FLOAT, d DOUBLE, de DECIMAL(20,6), dz "
    "DECIMAL(5,5), "
    "b BIT(12), ts TIMESTAMP(3) NULL, dt DATETIME(6), da DATE, ti2 TIME(2), y YEAR, c CHAR(10), "
    "c3 CHAR(100) CHARACTER SET utf8mb4, vc VARCHAR(300), l1 VARCHAR(20) CHARACTER SET latin1, "
    "u2 VARCHAR(20) CHARACTER SET ucs2, bn BINARY(8), vb VARBINARY(20), bl BLOB, tx TEXT, "
    "e ENUM('a', 'b''c', 'ü'), s SET('x', 'y', 'z'), j JSON, u1 UUID, u4 UUID, u7 UUID, i4 INET4, "
    "i6 INET6, "
    "g POINT, vz VARCHAR(2000) COMPRESSED, bz BLOB COMPRESSED, nothing INT) CHARACTER SET utf8mb4";
constexpr const char* kTypesRow =
    "INSERT INTO app.types VALUES (18446744073709551615, -1, 255, -300, -3, 16777215, "
    "-9223372036854775808, 1.1, "
    "-2.25e-7, -123456.789012, -0.00001, b'101010101010', '2024-05-06 07:08:09.123', "
    "'1999-12-31 23:59:59.654321', '0999-01-02', '-01:02:03.45', 2024, 'abc ', 'ünï', "
    "'it''s \\\\x0a \"q\" \\n line', 'é', 'ab', 'bin', x'00ff0a27', x'deadbeef00', 'base64:no', "
    "'ü', 'x,z', "
    "'{\"a\": [1, null]}', '6ccd780c-baba-1026-9564-5b8c656024db', "
    "'123e4567-e89b-42d3-a456-426655440000', '018e0a3c-1111-7abc-8def-0123456789ab', '10.1.2.3', "
    "'2001:db8::1', "
    "ST_GeomFromText('POINT(1 2)'), REPEAT('long ', 100), REPEAT('blob', 100), NULL)";

std::string value(const LedgerRow& row, const std::string& column) {
  auto found = row.find(column);
  return found == row.end() ? "absent" : found->second.value_or("NULL");
}

// The whole of the `index`-th entry.
LedgerEntry nth(const Ledger& book, std::size_t index) {
  auto entry = book.show(book.list().at(index).id);
  EXPECT_TRUE(entry) << entry.error().message;
  return entry.value_or(LedgerEntry{});
}

// The link breaks, gcp still accepts writes, then it crashes; aws takes over at epoch 2 and gcp
// comes back.
class LostWrites : public Pair {
 protected:
  void lose(const std::vector<std::string>& statements, bool common_types = false) {
    bootstrap();
    if (HasFatalFailure()) return;
    if (common_types) {
      gcp_server.run(kTypes);
      catch_up(kAws, kGcp);
    }
    aws_server.run("STOP SLAVE IO_THREAD");
    for (const std::string& statement : statements) gcp_server.run(statement);
    lost_data = gcp_server.contents("app");
    gcp_server.kill();
    promote(kAws, 2);
    aws_server.run("INSERT INTO app.t (v, n) VALUES ('from the new writer', 20)");
    gcp_server.start();
  }
  std::string lost_data;
};

const std::vector<std::string> kSomeWrites{
    "INSERT INTO app.t (v, n) VALUES ('lost', 11)",
    "UPDATE app.t SET n = n + 1000 WHERE id = 1",
    "DELETE FROM app.t WHERE id = 2",
    "INSERT INTO app.t (v, n) VALUES ('many', 12), ('at once', NULL)",
    "UPDATE app.t SET n = n + 1 WHERE id <> 1",
};

TEST_F(LostWrites, AreListedUndoneAndTheServerFollows) {
  lose(kSomeWrites);
  EXPECT_NE(gcp_server.contents("app"), aws_server.contents("app"));
  auto outcome = follow(kGcp, kAws, 2);
  EXPECT_EQ(outcome.kind, Kind::kRewound) << outcome.why_reseeded;
  EXPECT_EQ(outcome.ledger_entries, 5u);
  catch_up(kGcp, kAws);
  expect_equal();

  Ledger book = ledger(kGcp);
  ASSERT_EQ(book.list().size(), 5u);
  const LedgerEntry inserted = nth(book, 0);
  EXPECT_EQ(inserted.site, "gcp");
  EXPECT_EQ(inserted.epoch, Epoch{1});
  EXPECT_EQ(inserted.state, LedgerState::kOpen);
  ASSERT_EQ(inserted.changes.size(), 1u);
  EXPECT_EQ(inserted.changes[0].operation, LedgerOperation::kInsert);
  EXPECT_EQ(inserted.changes[0].schema, "app");
  EXPECT_EQ(inserted.changes[0].table, "t");
  EXPECT_FALSE(inserted.changes[0].before);
  EXPECT_EQ(value(*inserted.changes[0].after, "v"), "lost");
  EXPECT_EQ(value(inserted.changes[0].key, "id"), value(*inserted.changes[0].after, "id"));
  const LedgerChange updated = nth(book, 1).changes.at(0);
  EXPECT_EQ(updated.operation, LedgerOperation::kUpdate);
  EXPECT_EQ(value(*updated.before, "n"), "1");
  EXPECT_EQ(value(*updated.after, "n"), "1001");
  EXPECT_EQ(nth(book, 2).changes.at(0).operation, LedgerOperation::kDelete);
  EXPECT_EQ(value(*nth(book, 2).changes.at(0).before, "v"), "two");
  EXPECT_EQ(nth(book, 3).changes.size(), 2u);
  EXPECT_EQ(value(*nth(book, 3).changes.at(1).after, "n"), "NULL");

  // Writes go on, and the way back is a plain switchover.
  aws_server.run("INSERT INTO app.t (v) VALUES ('after the rejoin')");
  auto fenced = driver(kAws).fence();
  ASSERT_TRUE(fenced);
  catch_up(kGcp, kAws);
  promote(kGcp, 3);
  gcp_server.run("INSERT INTO app.t (v) VALUES ('back home')");
  EXPECT_EQ(follow(kAws, kGcp, 3).kind, Kind::kStreaming);
  catch_up(kAws, kGcp);
  expect_equal();
}

TEST_F(LostWrites, KeepTheirValuesInEveryType) {
  lose({kTypesRow, "UPDATE app.types SET nothing = -5, e = 'b''c', f = 3.4e38",
        "DELETE FROM app.types"},
       true);
  auto outcome = follow(kGcp, kAws, 2);
  EXPECT_EQ(outcome.kind, Kind::kRewound) << outcome.why_reseeded;
  catch_up(kGcp, kAws);
  expect_equal();
  Ledger book = ledger(kGcp);
  ASSERT_EQ(book.list().size(), 3u);
  const LedgerRow row = *nth(book, 0).changes.at(0).after;
  const std::vector<std::pair<std::string, std::string>> expected{
      {"id", "18446744073709551615"},
      {"ti", "-1"},
      {"tu", "255"},
      {"si", "-300"},
      {"mi", "-3"},
      {"mu", "16777215"},
      {"bi", "-9223372036854775808"},
      {"f", "1.1"},
      {"d", "-2.25e-07"},
      {"de", "-123456.789012"},
      {"dz", "-0.00001"},
      {"b", "2730"},
      {"ts", "2024-05-06 07:08:09.123"},
      {"dt", "1999-12-31 23:59:59.654321"},
      {"da", "0999-01-02"},
      {"ti2", "-01:02:03.45"},
      {"y", "2024"},
      {"c", "abc"},
      {"c3", "ünï"},
      {"vc", "it's \\x0a \"q\" \n line"},
      {"l1", "base64:6Q=="},
      {"u2", "base64:AGEAYg=="},
      {"bn", "base64:YmluAAAAAAA="},
      {"vb", "base64:AP8KJw=="},
      {"bl", "base64:3q2+7wA="},
      {"tx", "base64:YmFzZTY0Om5v"},
      {"e", "ü"},
      {"s", "x,z"},
      {"j", "{\"a\": [1, null]}"},
      {"u1", "6ccd780c-baba-1026-9564-5b8c656024db"},
      {"u4", "123e4567-e89b-42d3-a456-426655440000"},
      {"u7", "018e0a3c-1111-7abc-8def-0123456789ab"},
      {"i4", "10.1.2.3"},
      {"i6", "2001:db8::1"},
      {"nothing", "NULL"}};
  for (const auto& [column, text] : expected) EXPECT_EQ(value(row, column), text) << column;
  EXPECT_EQ(value(row, "vz").substr(0, 10), "long long ");
  EXPECT_EQ(value(row, "vz").size(), 500u);
  EXPECT_EQ(value(row, "bz").substr(0, 15), "base64:YmxvYmJs");
  EXPECT_EQ(value(nth(book, 0).changes.at(0).key, "id"), "18446744073709551615");
  EXPECT_EQ(value(*nth(book, 1).changes.at(0).after, "e"), "b'c");

  gcp_server.run("STOP SLAVE");
  // Replaying all of it on the writer, transaction by transaction, gives what the old primary had.
  ReplayTarget target{aws_server.endpoint(), MariadbServer::kUser, MariadbServer::kPassword};
  for (int i = 0; i < 2; ++i) {
    auto replayed = replay_entry(book, book.list()[i].id, target, false);
    ASSERT_TRUE(replayed) << replayed.error().message;
  }
  gcp_server.run("SET sql_log_bin = 0");
  gcp_server.run(kTypesRow);
  gcp_server.run("UPDATE app.types SET nothing = -5, e = 'b''c', f = 3.4e38");
  EXPECT_EQ(gcp_server.contents("app"), aws_server.contents("app"));
  auto removed = replay_entry(book, book.list()[2].id, target, false);
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(aws_server.scalar("SELECT COUNT(*) FROM app.types"), "0");
  EXPECT_EQ(book.open_count(), 0u);
}

TEST_F(LostWrites, AreUndoneInTablesWithoutAKeyAndFromACompressedLog) {
  bootstrap();
  gcp_server.run("CREATE TABLE app.keyless (v VARCHAR(200), n INT)");
  gcp_server.run("INSERT INTO app.keyless VALUES ('same', 1), ('same', 1), ('other', 2)");
  catch_up(kAws, kGcp);
  aws_server.run("STOP SLAVE IO_THREAD");
  gcp_server.run("SET GLOBAL log_bin_compress = 1, GLOBAL log_bin_compress_min_len = 10");
  auto writer = gcp_server.connect();  // the setting counts for new sessions
  for (const char* statement :
       {"START TRANSACTION", "UPDATE app.keyless SET v = REPEAT('x', 150), n = NULL WHERE n = 1",
        "DELETE FROM app.keyless WHERE n = 2", "SAVEPOINT half",
        "INSERT INTO app.keyless VALUES ('gone', 3)", "ROLLBACK TO half",
        "INSERT INTO app.keyless VALUES (REPEAT('y', 150), 4)", "COMMIT"})
    ASSERT_TRUE(writer.execute(statement, BootClock::now() + 10s)) << statement;
  gcp_server.kill();
  promote(kAws, 2);
  gcp_server.start();
  auto outcome = follow(kGcp, kAws, 2);
  EXPECT_EQ(outcome.kind, Kind::kRewound) << outcome.why_reseeded;
  catch_up(kGcp, kAws);
  EXPECT_EQ(gcp_server.scalar("SELECT GROUP_CONCAT(v ORDER BY n, v) FROM app.keyless"),
            "same,same,other");
  Ledger book = ledger(kGcp);
  ASSERT_EQ(book.list().size(), 1u);
  ASSERT_EQ(nth(book, 0).changes.size(), 4u);
  EXPECT_EQ(value(nth(book, 0).changes[0].key, "v"), "same");  // the whole row stands for the key
  EXPECT_EQ(value(*nth(book, 0).changes[3].after, "n"), "4");
}

TEST_F(LostWrites, RejoinCanBeInterruptedBeforeEveryPhase) {
  lose(kSomeWrites);
  for (FollowPhase stop : {FollowPhase::kCompare, FollowPhase::kExtract, FollowPhase::kLedger,
                           FollowPhase::kRewind, FollowPhase::kReset, FollowPhase::kConnect}) {
    Ledger book = ledger(kGcp);  // everything anew, as after a crash of the agent
    Mariadb gcp = driver(kGcp);
    auto outcome = gcp.follow(kAws, Epoch{2}, book, [&](const FollowProgress& progress) {
      return progress.phase != stop;
    });
    ASSERT_FALSE(outcome) << name(stop);
    EXPECT_EQ(outcome.error().code, Code::kTimeout) << outcome.error().message;
    EXPECT_EQ(gcp.status()->read_only, true);
    if (stop == FollowPhase::kReset) {
      EXPECT_EQ(driver(kGcp).status()->diverged, true);
      EXPECT_EQ(driver(kGcp).promote(Epoch{3}, 1s).error().code, Code::kRefused);
    }
  }
  follow(kGcp, kAws, 2);
  catch_up(kGcp, kAws);
  expect_equal();
  EXPECT_EQ(ledger(kGcp).list().size(), 5u);
}

TEST_F(LostWrites, ServerKilledAfterTheUndoStillRejoins) {
  lose(kSomeWrites);
  Ledger book = ledger(kGcp);
  auto outcome = driver(kGcp).follow(kAws, Epoch{2}, book, [&](const FollowProgress& progress) {
    return progress.phase != FollowPhase::kReset;
  });
  ASSERT_FALSE(outcome);
  gcp_server.kill();
  gcp_server.start();
  EXPECT_EQ(follow(kGcp, kAws, 2).kind, Kind::kRewound);
  catch_up(kGcp, kAws);
  expect_equal();
}

TEST_F(LostWrites, StatementsAreListedAndTheDataIsLoadedAfresh) {
  lose({"INSERT INTO app.t (v, n) VALUES ('lost', 11)", "ALTER TABLE app.t ADD COLUMN extra INT",
        "UPDATE app.t SET extra = 5 WHERE id = 1", "CREATE USER gone@'%' IDENTIFIED BY 'x'"});
  aws_server.run("CREATE USER kept@'%' IDENTIFIED BY 'kept'");
  aws_server.run("GRANT SELECT ON app.* TO kept@'%'");
  auto outcome = follow(kGcp, kAws, 2);
  EXPECT_EQ(outcome.kind, Kind::kReseeded);
  EXPECT_NE(outcome.why_reseeded.find("ALTER TABLE"), std::string::npos) << outcome.why_reseeded;
  catch_up(kGcp, kAws);
  expect_equal();
  Ledger book = ledger(kGcp);
  ASSERT_EQ(book.list().size(), 4u);
  EXPECT_EQ(nth(book, 1).changes.at(0).operation, LedgerOperation::kDdl);
  EXPECT_EQ(nth(book, 1).changes.at(0).sql, "ALTER TABLE app.t ADD COLUMN extra INT");
  EXPECT_EQ(value(*nth(book, 2).changes.at(0).after, "extra"), "5");
  EXPECT_EQ(gcp_server.scalar("SELECT COUNT(*) FROM mysql.global_priv WHERE user = 'gone'"), "0");
  auto account = gcp_server.connect("kept", "kept");
  EXPECT_TRUE(account.execute("SELECT * FROM app.t", BootClock::now() + 10s));
  // It can be the writer again.
  ASSERT_TRUE(driver(kAws).fence());
  promote(kGcp, 3);
  EXPECT_EQ(follow(kAws, kGcp, 3).kind, Kind::kStreaming);
  catch_up(kAws, kGcp);
  expect_equal();
}

TEST_F(LostWrites, InterruptedReloadIsStartedAgain) {
  lose({"CREATE TABLE app.extra (id INT PRIMARY KEY)"});
  aws_server.run("CREATE TABLE app.big (id INT PRIMARY KEY, filler VARBINARY(60000))");
  aws_server.run("INSERT INTO app.big SELECT seq, REPEAT(x'5a', 60000) FROM app.seq_1_to_60");
  Ledger book = ledger(kGcp);
  auto outcome = driver(kGcp).follow(
      kAws, Epoch{2}, book, [](const FollowProgress& progress) { return progress.bytes == 0; });
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kTimeout);
  EXPECT_TRUE(driver(kGcp).status()->incomplete);
  EXPECT_FALSE(driver(kGcp).promote(Epoch{3}, 1s));
  EXPECT_EQ(follow(kGcp, kAws, 2).kind, Kind::kReseeded);
  EXPECT_FALSE(driver(kGcp).status()->incomplete);
  catch_up(kGcp, kAws);
  expect_equal();
  EXPECT_FALSE(read_file(directory.path() + "/gcp/rejoin.json"));
}

TEST_F(LostWrites, AnOperatorMayHaveEverythingCopiedAfreshAndSeesHowFarItIs) {
  lose(kSomeWrites);
  aws_server.run("CREATE TABLE app.big (id INT PRIMARY KEY, filler VARBINARY(60000))");
  aws_server.run("INSERT INTO app.big SELECT seq, REPEAT(x'5a', 60000) FROM app.seq_1_to_60");
  aws_server.run("ANALYZE TABLE app.big");
  Ledger book = ledger(kGcp);
  FollowProgress last;
  auto outcome = driver(kGcp).follow(
      kAws, Epoch{2}, book,
      [&](const FollowProgress& progress) {
        last = progress;
        return true;
      },
      true);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->kind, Kind::kReseeded);
  EXPECT_EQ(outcome->ledger_entries, 5u);  // what is dropped is kept all the same
  EXPECT_EQ(last.transactions, 5u);
  EXPECT_GT(last.bytes, 3'000'000u);
  EXPECT_GT(last.rows, 0u);
  EXPECT_GE(last.rows_total, 60u);
  catch_up(kGcp, kAws);
  expect_equal();
}

TEST_F(LostWrites, CascadesAndTablesWithoutTransactionsAreNotUndoneRowByRow) {
  bootstrap();
  gcp_server.run("CREATE TABLE app.parent (id INT PRIMARY KEY)");
  gcp_server.run(
      "CREATE TABLE app.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES app.parent "
      "(id) "
      "ON DELETE CASCADE)");
  gcp_server.run("CREATE TABLE app.plain (id INT PRIMARY KEY) ENGINE=Aria");
  gcp_server.run("INSERT INTO app.parent VALUES (1), (2)");
  gcp_server.run("INSERT INTO app.child VALUES (1, 1), (2, 2)");
  catch_up(kAws, kGcp);
  aws_server.run("STOP SLAVE IO_THREAD");
  gcp_server.run("DELETE FROM app.parent WHERE id = 1");
  gcp_server.kill();
  promote(kAws, 2);
  gcp_server.start();
  auto outcome = follow(kGcp, kAws, 2);
  EXPECT_EQ(outcome.kind, Kind::kReseeded);
  EXPECT_NE(outcome.why_reseeded.find("cascades"), std::string::npos) << outcome.why_reseeded;
  catch_up(kGcp, kAws);
  expect_equal();

  gcp_server.run("STOP SLAVE IO_THREAD");
  aws_server.run("INSERT INTO app.plain VALUES (1)");
  aws_server.kill();
  promote(kGcp, 3);
  aws_server.start();
  outcome = follow(kAws, kGcp, 3);
  EXPECT_EQ(outcome.kind, Kind::kReseeded);
  EXPECT_NE(outcome.why_reseeded.find("no transactions"), std::string::npos)
      << outcome.why_reseeded;
  catch_up(kAws, kGcp);
  expect_equal();
}

TEST_F(Rejoin, OldEpochsAndForeignDataAreRefused) {
  bootstrap();
  Ledger book = ledger(kAws);
  for (std::uint64_t epoch : {2, 0}) {
    auto outcome = driver(kAws).follow(kGcp, Epoch{epoch}, book);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::kRefused) << outcome.error().message;
  }
  promote(kAws, 2);  // gcp still believes in epoch 1
  auto outcome = driver(kAws).follow(kGcp, Epoch{1}, book);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kRefused);
  MariadbServer stranger(3);
  stranger.run("CREATE DATABASE mine");
  stranger.run("CREATE TABLE mine.precious (id INT PRIMARY KEY)");
  MariadbOptions options;
  options.local = stranger.endpoint();
  options.admin_user = MariadbServer::kUser;
  options.admin_password = MariadbServer::kPassword;
  options.site = SiteId{2};
  options.site_name = [](SiteId) { return "other"; };
  options.peers = {{kAws, {aws_server.endpoint()}}};
  options.state_dir = directory.path() + "/other";
  auto refused = Mariadb(options).follow(kAws, Epoch{2}, book);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRefused);
  EXPECT_EQ(stranger.scalar("SELECT COUNT(*) FROM mine.precious"), "0");
}

TEST_F(Rejoin, WritesOnTheStandbyAreFoundAndRemoved) {
  bootstrap();
  aws_server.run("INSERT INTO app.t (id, v) VALUES (900, 'by an administrator')");
  gcp_server.run("INSERT INTO app.t (v) VALUES ('meanwhile')");
  auto outcome = follow(kAws, kGcp, 1);
  EXPECT_EQ(outcome.kind, Kind::kReseeded);
  EXPECT_EQ(outcome.ledger_entries, 1u);
  catch_up(kAws, kGcp);
  expect_equal();
}

}  // namespace
}  // namespace leeward::database
