// The autoscaler of an agent with real processes, its metric from a real endpoint, and the feed
// that an edge follows it by. This executable is its own `leeward keep`.
#include "app/tier_scaler.h"

#include <gmock/gmock.h>

#include "app/instance_feed.h"
#include "app/scaling_json.h"
#include "tier_rig.h"

namespace leeward::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class TierScaling : public TierRig {
 protected:
  void SetUp() override {
    jobs_server = serve([this](const net::HttpRequest&) {
      net::HttpResponse response;
      response.content_type = "text/plain";
      response.body =
          "# HELP jobs_waiting Jobs.\njobs_waiting{queue=\"mail\"} " + std::to_string(jobs) + "\n";
      if (silent) response.status = 503;
      return response;
    });
    app().instances = 1;
    app().drain = 100ms;
    ScalingSpec& spec = app().scaling.emplace();
    spec.max = 4;
    spec.interval = 200ms;
    spec.warm_up = 0s;
    spec.stabilisation = 1s;
    spec.scale_in_cooldown = 200ms;
    spec.rate_period = 100ms;
    ScalingPolicy queue;
    queue.name = "queue";
    queue.metric.source = ScalingSource::kPrometheus;
    queue.metric.series = "jobs_waiting{queue=\"mail\"}";
    queue.metric.address = to_string(jobs_server->local());
    queue.total = true;
    queue.target = 10;
    spec.policies = {queue};
  }
  void TearDown() override {
    stop_supervising([this] { scaler.reset(); });
  }

  std::unique_ptr<net::HttpServer> serve(
      std::function<net::HttpResponse(const net::HttpRequest&)> answer) {
    auto server = net::HttpServer::start(
        loop, {"127.0.0.1", 0},
        [answer = std::move(answer)](const net::HttpRequest& request, net::Responder respond) {
          respond(answer(request));
        });
    EXPECT_TRUE(server.has_value());
    return std::move(*server);
  }
  void start() {
    compute::SupervisorOptions options;
    options.on_change = [this] {
      if (scaler) scaler->instances_changed();
    };
    supervise(std::move(options));
    ASSERT_NE(supervisor, nullptr);
    scaler = std::make_unique<TierScaler>(loop, http, context, *supervisor, registry);
  }
  void serve_from(Epoch epoch) {
    scaler->follow(true, epoch);
    supervisor->set_active(true);
  }
  // The answer to one request, which the scaler may give later.
  std::optional<net::HttpResponse> ask(const std::string& method, const std::string& path,
                                       std::map<std::string, std::string> query = {},
                                       const Json& body = nullptr,
                                       const std::string& token = "operator-token") {
    net::HttpRequest asked = request(method, path, body, token);
    asked.query = std::move(query);
    std::optional<net::HttpResponse> answer;
    scaler->handle(std::move(asked), [&](net::HttpResponse r) { answer = std::move(r); });
    run_until(10s, [&] { return answer.has_value(); });
    return answer;
  }
  Json json_of(const std::optional<net::HttpResponse>& response) {
    EXPECT_TRUE(response.has_value());
    return response ? Json::parse(response->body, nullptr, false) : Json();
  }
  bool ready(int count) { return supervisor->ready_count() == count; }

  Registry registry;
  net::HttpClient http{loop};
  int jobs = 5;
  bool silent = false;
  std::unique_ptr<net::HttpServer> jobs_server;
  std::unique_ptr<TierScaler> scaler;
};

TEST_F(TierScaling, RealProcessesFollowTheLoadOutAndIn) {
  start();
  serve_from(Epoch{1});
  ASSERT_TRUE(run_until(10s, [&] { return ready(1); }));
  jobs = 37;
  ASSERT_TRUE(run_until(20s, [&] { return ready(4); }));
  EXPECT_TRUE(run_until(10s, [&] { return marker.processes().size() >= 4; }));
  jobs = 12;
  ASSERT_TRUE(run_until(20s, [&] { return ready(2); }));
  EXPECT_TRUE(run_until(20s, [&] { return supervisor->wanted_count() == 2; }));

  Json history = json_of(ask("GET", "/v1/scale/history", {{"tier", "app"}}));
  bool out = false;
  bool in = false;
  for (const Json& d : history["decisions"]) {
    out |= d["before"] == 1 && d["desired"] == 4 && d["policies"][0]["value"] == 37.0;
    in |= d["desired"] == 2 && d["before"] > 2;
    EXPECT_FALSE(d["text"].get<std::string>().empty());
  }
  EXPECT_TRUE(out) << history.dump(1);
  EXPECT_TRUE(in) << history.dump(1);
  EXPECT_EQ(json_of(ask("GET", "/v1/scale"))["tiers"][0]["peak"], 4);
}

