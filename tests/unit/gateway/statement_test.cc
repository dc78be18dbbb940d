// What the text of a statement does to its session.
#include "gateway/internal/statement.h"

#include <gtest/gtest.h>

namespace leeward::gateway {
namespace {

StatementTraits read(std::string_view sql, bool backslash_escapes = true) {
  // Byte by byte: where the text is cut must not matter.
  StatementScanner scanner(backslash_escapes);
  for (const char c : sql) scanner.feed({reinterpret_cast<const std::uint8_t*>(&c), 1});
  return scanner.finish();
}

TEST(Statement, OrdinaryWorkLeavesNothingBehind) {
  for (const char* sql : {"SELECT 1", "INSERT INTO t VALUES ('a := b', \"GET_LOCK(\")", "COMMIT",
                          "UPDATE t SET a=b WHERE c='it''s \\' := '", "CREATE TABLE t (x INT)",
                          "SELECT 1 -- := \n, 2", "SELECT a--1 FROM t", "SELECT /* := */ 1",
                          "SELECT `a:=b` FROM t # get_lock\n", "DELETE FROM t WHERE x=@y"}) {
    const StatementTraits t = read(sql);
    EXPECT_FALSE(t.pins || t.sets || t.uses || t.looks_back) << sql;
  }
}

TEST(Statement, HiddenStatePins) {
  for (const char* sql : {"create temporary table t (x int)",
                          "CREATE OR REPLACE TEMPORARY TABLE t (x INT)",
                          "LOCK TABLES t WRITE",
                          "SELECT GET_LOCK('a', 1)",
                          "SELECT @a:=1",
                          "SELECT 1 INTO @a",
                          "/*!50000 CREATE*/ /*M! TEMPORARY */ TABLE t (x INT)",
                          "XA START 'x'",
                          "CALL p()",
                          "HANDLER t OPEN",
                          "SELECT 1; SET a=1",
                          "USE a; USE b",
                          "BEGIN NOT ATOMIC SET @a=1; END",
                          "SET GLOBAL read_only=1",
                          "SET PASSWORD=PASSWORD('x')",
                          "SET @t=NOW()",
                          "SET @t=(SELECT MAX(id) FROM t)",
                          "SET NAMES gbk",
                          "LOAD DATA INFILE 'f' INTO TABLE t (@a)",
                          "-- comment\nCALL p()",
                          "SELECT 'a\\'', get_lock(\"b\", 1)",
                          "SELECT 1--1 INTO @x"}) {
    EXPECT_TRUE(read(sql).pins) << sql;
  }
}

TEST(Statement, BackslashCountsUnlessSwitchedOff) {
  EXPECT_FALSE(read("SELECT '\\', get_lock(1)'").pins);
  EXPECT_TRUE(read("SELECT '\\', get_lock('x', 1)", false).pins);
}

TEST(Statement, SetsAreRemembered) {
  EXPECT_TRUE(read("SET NAMES utf8mb4").sets);
  EXPECT_TRUE(read("/*!40101 SET NAMES utf8 */;").sets);
  EXPECT_FALSE(read("SET @@session.autocommit = 0").computed);
  EXPECT_TRUE(read("SET sql_mode=CONCAT(@@sql_mode, ',ANSI')").sets);
  EXPECT_TRUE(read("SET sql_mode=CONCAT(@@sql_mode, ',ANSI')").computed);
  EXPECT_TRUE(read("set transaction read only").sets_once);
  EXPECT_FALSE(read("SET SESSION TRANSACTION READ ONLY").sets_once);
  EXPECT_FALSE(read("SET STATEMENT max_statement_time=1 FOR SELECT 1").sets);
  EXPECT_TRUE(read("USE shop").uses);
}

TEST(Statement, QuestionsAboutThePreviousOneAreSeen) {
  for (const char* sql : {"SELECT FOUND_ROWS()", "SHOW WARNINGS", "select row_count()"})
    EXPECT_TRUE(read(sql).looks_back) << sql;
}

TEST(Statement, ReadsTheNameOfUse) {
  EXPECT_EQ(database_of_use("USE shop"), "shop");
  EXPECT_EQ(database_of_use("  use `od``d`;"), "od`d");
  EXPECT_EQ(database_of_use("USE"), "");
  EXPECT_EQ(database_of_use("use `open"), "");
}

}  // namespace
}  // namespace leeward::gateway
