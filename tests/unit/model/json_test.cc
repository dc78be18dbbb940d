#include "model/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace leeward {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr SiteId kGcp{0}, kAws{1}, kWitness{2};

Platform platform() {
  Platform p;
  p.sites = {Site{"gcp", SiteRole::kPrimary, ""}, Site{"aws", SiteRole::kStandby, ""},
             Site{"witness", SiteRole::kWitness, ""}};
  return p;
}

const WallTime kTime{1'790'000'000'123ms};

Plan plan() {
  Plan p;
  p.id = PlanId{4};
  p.kind = PlanKind::kSwitchover;
  p.from = kGcp;
  p.to = kAws;
  p.step = PlanStep::kCatchUp;
  p.automatic = true;
  p.accept_loss = true;
  p.reason = "asked for by \"operator\"\n";
  p.outcome = "none yet";
  p.estimated_loss = 1250ms;
  p.drained = Position{1'000'001};
  p.history = {{PlanStep::kPrepare, kTime}, {PlanStep::kDrain, kTime + 5ms}};
  return p;
}

ServiceRecord record() {
  ServiceRecord r;
  r.intent = Intent{kAws, Epoch{UINT64_MAX}, PlanId{4}, Position{77}, true, UINT64_MAX};
  r.active = kGcp;
  r.active_epoch = Epoch{6};
  r.up_epoch = Epoch{5};
  r.protection = Protection{ProtectionState::kArming, 9, Epoch{6}, kAws, 11};
  r.plan = plan();
  r.last_plan = PlanId{5};
  r.blocked = true;
  r.paused = true;
  r.proposal = Proposal{kGcp, kAws, "the loss would be 3 s"};
  return r;
}

DatabaseStatus database() {
  DatabaseStatus d;
  d.reachable = true;
  d.read_only = false;
  d.epoch = Epoch{9};
  d.term = Term{17};
  d.source = kAws;
  d.replication = ReplicationState::kStreaming;
  d.written = Position{10};
  d.received = Position{11};
  d.applied = Position{12};
  d.durable = Position{13};
  d.strict = d.acknowledges = true;
  d.link = 14;
  d.semi_sync = SemiSync::kFallen;
  d.fallbacks = 16;
  d.alone = 15;
  d.diverged = d.incomplete = true;
  d.heartbeat_age = 250ms;
  d.heartbeat_written = kTime;
  d.lag = -3ms;  // clocks of two sites differ
  return d;
}

AgentReport report() {
  AgentReport a;
  a.site = kWitness;
  a.life = 12;
  a.sequence = 34;
  a.highest_epoch = Epoch{8};
  a.lease_epoch = Epoch{7};
  a.by_promise = true;
  a.gateway = GatewayMode::kHold;
  a.writing_epoch = Epoch{6};
  a.drained_plan = PlanId{3};
  a.drained_position = Position{99};
  a.rejoining = true;
  a.database = database();
  a.heartbeat_late = 15ms;
  a.nodes = {{true, true, Epoch{8}, Term{2}, ReplicationState::kStreaming, Position{5}}, {}};
  a.node_in_sync = a.node_moving = true;
  a.redis = RedisReport{{{true, true, true, 18}, {}}, 2, true, 19, 20, 21, true};
  a.comparison = ComparisonReport{22, 23, 24, "shop.orders id=42 missing", kTime};
  a.tiers_ready = 2;
  a.tiers_wanted = 65535;
  a.deployments = 4'000'000'001;
  a.rollbacks = 3;
  a.deployment = "app, revision 3: its instances exited by themselves 3 times";
  a.ledger_open = 4'000'000'000;
  a.protection = 16;
  a.problem = "lag";
  return a;
}

// Writing, reading and writing again gives the same text, and every field of the sample differs
// from a default value's, so that none can have been forgotten in one direction.
template <typename T>
void expect_round_trip(const T& sample, const T& plain) {
  const Platform p = platform();
  const std::string text = to_json_text(p, sample);
  auto back = decode_json<T>(p, Json::parse(text));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_json_text(p, *back), text);
  const Json full = Json::parse(text), empty = encode_json(p, plain);
  for (const auto& [key, value] : full.items()) EXPECT_NE(value, empty[key]) << key;
}