TEST_F(TierScaling, AMetricThatIsAwayChangesNothing) {
  start();
  jobs = 30;
  serve_from(Epoch{1});
  ASSERT_TRUE(run_until(20s, [&] { return ready(3); }));
  silent = true;
  jobs = 0;
  BootTime begun = BootClock::now();
  bool fewer = run_until(3s, [&] { return !ready(3); });
  EXPECT_FALSE(fewer);
  EXPECT_GE(BootClock::now() - begun, 3s) << "three times the stabilisation window";
  Json history = json_of(ask("GET", "/v1/scale/history", {{"tier", "app"}}));
  EXPECT_EQ(history["decisions"].back()["policies"][0]["why"], "no data");
  silent = false;
  EXPECT_TRUE(run_until(20s, [&] { return ready(1); }));
}

TEST_F(TierScaling, AnOperatorSetsANumberAndProtectsAnInstance) {
  start();
  serve_from(Epoch{1});
  ASSERT_TRUE(run_until(10s, [&] { return ready(1); }));
  EXPECT_EQ(
      ask("POST", "/v1/scale/set", {}, {{"tier", "app"}, {"min", 3}, {"max", 3}, {"for_s", 60}})
          ->status,
      200);
  ASSERT_TRUE(run_until(20s, [&] { return ready(3); }));
  EXPECT_EQ(
      ask("POST", "/v1/scale/protect", {}, {{"tier", "app"}, {"number", 2}, {"on", true}})->status,
      200);
  EXPECT_EQ(ask("POST", "/v1/scale/set", {}, {{"tier", "app"}, {"clear", true}})->status, 200);
  ASSERT_TRUE(run_until(20s, [&] { return ready(1); }));
  EXPECT_THAT(supervisor->ready_instances(), ElementsAre(std::pair<std::string, int>("app", 2)));
  for (const Json& bad :
       {Json{{"tier", "web"}, {"min", 1}, {"for_s", 60}}, Json{{"tier", "app"}},
        Json{{"tier", "app"}, {"min", 9}, {"for_s", 60}}, Json{{"tier", "app"}, {"min", 2}},
        Json{{"tier", "app"}, {"min", 3}, {"max", 2}, {"for_s", 60}}, Json::array()})
    EXPECT_GE(ask("POST", "/v1/scale/set", {}, bad)->status, 400) << bad;
  EXPECT_EQ(ask("GET", "/v1/scale", {}, nullptr, "agent-token")->status, 401);
}

TEST_F(TierScaling, AFailoverBeginsWithWhatTheOtherSiteNeeded) {
  Site other;
  other.name = "aws";
  other.role = SiteRole::kStandby;
  auto peer = serve([](const net::HttpRequest&) {
    net::HttpResponse response;
    response.body = R"({"site":"aws","serving":true,"tiers":{"app":{"ready":[0],"peak":3}}})";
    return response;
  });
  other.address = peer->local().host;
  context.platform.agent_port = peer->local().port;
  context.platform.sites.push_back(other);
  context.platform.tiers[0].standby = StandbyMode::kCold;
  start();
  supervisor->set_active(false);
  Json peak;
  for (BootTime end = BootClock::now() + 10s; peak != 3 && BootClock::now() < end;)
    peak = json_of(ask("GET", "/v1/scale"))["tiers"][0]["other_site_peak"];
  ASSERT_EQ(peak, 3);
  EXPECT_TRUE(marker.processes().empty()) << "a cold standby runs nothing";
  jobs = 0;
  serve_from(Epoch{2});
  EXPECT_EQ(supervisor->wanted_count(), 3) << "at once, before any load is measured";
  ASSERT_TRUE(run_until(20s, [&] { return ready(3); }));
  EXPECT_FALSE(run_until(2500ms, [&] { return !ready(3); })) << "frozen until the hold-down ends";
  EXPECT_FALSE(json_of(ask("GET", "/v1/scale"))["tiers"][0]["no_scale_in_until"].is_null());
}

TEST_F(TierScaling, ARestartOfTheAgentGoesOnWhereItWas) {
  start();
  jobs = 30;
  serve_from(Epoch{7});
  ASSERT_TRUE(run_until(20s, [&] { return ready(3); }));
  TearDown();
  jobs = 30;
  start();
  serve_from(Epoch{7});
  EXPECT_EQ(supervisor->wanted_count(), 3) << "the same epoch: no takeover, no beginning";
}

