// The revisions of an agent's tiers with real processes, over restarts of the agent. This
// executable is its own `leeward keep`.
#include "app/tier_deployer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <optional>
#include <set>

#include "base/file.h"
#include "config/config.h"
#include "image_rig.h"
#include "tier_rig.h"

namespace leeward::app {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class Deployer : public TierRig {
 protected:
  void SetUp() override {
    context.platform.deploy_from = RevisionSource::kOperator;
    context.platform.directory = directory.path();
    app().instances = 2;
    app().drain = 50ms;
    DeploySpec& spec = app().deploy.emplace();
    spec.surge = 1;
    spec.unavailable = 0;
    spec.watch = 2s;  // without a check an instance is ready from its start, however slow that is
    spec.ready_within = 5s;
  }
  void TearDown() override { end(); }

  // An agent's life.
  void begin(bool active = true) {
    compute::SupervisorOptions options;
    functions =
        std::make_unique<TierFunctions>(context.platform, context.site(), values(), context.state);
    auto opened = TierDeployer::open(loop, context, values(), *functions);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    auto tiers = (*opened)->tiers();
    ASSERT_TRUE(tiers.has_value()) << tiers.error().message;
    options.tiers = std::move(*tiers);
    options.on_rollout = [this](const std::string& name, compute::RolloutEvent event) {
      if (deployer) deployer->changed(name, event);
    };
    supervise(std::move(options));
    ASSERT_NE(supervisor, nullptr);
    deployer = std::move(*opened);
    deployer->attach(*supervisor);
    supervisor->set_active(active);
  }
  void end() {
    stop_supervising([this] { deployer.reset(); });
  }
  net::HttpResponse ask(const std::string& method, const std::string& path,
                        const Json& body = nullptr, const std::string& token = "operator-token") {
    std::optional<net::HttpResponse> answer;
    deployer->handle(request(method, path, body, token),
                     [&](net::HttpResponse r) { answer = std::move(r); });
    EXPECT_TRUE(answer || run_until(10s, [&] { return answer.has_value(); }));
    return answer.value_or(net::HttpResponse{});
  }
  Json deploy(const ProcessSpec& process) {
    auto answer =
        ask("POST", "/v1/deploy", {{"tier", "app"}, {"process", encode_process(process)}});
    EXPECT_EQ(answer.status, 200) << answer.body;
    return Json::parse(answer.body, nullptr, false);
  }
  Json tier() { return Json::parse(ask("GET", "/v1/deploy").body)["tiers"][0]; }
  bool settled(int revision) {
    Json now = tier();
    return now["phase"] == "settled" && now["current"] == revision &&
           supervisor->ready_instances().size() == 2;
  }

  std::unique_ptr<TierFunctions> functions;
  std::unique_ptr<TierDeployer> deployer;
};

TEST_F(Deployer, DeploysWhatItIsToldAndForgetsWhatIsOver) {
  begin();
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); }));
  EXPECT_EQ(deploy(program(kLoop))["begun"], false) << "it runs already";
  Json answer = deploy(program("while true; do sleep 0.05; done"));
  EXPECT_EQ(answer["begun"], true);
  EXPECT_EQ(answer["revision"], 2);
  ASSERT_TRUE(run_until(20s, [&] { return settled(2); }));
  EXPECT_EQ(tier()["previous"], 1);
  EXPECT_EQ(tier()["history"][0]["outcome"], "succeeded");
  deploy(program("while sleep 0.05; do :; done"));
  ASSERT_TRUE(run_until(20s, [&] { return settled(3); }));
  ASSERT_TRUE(run_until(10s, [&] { return tier()["revisions"].size() == 2; }))
      << "the running one and the one before";
  ASSERT_EQ(ask("POST", "/v1/deploy/rollback", {{"tier", "app"}}).status, 200);
  EXPECT_TRUE(run_until(20s, [&] { return settled(2); }));
}

