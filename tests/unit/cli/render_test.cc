#include "cli/internal/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leeward::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Json parse(std::string_view text) { return Json::parse(text); }

const char kHealthy[] = R"({
  "platform": "shop", "mode": "automatic", "paused": false, "blocked": false, "version": 12,
  "writer": "gcp", "epoch": 7, "active": "gcp",
  "lease": {"holder": "gcp", "epoch": 7, "unchanged_ms": 320},
  "sites": [
    {"name": "gcp", "role": "writer", "health": "up",
     "votes": {"gcp": "up", "aws": "up", "witness": "up"},
     "agent": {"gateway": "local", "tiers_ready": 2, "tiers_wanted": 2, "ledger_open": 0,
               "problem": "", "database": {"lag_ms": null}}},
    {"name": "aws", "role": "standby", "health": "up",
     "votes": {"gcp": "up", "aws": "up", "witness": "down"},
     "agent": {"gateway": "remote", "tiers_ready": 1, "tiers_wanted": 2, "ledger_open": 3,
               "problem": "", "database": {"lag_ms": 240}}},
    {"name": "witness", "role": "witness", "health": "unknown", "votes": {}, "agent": null}],
  "replication": {"standby": "aws", "lag_seconds": 0.2, "transactions_behind": 0},
  "failover": {"possible": true, "to": "aws", "estimated_loss_seconds": 0.26, "why_not": []},
  "proposal": null,
  "plan": {"id": 3, "kind": "switchover", "from": "aws", "to": "gcp", "step": "done",
           "outcome": "", "history": [{"step": "prepare", "entered": "2026-01-02T03:04:05.000Z"},
                                      {"step": "done", "entered": "2026-01-02T03:04:07.400Z"}]}
})";

TEST(RenderStatus, SaysWhoServesHowEachSiteIsAndWhatAFailoverWouldCost) {
  EXPECT_EQ(render_status(parse(kHealthy), false),
            R"(shop: gcp serves, epoch 7, since 2026-01-02T03:04:07.400Z
lease: gcp, last renewed 0.3 s ago
failover mode: automatic

SITE     ROLE     HEALTH   VOTES                  LAG    GATEWAY  TIERS  NOTES
gcp      writer   up       up 3/3                 –      local    2/2
aws      standby  up       up 2/3, down: witness  0.2 s  remote   1/2    3 lost writes in the ledger
witness  witness  unknown  –                      –      –        –

failover now: yes → aws, about 0.3 s would be lost
)");
  EXPECT_THAT(complaints(parse(kHealthy)), IsEmpty());
}

TEST(RenderStatus, ColoursDoNotMoveTheColumns) {
  std::string plain = render_status(parse(kHealthy), false);
  std::string colored = render_status(parse(kHealthy), true);
  EXPECT_THAT(colored, HasSubstr("\033[32mup\033[0m       up 3/3"));
  for (const char* code : {"\033[32m", "\033[33m", "\033[0m"})
    for (auto at = colored.find(code); at != std::string::npos; at = colored.find(code))
      colored.erase(at, std::string_view(code).size());
  EXPECT_EQ(colored, plain);
}

TEST(RenderStatus, ABrokenPlatformSaysWhatIsWrong) {
  Json status = parse(kHealthy);
  status["writer"] = nullptr;
  status["paused"] = true;
  status["sites"][0]["health"] = "down";
  status["sites"][0]["agent"] = nullptr;
  status["failover"] = parse(
      R"({"possible": false, "to": null, "why_not": ["aws is 9 s behind", "maintenance is on"]})");
  status["proposal"] =
      parse(R"({"from": "gcp", "to": "aws", "why_not_automatic": "loss above the RPO"})");
  std::string text = render_status(status, false);
  EXPECT_THAT(text, HasSubstr("shop: no site may write\n"));
  EXPECT_THAT(text, HasSubstr("paused for maintenance"));
  EXPECT_THAT(text, HasSubstr("agent does not report"));
  EXPECT_THAT(text, HasSubstr("waiting for you: fail over gcp → aws (loss above the RPO)"));
  EXPECT_THAT(text, HasSubstr("failover now: no: aws is 9 s behind; maintenance is on\n"));
  EXPECT_THAT(complaints(status),
              ElementsAre("no site may write", "site gcp is down",
                          "no failover possible: aws is 9 s behind; maintenance is on"));
}

TEST(RenderStatus, ARunningPlanIsShown) {
  Json status = parse(kHealthy);
  status["plan"]["step"] = "drain";
  EXPECT_THAT(render_status(status, false),
              HasSubstr("plan 3: switchover aws → gcp: drain, aws finishes what is running"));
}