TEST_F(TierScaling, AMemoryThatIsBrokenIsBegunAnew) {
  ASSERT_TRUE(write_file_durably(directory.path() + "/scaling.json", "{\"epoch\":7,").has_value());
  start();
  serve_from(Epoch{7});
  EXPECT_TRUE(run_until(10s, [&] { return ready(1); }));
}

TEST_F(TierScaling, AnEdgeHearsAtOnceWhichInstancesAreReady) {
  start();
  auto agent = net::HttpServer::start(loop, {"127.0.0.1", 0},
                                      [this](net::HttpRequest request, net::Responder respond) {
                                        scaler->handle(std::move(request), std::move(respond));
                                      });
  ASSERT_TRUE(agent.has_value());
  context.platform.agent_port = (*agent)->local().port;
  std::vector<bool> heard;
  BootTime heard_at{};
  InstanceFeed feed(loop, http, context,
                    [&](SiteId, const Tier&, const std::vector<bool>& ready_now) {
                      heard = ready_now;
                      heard_at = BootClock::now();
                    });
  EXPECT_THAT(heard, ElementsAre(true, false, false, false)) << "before anybody has answered";
  ASSERT_TRUE(run_until(10s, [&] { return heard == std::vector<bool>(4, false); }));
  serve_from(Epoch{1});
  ASSERT_TRUE(run_until(10s, [&] {
    return heard == std::vector<bool>({true, false, false, false});
  }));
  ASSERT_EQ(ask("POST", "/v1/scale/set", {}, {{"tier", "app"}, {"min", 2}, {"for_s", 60}})->status,
            200);
  ASSERT_TRUE(run_until(20s, [&] {
    return heard == std::vector<bool>({true, true, false, false});
  }));
  // It leaves the set when it begins to drain, not when it is gone.
  ASSERT_EQ(ask("POST", "/v1/scale/set", {}, {{"tier", "app"}, {"max", 1}, {"for_s", 60}})->status,
            200);
  ASSERT_TRUE(run_until(10s, [&] { return ready(1); }));
  BootTime left = BootClock::now();
  ASSERT_TRUE(run_until(10s, [&] { return std::count(heard.begin(), heard.end(), true) == 1; }));
  EXPECT_LE(heard_at - left, 1s) << "by the long poll, not by its end";
  // Without its agent the edge goes on with the last answer.
  agent->reset();
  EXPECT_FALSE(run_until(1s, [&] { return std::count(heard.begin(), heard.end(), true) != 1; }));
}

TEST(ScalingJson, MemoryComesBackAsItWas) {
  compute::AutoscalerMemory memory;
  memory.desired = 5;
  memory.bounds = compute::OperatorBounds{2, std::nullopt, WallTime{1'800'000'000s}};
  memory.frozen_until = WallTime{1'800'000'100s};
  memory.failover_floor = 4;
  memory.peaks = {{490'000, 7}};
  memory.forecast.needs = {{489'000, 3}, {489'001, 4}};
  memory.forecast.outcomes = {{489'001, 3, 4}};
  auto back = decode_scaling(encode_scaling(memory));
  ASSERT_TRUE(back.has_value()) << back.error().message;
  EXPECT_EQ(back->desired, 5);
  EXPECT_EQ(back->bounds->min, 2);
  EXPECT_FALSE(back->bounds->max.has_value());
  EXPECT_EQ(back->bounds->until, memory.bounds->until);
  EXPECT_EQ(back->frozen_until, memory.frozen_until);
  EXPECT_EQ(back->peaks, memory.peaks);
  EXPECT_EQ(back->forecast.needs, memory.forecast.needs);
  EXPECT_EQ(back->forecast.outcomes[0].actual, 4);
}

TEST(ScalingJson, NumbersThatCannotBeAreRefused) {
  Json good = encode_scaling({});
  for (auto [key, value] : {std::pair<std::string, Json>{"desired", -1},
                            {"desired", "3"},
                            {"peaks", {{1, 2, 3}}},
                            {"needs", 5},
                            {"outcomes", {{1, 2}}},
                            {"frozen_until", 9'000'000'000'000'000'000},
                            {"bounds", {{"min", 1}}}}) {
    Json bad = good;
    bad[key] = value;
    EXPECT_FALSE(decode_scaling(bad).has_value()) << key << " " << value;
  }
  EXPECT_FALSE(decode_scaling(Json::array()).has_value());
}

}  // namespace
}  // namespace leeward::app

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "keep")
    return leeward::compute::keeper_main(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