TEST_F(Deployer, SaysWhyItTookARevisionBack) {
  begin();
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); }));
  deploy(program("exit 3"));
  EXPECT_EQ(
      ask("POST", "/v1/deploy", {{"tier", "app"}, {"process", encode_process(program("exit 4"))}})
          .status,
      409)
      << "one at a time";
  ASSERT_TRUE(run_until(20s, [&] { return tier()["failed"] == 2 && settled(1); }));
  Json now = tier();
  EXPECT_THAT(now["reason"].get<std::string>(),
              ::testing::ContainsRegex("exited by themselves [3-9] times"));
  EXPECT_EQ(now["history"].back()["outcome"], "rolled_back");
  EXPECT_EQ(deployer->successes(), 0u);
  EXPECT_EQ(deployer->rollbacks(), 1u);
  EXPECT_THAT(deployer->last(), HasSubstr("app, revision 2: its instances exited"));
}

TEST_F(Deployer, AChangedFileIsANewRevisionAtTheNextStart) {
  begin();
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); }));
  end();
  app().process = program("while true; do sleep 0.05; done");
  begin();
  EXPECT_EQ(tier()["goal"], 2);
  EXPECT_EQ(tier()["current"], 1) << "it begins with what had proved itself";
  ASSERT_TRUE(run_until(20s, [&] { return settled(2); }));
  end();
  app().process = program("exit 3");
  begin();
  ASSERT_TRUE(run_until(20s, [&] { return tier()["failed"] == 3 && settled(2); }));
  end();
  begin();
  EXPECT_EQ(tier()["goal"], 2) << "what has failed is not tried again by itself";
  EXPECT_TRUE(run_until(10s, [&] { return settled(2); }));
}

TEST_F(Deployer, GoesOnInTheMiddleAfterARestart) {
  begin();
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); }));
  deploy(program("while true; do sleep 0.05; done"));
  ASSERT_TRUE(run_until(20s, [&] { return tier()["instances"].size() > 2; }));
  end();
  begin();
  EXPECT_EQ(tier()["goal"], 2);
  EXPECT_EQ(tier()["current"], 1);
  EXPECT_TRUE(run_until(20s, [&] { return settled(2); }));
}

TEST_F(Deployer, AMemoryThatIsDamagedIsBegunAnew) {
  for (const char* text : {"{", "{\"tiers\": {\"app\": {}}}", "[]", "{\"tiers\": 1}"}) {
    ASSERT_TRUE(write_file_durably(directory.path() + "/deploy.json", text).has_value());
    begin();
    EXPECT_TRUE(run_until(10s, [&] { return settled(1); })) << text;
    end();
  }
}

TEST_F(Deployer, OneThatTheSettingsNoLongerAllowIsNotBegunWith) {
  begin();
  deploy(program("while true; do sleep 0.05; done"));
  ASSERT_TRUE(run_until(20s, [&] { return settled(2); }));
  end();
  auto text = read_file(directory.path() + "/deploy.json");
  ASSERT_TRUE(text.has_value());
  for (std::size_t at = 0; (at = text->find("{site}", at)) != std::string::npos;)
    text->replace(at, 6, "{nope}");
  ASSERT_TRUE(write_file_durably(directory.path() + "/deploy.json", *text).has_value());
  begin();
  EXPECT_TRUE(run_until(10s, [&] { return settled(1); }));
}

class DeployerOfAFile : public Deployer {
 protected:
  void SetUp() override {
    Deployer::SetUp();
    context.platform.deploy_from = RevisionSource::kFile;
    context.platform.tiers[0].standby = StandbyMode::kCold;  // nothing has to run of it
    context.config_path = directory.path() + "/leeward.yaml";
    write("hello");
  }
  // A file whose tier runs `sh -c TEXT`.
  void write(const std::string& text) {
    std::string file = config::starting_file("shop");
    auto change = [&](const std::string& from, const std::string& to) {
      const auto at = file.find(from);
      ASSERT_NE(at, std::string::npos) << from;
      file.replace(at, from.size(), to);
    };
    change("[./app, --listen, \"{address}:{port}\"]", "[sh, -c, " + text + "]");
    change(R"(    env:
      DATABASE: "{gateway.orders}"
      SESSIONS: "{gateway.sessions}"
)",
           "");
    ASSERT_TRUE(write_file_durably(context.config_path, file).has_value());
  }
  net::HttpResponse send(const ProcessSpec& process) {
    return ask("POST", "/v1/deploy", {{"tier", "app"}, {"process", encode_process(process)}});
  }
};