TEST(ModelJson, CarriesEveryFieldBothWays) {
  expect_round_trip(record(), {});
  expect_round_trip(plan(), {});
  expect_round_trip(record().intent, {});
  expect_round_trip(LeaseValue{kAws, Epoch{3}, 12}, {});
  expect_round_trip(database(), {});
  AgentReport other;
  other.site = kGcp;
  expect_round_trip(report(), other);
  expect_round_trip(EventRecord{5, kTime, "plan.step", "gcp", Epoch{2}, "Grüße"}, {});
  VantageReport vantage;
  vantage.vantage = kWitness;
  vantage.life = 5;
  vantage.sequence = 6;
  vantage.health = {Health::kUp, Health::kDown, Health::kUnknown};
  vantage.failures = {0, 255, 1};
  vantage.detail = "connection refused";
  VantageReport plain;
  plain.vantage = kGcp;
  expect_round_trip(vantage, plain);
}

TEST(ModelJson, KeepsTheValuesThatCompare) {
  const Platform p = platform();
  EXPECT_EQ(record_from_json(p, to_json_text(p, record()))->intent, record().intent);
  const LeaseValue lease{kAws, Epoch{3}, 12};
  EXPECT_EQ(*lease_from_json(p, to_json_text(p, lease)), lease);
  auto back = agent_report_from_json(p, to_json_text(p, report()));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->database.heartbeat_age, 250ms);
  EXPECT_EQ(back->database.lag, -3ms);
  EXPECT_EQ(back->drained_position, Position{99});
  EXPECT_EQ(plan_from_json(p, to_json_text(p, plan()))->history[1].entered, kTime + 5ms);
}

TEST(ModelJson, WritesTheHousesForm) {
  const Platform p = platform();
  EXPECT_EQ(to_json_text(p, LeaseValue{}), R"({"epoch":0,"holder":null,"sequence":0})");
  const Json status = encode_json(p, DatabaseStatus{});
  EXPECT_TRUE(status["lag_ms"].is_null());  // kNever
  DatabaseStatus young;
  young.heartbeat_age = 1ns;  // rounded up
  EXPECT_EQ(encode_json(p, young)["heartbeat_age_ms"], 1);
  VantageReport vantage;
  vantage.vantage = kAws;
  vantage.health[0] = Health::kUp;
  EXPECT_EQ(encode_json(p, vantage)["health"],
            Json({{"gcp", "up"}, {"aws", "unknown"}, {"witness", "unknown"}}));
  const Json r = encode_json(p, record());
  EXPECT_FALSE(r.contains("version"));
  EXPECT_EQ(r["plan"]["history"][0]["entered"], "2026-09-21T14:13:20.123Z");
  EXPECT_TRUE(encode_json(p, ServiceRecord{})["plan"].is_null());
  EventRecord broken;
  broken.message = "\xff";
  EXPECT_THAT(to_json_text(p, broken), HasSubstr("\xef\xbf\xbd"));
}

