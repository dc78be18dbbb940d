// leeward replication as its user sees it; with real servers: tests/system/replication_test.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/internal/commands.h"
#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Replication : public ::testing::Test {
 protected:
  Replication()
      : directory_(::testing::TempDir() + fmt::format("leeward-replication-cli-{}", ::getpid())) {
    std::filesystem::create_directories(directory_);
  }
  ~Replication() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& text) {
    std::string path = directory_ + "/task.yaml";
    std::ofstream(path) << text;
    return path;
  }
  int run(std::vector<std::string> arguments) {
    std::istringstream in;
    out_.str("");
    err_.str("");
    Io io{in, out_, err_};
    Roles roles;
    roles.replicate = [this](const ReplicateOptions& options) {
      started_ = options;
      return 0;
    };
    return run_with(std::move(arguments), roles, io);
  }

  std::string directory_;
  std::ostringstream out_, err_;
  std::optional<ReplicateOptions> started_;
};

constexpr char kTask[] =
    "task: shop\n"
    "source: {host: 127.0.0.1, port: 1, user: lw, password: env:LW}\n"
    "target: {host: 127.0.0.1, port: 2, user: lw, password: env:LW}\n";

TEST_F(Replication, SaysWhereATaskFileIsWrong) {
  std::string path = write(std::string(kTask) + "sead: {parallel: 2}\n");
  EXPECT_EQ(run({"replication", "precheck", path}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("task.yaml:4:1"));
  EXPECT_THAT(err_.str(), HasSubstr("'seed'"));
}

TEST_F(Replication, KnowsThatATaskDoesNotRun) {
  std::string path = write(kTask);
  for (const char* command : {"status", "pause", "resume"}) {
    EXPECT_EQ(run({"replication", command, path}), 1) << command;
    EXPECT_THAT(err_.str(), HasSubstr("task shop does not run here"));
  }
}

TEST_F(Replication, StartsTheRoleWithJsonWhereNobodyWatches) {
  std::string path = write(kTask);
  EXPECT_EQ(run({"replication", "start", path, "--log-level", "warn"}), 0);
  ASSERT_TRUE(started_);
  EXPECT_EQ(started_->task_path, path);
  EXPECT_EQ(started_->log_format, LogFormat::kJson);
  EXPECT_EQ(started_->log_level, LogLevel::kWarn);
  EXPECT_FALSE(started_->terminal);
  EXPECT_FALSE(started_->again);
  // What drops tables asks, and there is nobody to ask.
  started_.reset();
  EXPECT_EQ(run({"replication", "start", path, "--again"}), 2);
  EXPECT_FALSE(started_);
  EXPECT_EQ(run({"replication", "start", path, "--again", "--yes"}), 0);
  EXPECT_TRUE(started_->again);
}

TEST_F(Replication, ARepairAsksFirst) {
  EXPECT_EQ(run({"replication", "verify", write(kTask), "--repair"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--yes"));
}

TEST(RenderReplication, ShowsEachFindingWithItsCure) {
  Json answer = Json::parse(R"({"task": "shop", "ok": false, "findings": [
    {"severity": "error", "code": "binlog_format", "where": "source", "what": "it is MIXED",
     "cure": "SET GLOBAL binlog_format=ROW;"},
    {"severity": "warning", "code": "clock", "where": "target", "what": "2 s ahead", "cure": ""}]})");
  EXPECT_EQ(render_findings(answer, false),
            "error  source: it is MIXED  [binlog_format]\n"
            "    mend: SET GLOBAL binlog_format=ROW;\n"
            "warning  target: 2 s ahead  [clock]\n"
            "task shop cannot run: 1 error\n");
}

TEST(RenderReplication, ShowsThreePositionsAndAnUnknownLag) {
  Json status = Json::parse(R"({"task": "shop", "source": "a:1", "target": "b:2",
    "state": "streaming", "paused": false, "error": "",
    "received": {"gtid": "0-1-9", "seconds": 0.1, "transactions": 0},
    "durable": {"gtid": "0-1-8", "seconds": 0.2, "transactions": 1},
    "applied": {"gtid": "0-1-7", "seconds": null, "transactions": 2},
    "transactions": 5, "rows": 6, "conflicts": 0,
    "verify": {"running": false, "error": "", "ended_at": "2026-01-02T03:04:05.000Z",
               "report": {"different": 1, "rows": 10}}})");
  std::string text = render_task_status(status);
  EXPECT_THAT(text, HasSubstr("applied   0-1-7     unknown  2"));
  EXPECT_THAT(text, HasSubstr("last comparison: 1 of 10 rows differ"));
  EXPECT_THAT(text, Not(HasSubstr("error")));
}

TEST(RenderReplication, ListsDifferencesAndSaysWhatWasLeftOut) {
  Json report = Json::parse(R"({"at": "0-1-9", "tables": 1, "rows": 100, "different": 3,
    "repaired": 0, "differences": [
      {"table": "shop.t", "kind": "changed", "key": "id=\u001b5", "columns": ["a", "b"]}]})");
  std::string text = render_verify(report);
  EXPECT_THAT(text, HasSubstr("shop.t  id= 5  changed     a, b"));
  EXPECT_THAT(text, HasSubstr("and 2 more"));
  EXPECT_THAT(render_conflicts(Json::parse(R"({"task": "t", "conflicts": []})")), "no conflicts\n");
}

}  // namespace
}  // namespace leeward::cli