TEST_F(DeployerOfAFile, OnlyWhatTheFileSaysNowIsDeployed) {
  begin(false);
  const ProcessSpec said{{"sh", "-c", "hello"}, {}, "."};
  ProcessSpec other = said;
  other.command[2] = "curl somewhere | sh";
  auto refused = send(other);
  EXPECT_EQ(refused.status, 412);
  EXPECT_THAT(refused.body, HasSubstr(context.config_path));
  EXPECT_THAT(refused.body, HasSubstr("(agent.deploy_from: file)"));
  EXPECT_THAT(refused.body, HasSubstr("tier 'app' has another command; change that file first"));
  EXPECT_THAT(send({said.command, {{"LD_PRELOAD", "/tmp/x"}}, "."}).body, HasSubstr("another env"));
  EXPECT_THAT(send({said.command, {}, "/"}).body, HasSubstr("another directory"));
  EXPECT_EQ(tier()["goal"], 1);

  EXPECT_EQ(send(said).status, 200);
  EXPECT_EQ(tier()["goal"], 2);
  write("bye");
  EXPECT_EQ(send({{"sh", "-c", "bye"}, {}, "."}).status, 200) << "as it is now";
  EXPECT_EQ(tier()["goal"], 3);
  EXPECT_EQ(ask("POST", "/v1/deploy/rollback", {{"tier", "app"}}).status, 200);

  ASSERT_TRUE(write_file_durably(context.config_path, "[").has_value());
  EXPECT_THAT(send(said).body, HasSubstr("and that cannot be used: "));
}

class DeployerOfFunctions : public Deployer {
 protected:
  void SetUp() override {
    Deployer::SetUp();
    context.platform.sites[0].role = SiteRole::kStandby;
    context.platform.directory = directory.path();
    Tier& tier = context.platform.tiers[0];
    tier.functions.instance_port = 41000;
    tier.standby = StandbyMode::kFunctionsFirst;
    tier.process = in_directory(kLoop);
  }
  ProcessSpec in_directory(const std::string& text) {
    ProcessSpec process = program(text);
    process.directory = ".";
    return process;
  }
  // What the functions are told to run.
  std::string ordered() {
    auto orders = decode_orders(read_file(directory.path() + "/functions/app.json").value_or(""));
    EXPECT_TRUE(orders) << orders.error().message;
    return orders ? orders->process.command.at(2) : "";
  }
};

TEST_F(DeployerOfFunctions, FunctionsFollowTheGoalAtOnceWhateverTheInstancesDo) {
  begin(false);
  EXPECT_EQ(ordered(), kLoop);
  deploy(in_directory("exit 3"));
  EXPECT_EQ(ordered(), "exit 3");
  deploy(in_directory("exit 4"));
  EXPECT_EQ(ordered(), "exit 4") << "the newest, though the one before was never tried";
  end();
  begin(false);
  EXPECT_EQ(ordered(), "exit 4") << "after a restart as well";
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(20s, [&] { return tier()["failed"] == 3; }));
  EXPECT_EQ(ordered(), kLoop) << "back, because its instances crash";
  EXPECT_TRUE(run_until(20s, [&] { return settled(1); }));
}