TEST(ModelJson, NamesThePathOfWhatItCannotRead) {
  const Platform p = platform();
  struct {
    const char* pointer;
    Json value;
    const char* message;
  } cases[] = {
      {"/intent/writer", "azure", "intent.writer: unknown site 'azure'"},
      {"/intent/writer", 1, "intent.writer: must be a site's name or null"},
      {"/intent/epoch", -1, "intent.epoch: must be an integer from 0 to 18446744073709551615"},
      {"/intent/epoch", 1.5, "intent.epoch: must be an integer"},
      {"/blocked", 1, "blocked: must be true or false"},
      {"/plan/step", "flying", "plan.step: unknown value 'flying'"},
      {"/plan/step", nullptr, "plan.step: must be a string"},
      {"/plan/reason", 3, "plan.reason: must be a string"},
      {"/plan/history/1/step", 0, "plan.history[1].step: must be a string"},
      {"/plan/history/1", 0, "plan.history[1]: must be an object"},
      {"/plan/history", Json::object(), "plan.history: must be an array"},
      {"/plan/history/0/entered", "yesterday", "plan.history[0].entered: 'yesterday' is not"},
      {"/plan/estimated_loss_ms", 1e18, "plan.estimated_loss_ms: must be"},
      {"/plan/estimated_loss_ms", std::uint64_t{9'300'000'000'000},
       "plan.estimated_loss_ms: must be"},
      {"/plan/estimated_loss_ms", INT64_MIN, "plan.estimated_loss_ms: must be"},
      {"/proposal", "x", "proposal: must be an object"},
  };
  for (const auto& [pointer, value, message] : cases) {
    Json changed = encode_json(p, record());
    changed[Json::json_pointer(pointer)] = value;
    auto result = record_from_json(p, changed.dump());
    ASSERT_FALSE(result) << pointer;
    EXPECT_EQ(result.error().code, Code::kCorrupt);
    EXPECT_THAT(result.error().message, StartsWith(message));
  }
  Json report_json = encode_json(p, report());
  report_json["tiers_ready"] = 65536;
  EXPECT_EQ(agent_report_from_json(p, report_json.dump()).error().message,
            "tiers_ready: must be an integer from 0 to 65535");
  report_json = encode_json(p, report());
  report_json["database"].erase("epoch");
  EXPECT_EQ(agent_report_from_json(p, report_json.dump()).error().message,
            "database.epoch: missing");
  auto vantage = vantage_report_from_json(
      p,
      R"({"vantage":"aws","life":1,"sequence":1,"health":{"azure":"up"},"failures":{},"detail":""})");
  EXPECT_EQ(vantage.error().message, "health.azure: unknown site");
  EXPECT_EQ(record_from_json(p, "{").error().code, Code::kCorrupt);
  EXPECT_EQ(record_from_json(p, "[]").error().message, "JSON value must be an object");
}

TEST(ModelJson, IgnoresKeysOfANewerProcess) {
  const Platform p = platform();
  Json json = encode_json(p, record());
  json["mood"] = "sunny";
  json["plan"]["colour"] = 7;
  EXPECT_TRUE(record_from_json(p, json.dump()));
}

TEST(ModelJson, ReadsEveryEnumName) {
  const Platform p = platform();
  for (int i = 0; i <= static_cast<int>(PlanStep::kAborted); ++i) {
    Plan sample = plan();
    sample.step = static_cast<PlanStep>(i);
    EXPECT_EQ(plan_from_json(p, to_json_text(p, sample))->step, sample.step);
  }
  for (int i = 0; i <= static_cast<int>(GatewayMode::kRemote); ++i) {
    AgentReport sample = report();
    sample.gateway = static_cast<GatewayMode>(i);
    EXPECT_EQ(agent_report_from_json(p, to_json_text(p, sample))->gateway, sample.gateway);
  }
}

TEST(ParseWall, ReadsRfc3339) {
  EXPECT_EQ(*parse_wall("1970-01-01T00:00:00Z"), WallTime{});
  EXPECT_EQ(*parse_wall("1970-01-01T01:30:00.000000001+01:30"), WallTime(1ns));
  EXPECT_EQ(*parse_wall("1969-12-31T23:59:59.9999999999-00:00"), WallTime(-1ns));
  EXPECT_EQ(*parse_wall("2024-02-29 12:00:00.5z"), WallTime(1'709'208'000'500ms));
  EXPECT_EQ(*parse_wall(format_wall(kTime)), kTime);
}

TEST(ParseWall, RefusesTheRest) {
  for (const char* bad : {"", "2024", "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z",
                          "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z",
                          "2024-01-01T00:00:00", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00Zx",
                          "2024-01-01T00:00:00+1:00", "2024-01-01T00:00:00+24:00",
                          "1600-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "+024-01-01T00:00:00Z"}) {
    auto time = parse_wall(bad);
    ASSERT_FALSE(time) << bad;
    EXPECT_EQ(time.error().code, Code::kInvalid);
  }
}

}  // namespace
}  // namespace leeward