TEST(Render, JsonOfAnotherShapeIsShownAsFarAsItGoes) {
  for (const char* text :
       {"{}", "[]", "null", "3", R"({"sites": 3, "plan": [], "failover": "x"})",
        R"({"sites": [null, 1, {"agent": 7, "votes": {"a": 1}}], "lease": {"unchanged_ms": "x"}})",
        R"({"history": [1, {}], "step": 4, "changes": {"a": []}, "entries": "x"})"}) {
    Json json = parse(text);
    render_status(json, true);
    complaints(json);
    render_event(json);
    render_question(json, "Fail over", "");
    render_plan(json);
    render_step(json, 0);
    render_ledger({json});
    render_ledger_entry(json);
  }
}

TEST(Render, WhatTheNetworkSentCannotSteerTheTerminal) {
  Json event = parse(R"({"sequence": 4, "time": "2026-01-02T03:04:05.000Z", "kind": "verdict.down",
    "site": "gcp", "epoch": 7, "message": "evil \u001b[2J \u009b2J text"})");
  std::string line = render_event(event);
  EXPECT_THAT(line, Not(HasSubstr("\033")));
  EXPECT_THAT(line, Not(HasSubstr("\xc2\x9b")));
  EXPECT_THAT(line, HasSubstr("verdict.down"));
  EXPECT_THAT(line, HasSubstr("epoch 7"));
}

TEST(Render, StepsTellTheTimeSinceThePlanBegan) {
  Json plan = parse(kHealthy)["plan"];
  plan["history"][1]["step"] = "transfer";
  EXPECT_EQ(render_step(plan, 0), "   0.0 s  prepare   gcp gets ready");
  EXPECT_EQ(render_step(plan, 1), "   2.4 s  transfer  gcp takes the right to write");
  EXPECT_EQ(render_plan(parse(kHealthy)["plan"]), "plan 3: switchover aws → gcp: done in 2.4 s");
  plan["step"] = "aborted";
  plan["outcome"] = "aws did not drain in 5s";
  EXPECT_EQ(render_plan(plan), "plan 3: switchover aws → gcp: given up: aws did not drain in 5s");
}

TEST(Render, TheQuestionBeforeAFailoverNamesItsCost) {
  EXPECT_EQ(render_question(parse(kHealthy), "Fail over", ""),
            "Fail over shop from gcp to aws? In this moment about 0.3 s would be lost.");
  EXPECT_EQ(render_question(parse(kHealthy), "Switch over", "aws"),
            "Switch over shop from gcp to aws?");
}

TEST(Render, LedgerEntriesShowTheRowsBeforeAndAfter) {
  Json answer = parse(R"({"site": "gcp", "entries": [{"id": "0-1-105", "site": "gcp", "epoch": 7,
    "time": "2026-01-02T03:04:05.000Z", "state": "open", "changes": [
      {"table": "shop.orders", "operation": "update", "key": {"id": "17"},
       "before": {"id": "17", "total": "4"}, "after": {"id": "17", "total": null},
       "changed_since": true}]}]})");
  EXPECT_EQ(render_ledger({answer}),
            "ID       SITE  EPOCH  TIME                      STATE  CHANGES  CHANGED SINCE\n"
            "0-1-105  gcp   7      2026-01-02T03:04:05.000Z  open   1        1\n");
  EXPECT_EQ(render_ledger({parse(R"({"site": "aws", "entries": []})")}), "no lost writes\n");
  EXPECT_EQ(render_ledger_entry(answer["entries"][0]),
            "0-1-105: open, lost on site gcp in epoch 7, written 2026-01-02T03:04:05.000Z\n\n"
            "  update shop.orders id=17\n"
            "    before  id=17 total=4\n"
            "    after   id=17 total=null\n"
            "    the row has changed since; a replay would overwrite it\n");
}

TEST(Render, SecondsReadWellAtEverySize) {
  EXPECT_EQ(format_seconds(0.04), "0.0 s");
  EXPECT_EQ(format_seconds(9.94), "9.9 s");
  EXPECT_EQ(format_seconds(59), "59 s");
  EXPECT_EQ(format_seconds(125), "2 min 5 s");
  EXPECT_EQ(format_seconds(7200), "2.0 h");
  EXPECT_DOUBLE_EQ(*seconds_between("2026-02-28T23:59:59.500Z", "2026-03-01T00:00:01.000Z"), 1.5);
  EXPECT_FALSE(seconds_between("yesterday", "2026-03-01T00:00:01.000Z"));
}

}  // namespace
}  // namespace leeward::cli