TEST_F(DeployerOfFunctions, WithoutInstancesARevisionIsDoneAfterTheWatch) {
  context.platform.tiers[0].standby = StandbyMode::kFunctions;
  begin(false);
  deploy(in_directory("exit 3"));
  EXPECT_EQ(ordered(), "exit 3");
  auto done = [&](int revision) {
    return tier()["phase"] == "settled" && tier()["current"] == revision;
  };
  ASSERT_TRUE(run_until(20s, [&] { return done(2); })) << "nothing of it runs, so nothing fails";
  EXPECT_EQ(tier()["instances"].size(), 0u);
  ASSERT_EQ(ask("POST", "/v1/deploy/rollback", {{"tier", "app"}}).status, 200);
  EXPECT_EQ(ordered(), kLoop);
  ASSERT_TRUE(run_until(20s, [&] { return done(1); }));
  ProcessSpec wide = program(kLoop);  // without a directory
  EXPECT_EQ(ask("POST", "/v1/deploy", {{"tier", "app"}, {"process", encode_process(wide)}}).status,
            400);
  EXPECT_EQ(ordered(), kLoop);
}

// Images of busybox, which runs nothing but this test's scripts.
class ImageDeployer : public Deployer {
 protected:
  void SetUp() override {
    Deployer::SetUp();
    if (::geteuid() != 0)
      GTEST_SKIP() << "runs as root; tests/unit/compute/own_root_test.cc does not";
    app().process = image("one");
  }
  // Written below the configuration's directory, as PATH.
  ProcessSpec image(const std::string& path, const std::string& text = "one") {
    std::filesystem::remove_all(directory.path() + "/" + path);
    compute::LayoutDirectory layout(directory.path() + "/" + path);
    auto busybox = read_file("/bin/busybox");
    EXPECT_TRUE(busybox.has_value()) << "install busybox-static (./dev setup)";
    layout.layer({{"bin/sh", '0', busybox.value_or(""), "", 0755}, {"text", '0', text}});
    layout.config(R"("Cmd":["/bin/sh","-c","while :; do sleep 0.05; done"],"User":"7001:7001")");
    digest = layout.write_image();
    ProcessSpec process;
    process.image = path;
    process.env["MARKER"] = marker.text();
    return process;
  }
  std::set<std::string> stored() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path() + "/images"))
      names.insert(entry.path().filename().string());
    return names;
  }
  std::string digest;  // of the image written last
};

TEST_F(ImageDeployer, UnpacksAtTheFirstStartAndInTheBackgroundLater) {
  begin();
  const std::string first = digest;
  EXPECT_EQ(stored(), std::set{first});
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); }));
  EXPECT_EQ(deploy(app().process)["begun"], false);
  ProcessSpec other = image("two", "two");
  Json answer = deploy(other);
  EXPECT_EQ(answer["begun"], true);
  EXPECT_EQ(answer["revision"], 2);
  EXPECT_EQ(tier()["phase"], "unpacking");
  EXPECT_EQ(deploy(other)["begun"], false) << "it is at it";
  EXPECT_EQ(
      ask("POST", "/v1/deploy", {{"tier", "app"}, {"process", encode_process(image("three", "3"))}})
          .status,
      409);
  ASSERT_TRUE(run_until(20s, [&] { return settled(2); }));
  EXPECT_EQ(tier()["revisions"][1]["image"], "two");
  image("two", "again");
  EXPECT_EQ(deploy(other)["revision"], 3) << "another image under the name";
  ASSERT_TRUE(run_until(20s, [&] { return settled(3); }));
  EXPECT_TRUE(run_until(10s, [&] { return stored().size() == 2 && !stored().contains(first); }));
}

