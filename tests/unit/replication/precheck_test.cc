// What a precheck makes of the facts; the questions themselves are asked in task_driver_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "replication/internal/precheck_core.h"

namespace leeward::replication::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ServerFacts good_server(const std::string& id) {
  ServerFacts server;
  server.version = "10.11.11-MariaDB-0+deb12u1-log";
  server.account = "'lw'@'%'";
  server.grants = {"GRANT ALL PRIVILEGES ON *.* TO `lw`@`%`"};
  server.variables = {{"log_bin", "ON"},
                      {"binlog_format", "ROW"},
                      {"binlog_row_image", "FULL"},
                      {"binlog_row_metadata", "FULL"},
                      {"server_id", id},
                      {"gtid_domain_id", "0"},
                      {"read_only", "OFF"},
                      {"max_allowed_packet", "16777216"}};
  return server;
}

TableFacts good_table() {
  TableFacts facts;
  facts.table.schema = "shop";
  facts.table.name = "orders";
  facts.table.route.schema = "shop";
  facts.table.route.table = "orders";
  facts.table.engine = "InnoDB";
  facts.table.columns = {{"id", "id", "int", "", "", false, true},
                         {"note", "note", "varchar", "utf8mb4", "utf8mb4_general_ci", false, true}};
  facts.table.primary_key = {0};
  return facts;
}

PrecheckFacts good() {
  PrecheckFacts facts;
  facts.source = good_server("1");
  facts.target = good_server("2");
  facts.tables = {good_table()};
  return facts;
}

Task task() {
  Task t;
  t.name = "copy";
  t.server_id = 99;
  return t;
}

std::vector<std::string> codes(const PrecheckFacts& facts) {
  std::vector<std::string> found;
  for (const Finding& each : judge(task(), facts)) found.push_back(each.code);
  return found;
}

TEST(Precheck, HasNothingToSayOfSoundServers) { EXPECT_THAT(codes(good()), IsEmpty()); }

TEST(Precheck, SaysEverythingAtOnceWithItsCure) {
  PrecheckFacts facts = good();
  facts.source.variables["binlog_format"] = "MIXED";
  facts.source.variables["binlog_row_image"] = "MINIMAL";
  facts.source.variables["binlog_row_metadata"] = "NO_LOG";
  facts.source.variables["log_bin"] = "OFF";
  facts.source.binlog_filter = "binlog_do_db=shop";
  facts.source.clock_ahead = -90s;
  facts.target.variables["server_id"] = "1";
  facts.target.grants = {"GRANT USAGE ON *.* TO `lw`@`%`"};
  facts.tables[0].table.primary_key.clear();
  facts.tables[0].table.engine = "MyISAM";
  facts.tables[0].table.columns.push_back({"v", "v", "vector", "", "", false, true});
  auto findings = judge(task(), facts);
  std::vector<std::string> found;
  for (const Finding& each : findings) {
    found.push_back(each.code);
    EXPECT_FALSE(each.cure.empty()) << each.code;
  }
  EXPECT_THAT(found, ElementsAre("clock", "log_bin", "binlog_format", "binlog_row_image",
                                 "binlog_row_metadata", "binlog_filter", "privileges", "server_id",
                                 "no_primary_key", "engine", "unsupported_type"));
  EXPECT_TRUE(has_errors(findings));
}

TEST(Precheck, RefusesAServerThatIsNotMariadbAndWarnsOfOldOnes) {
  PrecheckFacts facts = good();
  facts.source.version = "8.0.40";
  EXPECT_THAT(codes(facts), ElementsAre("version"));
  EXPECT_EQ(mariadb_version("10.11.6-MariaDB-0+deb12u1"), 101106u);
  EXPECT_EQ(mariadb_version("8.0.40"), 0u);
  facts = good();
  facts.source.version = facts.target.version = "10.6.1-MariaDB";
  auto findings = judge(task(), facts);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
}

TEST(Precheck, KnowsWhatIsGrantedBySchemaAndUnderOlderNames) {
  std::vector<std::string> grants = {
      "GRANT REPLICATION REPLICA, REPLICATION CLIENT ON *.* TO `lw`@`%`",
      "GRANT SELECT (a, b), INSERT ON `shop`.`orders` TO `lw`@`%`",
      "GRANT SELECT ON `sh\\_op`.* TO `lw`@`%` WITH GRANT OPTION",
      "GRANT ALL PRIVILEGES ON `leeward`.* TO `lw`@`%`"};
  EXPECT_THAT(missing_privileges(grants, TaskSide::kSource, {"sh_op"}), IsEmpty());
  EXPECT_THAT(missing_privileges(grants, TaskSide::kSource, {"shop"}), ElementsAre("SELECT"));
  EXPECT_THAT(missing_privileges(grants, TaskSide::kTarget, {}),
              ElementsAre("BINLOG ADMIN", "BINLOG REPLAY"));
}

TEST(Precheck, LooksAtTheTableThatIsThereAlready) {
  PrecheckFacts facts = good();
  facts.tables[0].target.emplace();
  TargetFacts& target = *facts.tables[0].target;
  target.columns["id"] = {"id", "", "int", "", "", false, true};
  target.columns["note"] = {"NOTE", "", "varchar", "utf8mb4", "", false, true};
  EXPECT_THAT(codes(facts), IsEmpty());
  target.columns["note"].charset = "latin1";
  target.columns.erase("id");
  target.triggers = {"audit"};
  target.taken = true;
  EXPECT_THAT(codes(facts),
              ElementsAre("target_not_empty", "trigger", "target_column", "character_set"));
}

TEST(Precheck, AReadOnlyTargetNeedsAnAccountThatMayWriteAllTheSame) {
  PrecheckFacts facts = good();
  facts.target.variables["read_only"] = "ON";
  facts.target.grants = {
      "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, BINLOG ADMIN, "
      "BINLOG REPLAY ON *.* TO `lw`@`%`"};
  EXPECT_THAT(codes(facts), ElementsAre("read_only"));
  facts.target.grants.emplace_back("GRANT READ_ONLY ADMIN ON *.* TO `lw`@`%`");
  EXPECT_THAT(codes(facts), IsEmpty());
}

}  // namespace
}  // namespace leeward::replication::internal