TEST_F(ImageDeployer, TakesBackWhatCannotBeUnpacked) {
  begin();
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); }));
  ProcessSpec broken = image("broken", "broken");
  for (const auto& blob :
       std::filesystem::directory_iterator(directory.path() + "/broken/blobs/sha256"))
    if (blob.file_size() > 100'000) std::filesystem::resize_file(blob.path(), blob.file_size() - 1);
  EXPECT_EQ(deploy(broken)["revision"], 2);
  ASSERT_TRUE(run_until(20s, [&] { return tier()["failed"] == 2 && settled(1); }));
  EXPECT_THAT(tier()["reason"].get<std::string>(),
              HasSubstr("image " + directory.path() + "/broken"));
  EXPECT_EQ(tier()["history"].back()["outcome"], "rolled_back");
  EXPECT_EQ(deployer->rollbacks(), 1u);
  broken.image = "nowhere";
  auto none = ask("POST", "/v1/deploy", {{"tier", "app"}, {"process", encode_process(broken)}});
  EXPECT_EQ(none.status, 404);
  EXPECT_EQ(deploy(image("two", "two"))["revision"], 3) << "numbers are not used again";
  ASSERT_EQ(ask("POST", "/v1/deploy/rollback", {{"tier", "app"}}).status, 200);
  EXPECT_EQ(tier()["failed"], 3);
  EXPECT_TRUE(run_until(10s, [&] { return settled(1); }));
}

TEST_F(ImageDeployer, StartsAgainWithoutTheFileAndFollowsAnother) {
  begin();
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); }));
  end();
  std::filesystem::remove_all(directory.path() + "/one");
  begin();
  ASSERT_TRUE(run_until(10s, [&] { return settled(1); })) << "what is unpacked is enough";
  end();
  app().process = image("two", "two");
  begin();
  EXPECT_EQ(tier()["phase"], "unpacking");
  EXPECT_EQ(tier()["current"], 1) << "it begins with what had proved itself";
  ASSERT_TRUE(run_until(20s, [&] { return settled(2); }));
  end();
  begin();
  EXPECT_EQ(tier()["goal"], 2);
  EXPECT_TRUE(run_until(10s, [&] { return settled(2); }));
}

TEST_F(ImageDeployer, AFirstStartNeedsItsImage) {
  app().process.image = "nowhere";
  TierFunctions none(context.platform, context.site(), values(), context.state);
  auto opened = TierDeployer::open(loop, context, values(), none);
  ASSERT_TRUE(opened.has_value());
  auto tiers = (*opened)->tiers();
  ASSERT_FALSE(tiers.has_value());
  EXPECT_THAT(tiers.error().message,
              HasSubstr("tier app: image " + directory.path() + "/nowhere: "));
}

TEST_F(Deployer, RefusesWhatIsNoRevision) {
  begin();
  EXPECT_EQ(ask("GET", "/v1/deploy", nullptr, "agent-token").status, 401);
  EXPECT_EQ(ask("POST", "/v1/deploy", Json::array()).status, 400);
  EXPECT_EQ(ask("POST", "/v1/deploy", {{"tier", "web"}}).status, 404);
  EXPECT_EQ(ask("PUT", "/v1/deploy").status, 404);
  EXPECT_EQ(ask("POST", "/v1/deploy/rollback", {{"tier", "app"}}).status, 409);
  auto refused = [&](Json process) {
    return ask("POST", "/v1/deploy", {{"tier", "app"}, {"process", std::move(process)}}).status;
  };
  EXPECT_EQ(refused(nullptr), 400);
  EXPECT_EQ(refused({{"command", Json::array()}, {"env", Json::object()}, {"directory", ""}}), 400);
  EXPECT_EQ(refused({{"command", {"a"}}, {"env", {{"A=B", "c"}}}, {"directory", ""}}), 400);
  EXPECT_EQ(refused({{"command", {"a"}}, {"env", {{"A", 1}}}, {"directory", ""}}), 400);
  EXPECT_EQ(
      refused({{"command", {std::string("a\0b", 3)}}, {"env", Json::object()}, {"directory", ""}}),
      400);
  EXPECT_EQ(refused({{"command", {"{nope}"}}, {"env", Json::object()}, {"directory", ""}}), 400);
  EXPECT_EQ(tier()["goal"], 1);
}

}  // namespace
}  // namespace leeward::app

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "keep")
    return leeward::compute::keeper_main(argc, argv);
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
