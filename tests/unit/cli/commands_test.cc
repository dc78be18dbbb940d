// Whole command lines against an HTTP server that answers as control and agents do.
#include "cli/internal/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "config/config.h"
#include "net/http.h"

namespace leeward::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A server whose answers a test sets by "METHOD /path"; it remembers what it was asked.
class Server {
 public:
  using Answer = std::function<net::HttpResponse(const net::HttpRequest&)>;

  explicit Server(const Endpoint& listen) {
    auto started = net::HttpServer::start(
        loop_, listen,
        [this](net::HttpRequest request, net::Responder respond) { respond(answer(request)); });
    EXPECT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
    endpoint_ = server_->local();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Server() {
    loop_.stop();
    thread_.join();
  }

  Endpoint endpoint() const { return endpoint_; }

  void on(const std::string& what, Answer answer) {
    std::lock_guard lock(mutex_);
    answers_[what] = std::move(answer);
  }
  void on(const std::string& what, const std::string& body) {
    on(what, [body](const net::HttpRequest&) {
      net::HttpResponse response;
      response.body = body;
      return response;
    });
  }
  void refuse(const std::string& what, Code code, const std::string& message) {
    on(what, [=](const net::HttpRequest&) { return net::error_response(Error{code, message}); });
  }

  std::vector<net::HttpRequest> asked() const {
    std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  net::HttpResponse answer(const net::HttpRequest& request) {
    std::lock_guard lock(mutex_);
    asked_.push_back(request);
    if (request.header("Authorization") != "Bearer t0ken")
      return net::error_response(Error{Code::kUnauthorized, "wrong token"});
    auto found = answers_.find(request.method + " " + request.path);
    if (found == answers_.end())
      return net::error_response(Error{Code::kNotFound, "no such thing"});
    return found->second(request);
  }

  net::EventLoop loop_;
  std::unique_ptr<net::HttpServer> server_;
  Endpoint endpoint_;
  mutable std::mutex mutex_;
  std::map<std::string, Answer> answers_;
  std::vector<net::HttpRequest> asked_;
  std::thread thread_;
};

class Command : public ::testing::Test {
 protected:
  Command() {
    std::string pattern = ::testing::TempDir() + "cli-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    for (const char* name : {"LEEWARD_CONFIG", "LEEWARD_ADDRESS", "LEEWARD_TOKEN", "LEEWARD_SITE"})
      unsetenv(name);
  }
  ~Command() override { std::filesystem::remove_all(directory_); }

  // A configuration whose sites are 127.0.1.1, 127.0.2.1 and 127.0.3.1.
  std::string write_config(const Endpoint& control, int agent_port) {
    std::string text = config::starting_file("shop");
    auto replace = [&](const std::string& from, const std::string& to) {
      for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
        text.replace(at, from.size(), to);
    };
    replace("10.77.3.1:7400", to_string(control));
    replace("10.77.", "127.0.");
    replace("port: 7401", "port: " + std::to_string(agent_port));
    std::string path = directory_ + "/leeward.yaml";
    EXPECT_TRUE(write_file_durably(path, text));
    EXPECT_TRUE(make_directories(directory_ + "/secrets"));
    EXPECT_TRUE(write_file_durably(directory_ + "/secrets/operator.token", "t0ken\n", 0600));
    return path;
  }

  int run(std::vector<std::string> args, const std::string& typed = "", bool interactive = false) {
    std::istringstream in(typed);
    std::ostringstream out, err;
    Io io{in, out, err, interactive, false};
    int status = run_with(std::move(args), roles_, io);
    out_ = out.str();
    err_ = err.str();
    return status;
  }

  std::string directory_;
  Roles roles_;
  std::string out_;
  std::string err_;
};

TEST_F(Command, HelpTeachesOnStdout) {
  EXPECT_EQ(run({"--help"}), 0);
  for (const char* name :
       {"up", "control", "agent", "dns", "status", "validate", "schema", "init", "events",
        "failover", "switchover", "failback", "maintenance", "ledger", "version"}) {
    EXPECT_THAT(out_, HasSubstr(std::string("\n  ") + name + " "));
  }
  EXPECT_EQ(run({"failover", "--help"}), 0);
  EXPECT_THAT(out_, AllOf(HasSubstr("Examples:"), HasSubstr("--accept-loss"),
                          HasSubstr("5 refused by a safety rule")));
  EXPECT_EQ(run({"ledger", "replay", "--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("--force"));
}

TEST_F(Command, MisuseIsUsage) {
  EXPECT_EQ(run({}), 2);
  EXPECT_EQ(run({"fly"}), 2);
  EXPECT_THAT(err_, HasSubstr("there is no command 'fly'"));
  EXPECT_EQ(run({"status", "--nonsense"}), 2);
  EXPECT_EQ(run({"maintenance", "maybe"}), 2);
  EXPECT_EQ(run({"ledger"}), 2);
  EXPECT_EQ(run({"up"}), 2) << "--site is missing";
  EXPECT_EQ(run({"-o", "xml", "status"}), 2);
  EXPECT_EQ(run({"switchover", "--yes", "--timeout", "soon"}), 2);
  EXPECT_THAT(out_, IsEmpty());
  EXPECT_THAT(err_, HasSubstr("soon"));
}

TEST_F(Command, VersionAndSchemaNeedNothing) {
  EXPECT_EQ(run({"version"}), 0);
  EXPECT_THAT(out_, StartsWith("leeward "));
  EXPECT_EQ(run({"schema"}), 0);
  EXPECT_EQ(out_, config::json_schema());
  EXPECT_EQ(run({"schema", "--markdown"}), 0);
  EXPECT_EQ(out_, config::markdown_reference());
}

TEST_F(Command, RolesGetTheirOptions) {
  RoleOptions got;
  roles_.agent = [&](const RoleOptions& options) {
    got = options;
    return 42;
  };
  EXPECT_EQ(run({"agent", "--site", "gcp", "-c", "/x.yaml", "--log-level", "warn", "--log-format",
                 "json"}),
            42);
  EXPECT_EQ(got.site, "gcp");
  EXPECT_EQ(got.config_path, "/x.yaml");
  EXPECT_EQ(got.log_level, LogLevel::kWarn);
  EXPECT_EQ(got.log_format, LogFormat::kJson);
  setenv("LEEWARD_SITE", "aws", 1);
  setenv("LEEWARD_CONFIG", "/y.yaml", 1);
  EXPECT_EQ(run({"agent"}), 42);
  EXPECT_EQ(got.site, "aws");
  EXPECT_EQ(got.config_path, "/y.yaml");
}

TEST_F(Command, InitWritesAGoodPlatformAndNeverOverwritesIt) {
  std::string file = directory_ + "/new/leeward.yaml";
  ASSERT_EQ(run({"init", "--name", "clinic", file}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr(file));
  EXPECT_EQ(run({"validate", file}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("is good: platform clinic, 3 sites"));

  std::set<std::string> tokens;
  for (const char* name : {"agent.token", "operator.token", "db-admin", "db-replication"}) {
    auto value = config::resolve_secret({SecretRef::Kind::kFile, std::string("secrets/") + name},
                                        directory_ + "/new");
    ASSERT_TRUE(value) << value.error().message;
    EXPECT_EQ(value->size(), 64u);
    tokens.insert(*value);
  }
  EXPECT_EQ(tokens.size(), 4u) << "each secret is a different one";

  EXPECT_EQ(run({"init", file}), 1);
  EXPECT_THAT(err_, HasSubstr("exists already; nothing was written"));
  EXPECT_THAT(*read_file(file), HasSubstr("name: clinic"));
  EXPECT_EQ(run({"init", "--force", "--name", "bank", file}), 0);
  EXPECT_THAT(*read_file(file), HasSubstr("name: bank"));
  EXPECT_EQ(run({"init", "--name", "Bad Name", directory_ + "/other.yaml"}), 2);
}

TEST_F(Command, ValidatePrintsEveryProblem) {
  std::string file = directory_ + "/bad.yaml";
  std::ofstream(file) << "version: 2\nname: X\n";
  EXPECT_EQ(run({"validate", file}), 2);
  EXPECT_THAT(out_, IsEmpty());
  EXPECT_THAT(err_, AllOf(HasSubstr(file + ":1:10: version"), HasSubstr(file + ":2:7: name"),
                          HasSubstr("'sites' is missing")));
  EXPECT_EQ(run({"validate", file, "-o", "json"}), 2);
  Json answer = Json::parse(out_);
  EXPECT_EQ(answer["ok"], false);
  EXPECT_EQ(answer["problems"][0]["line"], 1);
}

TEST_F(Command, CostOfTheStandbyNeedsOnlyThePlatformsFile) {
  std::string config = write_config({"127.0.0.1", 1}, 7401);
  std::string plot = directory_ + "/standby.svg";
  ASSERT_EQ(run({"-c", config, "cost", "--plot", plot}), 0) << err_;
  EXPECT_THAT(out_,
              AllOf(HasSubstr("disk replication"), HasSubstr("warm instances"),
                    HasSubstr("functions"), HasSubstr("active-active"), HasSubstr("assumed")));
  EXPECT_THAT(*read_file(plot), AllOf(HasSubstr("<svg"), HasSubstr("</svg>")));
  ASSERT_EQ(run({"-c", config, "cost", "-o", "json"}), 0) << err_;
  Json answer = Json::parse(out_);
  ASSERT_EQ(answer["options"].size(), 4u);
  double sum = 0;
  for (const Json& line : answer["options"][1]["lines"]) sum += line["amount"].get<double>();
  EXPECT_DOUBLE_EQ(answer["options"][1]["total"].get<double>(), sum);
  EXPECT_LT(answer["options"][2]["total"], answer["options"][1]["total"]);

  // The shipped file, edited, is a file of one's own.
  ASSERT_EQ(run({"cost", "--print-prices"}), 0);
  std::string prices = directory_ + "/prices.yaml";
  std::ofstream(prices) << out_;
  EXPECT_EQ(run({"-c", config, "cost", "--prices", prices}), 0) << err_;
  std::ofstream(prices) << "prices: { instance_our: 1 }\n";
  EXPECT_EQ(run({"-c", config, "cost", "--prices", prices}), 2);
  EXPECT_THAT(err_, HasSubstr(prices + ":1:11: unknown key 'instance_our'"));
}

TEST_F(Command, CostTakesTheTimeToRecoverFromTheDemosReports) {
  std::string config = write_config({"127.0.0.1", 1}, 7401);
  auto report = [&](const char* name, const Json& content) {
    std::string path = directory_ + "/" + name;
    std::ofstream(path) << content.dump();
    return path;
  };
  auto rto = [&](std::size_t option) { return Json::parse(out_)["options"][option]; };
  std::string warm = report(
      "warm.json", {{"scenario", "site-kill"}, {"compute", "instances"}, {"rto_seconds", 6.25}});
  std::string worse = report(
      "worse.json", {{"scenario", "partition"}, {"compute", "instances"}, {"rto_seconds", 7.5}});
  std::string cold = report(
      "cold.json", {{"scenario", "site-kill"}, {"compute", "functions"}, {"rto_seconds", 5.75}});
  ASSERT_EQ(run({"-c", config, "cost", "-o", "json", "--measured", worse, "--measured", warm,
                 "--measured", cold}),
            0)
      << err_;
  EXPECT_EQ(rto(1)["rto_seconds"], 7.5);
  EXPECT_EQ(rto(1)["rto_measured"], true);
  EXPECT_THAT(rto(1)["rto_source"].get<std::string>(),
              AllOf(HasSubstr("partition"), HasSubstr(worse)));
  EXPECT_EQ(rto(2)["rto_seconds"], 5.75);
  EXPECT_EQ(rto(2)["rto_measured"], true);
  EXPECT_EQ(rto(3)["rto_measured"], false) << "nobody measured that";

  for (const Json& bad :
       {Json(nullptr), Json::array(), Json{{"compute", "instances"}, {"rto_seconds", 1}},
        Json{{"scenario", "x"}, {"compute", "ships"}, {"rto_seconds", 1}},
        Json{{"scenario", "control-kill"}, {"compute", "instances"}, {"rto_seconds", nullptr}},
        Json{{"scenario", "x"}, {"compute", "functions"}, {"rto_seconds", -1}}}) {
    EXPECT_EQ(run({"-c", config, "cost", "--measured", report("bad.json", bad)}), 2) << bad.dump();
    EXPECT_THAT(err_, HasSubstr("bad.json: "));
  }
  EXPECT_NE(run({"-c", config, "cost", "--measured", directory_ + "/none.json"}), 0);
}

TEST_F(Command, DeployGoesFirstToTheSiteThatServesAndStopsWhenItIsRolledBack) {
  Server gcp({"127.0.1.1", 0});
  Server aws({"127.0.2.1", gcp.endpoint().port});
  std::string config = write_config({"127.0.0.1", 1}, gcp.endpoint().port);
  auto status = [](const char* phase, int current) {
    return Json{{"site", "x"},
                {"tiers",
                 {{{"tier", "app"},
                   {"phase", phase},
                   {"active", true},
                   {"current", current},
                   {"goal", current},
                   {"reason", "instance 1 was not ready within 5s"}}}}}
        .dump();
  };
  gcp.on("GET /v1/scale", Json{{"site", "gcp"}, {"serving", false}}.dump());
  aws.on("GET /v1/scale", Json{{"site", "aws"}, {"serving", true}}.dump());
  Json begun{{"revision", 4}, {"begun", true}};
  gcp.on("POST /v1/deploy", begun.dump());
  aws.on("POST /v1/deploy", begun.dump());
  gcp.on("GET /v1/deploy", status("settled", 4));
  aws.on("GET /v1/deploy", status("keeping", 4));
  ASSERT_EQ(run({"-c", config, "deploy", "start", "app"}), 0) << err_;
  EXPECT_EQ(out_, "site aws: app runs revision 4\nsite gcp: app runs revision 4\n");

  aws.on("GET /v1/deploy", status("settled", 3));
  EXPECT_EQ(run({"-c", config, "deploy", "start", "app", "-o", "json"}), 4);
  Json answer = Json::parse(out_);
  ASSERT_EQ(answer["sites"].size(), 1u) << "the other one is left alone";
  EXPECT_EQ(answer["sites"][0]["outcome"], "rolled_back");
  EXPECT_EQ(answer["sites"][0]["reason"], "instance 1 was not ready within 5s");

  EXPECT_EQ(run({"-c", config, "deploy", "start", "app", "--site", "gcp", "--no-wait"}), 0);
  EXPECT_EQ(out_, "site gcp: app begins with revision 4\n");
  aws.on("GET /v1/deploy", status("undoing", 3));
  EXPECT_EQ(run({"-c", config, "deploy", "status"}), 4) << "one is being rolled back";
  EXPECT_NE(run({"-c", config, "deploy", "start", "appp"}), 0);
  EXPECT_THAT(err_, HasSubstr("did you mean 'app'?"));
  EXPECT_EQ(run({"-c", config, "deploy", "start", "app", "--timeout", "soon"}), 2);
}

TEST_F(Command, ScaleAsksTheSiteThatServes) {
  Server gcp({"127.0.1.1", 0});
  Server aws({"127.0.2.1", gcp.endpoint().port});
  std::string config = write_config({"127.0.0.1", 1}, gcp.endpoint().port);
  gcp.on("GET /v1/scale",
         Json{{"site", "gcp"}, {"serving", false}, {"tiers", Json::array()}}.dump());
  aws.on("GET /v1/scale",
         Json{{"site", "aws"},
              {"serving", true},
              {"tiers",
               {{{"tier", "app"},
                 {"desired", 3},
                 {"min", 1},
                 {"max", 8},
                 {"peak", 5},
                 {"instances", {{{"number", 2}, {"state", "ready"}, {"protected", true}}}},
                 {"last", {{"at", "now"}, {"text", "stays at 3"}}}}}}}
             .dump());
  aws.on("POST /v1/scale/set", Json{{"set", true}}.dump());
  aws.on("POST /v1/scale/protect", Json{{"protected", true}}.dump());
  ASSERT_EQ(run({"-c", config, "scale", "status"}), 0) << err_;
  EXPECT_THAT(out_,
              AllOf(HasSubstr("site aws, serves"), HasSubstr("app: 3 instances wanted (1 to 8)"),
                    HasSubstr("app-2 (protected)"), HasSubstr("stays at 3")));
  ASSERT_EQ(run({"-c", config, "scale", "set", "app", "4", "--for", "2h"}), 0) << err_;
  EXPECT_EQ(Json::parse(aws.asked().back().body),
            (Json{{"tier", "app"}, {"min", 4}, {"max", 4}, {"for_s", 7200.0}}));
  ASSERT_EQ(run({"-c", config, "scale", "set", "app", "--clear"}), 0) << err_;
  EXPECT_EQ(Json::parse(aws.asked().back().body), (Json{{"tier", "app"}, {"clear", true}}));
  ASSERT_EQ(run({"-c", config, "scale", "protect", "app-2", "--off"}), 0) << err_;
  EXPECT_EQ(Json::parse(aws.asked().back().body),
            (Json{{"tier", "app"}, {"number", 2}, {"on", false}}));
  for (const auto& bad : std::vector<std::vector<std::string>>{{"set", "app"},
                                                               {"set", "app", "4", "--min", "2"},
                                                               {"set", "app", "4", "--for", "soon"},
                                                               {"protect", "app"},
                                                               {"protect", "app-x"}}) {
    std::vector<std::string> args{"-c", config, "scale"};
    args.insert(args.end(), bad.begin(), bad.end());
    EXPECT_EQ(run(args), 2) << bad.back();
  }
}

TEST_F(Command, StatusComesFromTheConfiguredControlNode) {
  Server control({"127.0.0.1", 0});
  control.on("GET /v1/status",
             R"({"platform":"shop","writer":"gcp","epoch":7,"sites":[
                 {"name":"gcp","role":"writer","health":"up","agent":null},
                 {"name":"aws","role":"standby","health":"down","agent":null}],
                 "failover":{"possible":false,"why_not":["aws is down"]}})");
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"status", "-c", file}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("shop: gcp serves, epoch 7"));
  EXPECT_EQ(run({"status", "--check", "-c", file}), 4);
  EXPECT_THAT(err_, AllOf(HasSubstr("site aws is down"), HasSubstr("no failover possible")));
  EXPECT_EQ(run({"-o", "json", "status", "-c", file}), 0);
  EXPECT_EQ(Json::parse(out_)["writer"], "gcp");
}

TEST_F(Command, FlagsBeatEnvironmentAndEnvironmentBeatsTheFile) {
  Server control({"127.0.0.1", 0});
  control.on("GET /v1/status", R"({"platform":"shop"})");
  setenv("LEEWARD_TOKEN", "t0ken", 1);
  setenv("LEEWARD_ADDRESS", to_string(control.endpoint()).c_str(), 1);
  EXPECT_EQ(run({"status", "-c", "/nonexistent"}), 0) << "no file is needed; " << err_;
  setenv("LEEWARD_ADDRESS", "nonsense", 1);
  EXPECT_EQ(run({"status"}), 2);
  EXPECT_EQ(run({"status", "--address", to_string(control.endpoint())}), 0) << err_;
  setenv("LEEWARD_TOKEN", "wrong", 1);
  EXPECT_EQ(run({"status", "--address", to_string(control.endpoint())}), 1);
  EXPECT_THAT(err_, AllOf(HasSubstr("LEEWARD_TOKEN"), Not(HasSubstr("t0ken"))));
}

TEST_F(Command, AnUnreachableControlNodeIsNamed) {
  Endpoint gone;
  {
    Server control({"127.0.0.1", 0});
    gone = control.endpoint();
  }
  EXPECT_EQ(run({"status", "-c", write_config(gone, 7401)}), 1);
  EXPECT_THAT(err_, HasSubstr("the control API at " + to_string(gone)));
  EXPECT_EQ(run({"status", "-c", directory_ + "/nowhere.yaml"}), 2);
  EXPECT_THAT(err_, HasSubstr("no such file"));
}

TEST_F(Command, ASwitchoverIsFollowedStepByStep) {
  Server control({"127.0.0.1", 0});
  std::string begin =
      R"({"plan":{"id":3,"kind":"switchover","from":"gcp","to":"aws","outcome":"",)";
  std::string prepare = R"({"step":"prepare","entered":"2026-01-02T03:04:05.000Z"})";
  std::string drain = R"({"step":"drain","entered":"2026-01-02T03:04:05.200Z"})";
  std::string done = R"({"step":"done","entered":"2026-01-02T03:04:06.500Z"})";
  control.on("POST /v1/switchover", begin + R"("step":"prepare","history":[)" + prepare + "]}}");
  int polls = 0;
  control.on("GET /v1/plan", [&](const net::HttpRequest&) {
    ++polls;
    if (polls == 2) return net::error_response(Error{Code::kUnavailable, "restarting"});
    net::HttpResponse response;
    response.body =
        polls < 4
            ? begin + R"("step":"drain","history":[)" + prepare + "," + drain + "]}}"
            : begin + R"("step":"done","history":[)" + prepare + "," + drain + "," + done + "]}}";
    return response;
  });
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"switchover", "--to", "aws", "--reason", "test", "--yes", "-c", file}), 0) << err_;
  EXPECT_EQ(out_, "plan 3: switchover gcp → aws: done in 1.5 s\n");
  EXPECT_THAT(err_, AllOf(HasSubstr("0.0 s  prepare"), HasSubstr("0.2 s  drain"),
                          HasSubstr("restarting; still trying"), HasSubstr("1.5 s  done")));
  EXPECT_EQ(err_.find("prepare"), err_.rfind("prepare")) << "each step is printed once";
  EXPECT_EQ(Json::parse(control.asked()[0].body), Json::parse(R"({"to":"aws","reason":"test"})"));

  EXPECT_EQ(run({"switchover", "--yes", "--no-wait", "-c", file}), 0);
  EXPECT_THAT(out_, HasSubstr("plan 3: switchover gcp → aws: prepare"));
}

TEST_F(Command, APlanThatIsGivenUpOrTakesTooLongIsNotASuccess) {
  Server control({"127.0.0.1", 0});
  control.on("POST /v1/failback", R"({"plan":{"id":4,"kind":"failback","step":"aborted",
    "outcome":"gcp did not catch up","history":[]}})");
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"failback", "--yes", "-c", file}), 1);
  EXPECT_THAT(out_, HasSubstr("given up: gcp did not catch up"));

  std::string stuck = R"({"plan":{"id":5,"kind":"failback","step":"drain","history":[]}})";
  control.on("POST /v1/failback", stuck);
  control.on("GET /v1/plan", stuck);
  EXPECT_EQ(run({"failback", "--yes", "--timeout", "300ms", "-c", file}), 6);
  EXPECT_THAT(err_, HasSubstr("the plan goes on"));
}

TEST_F(Command, ASafetyRuleThatSaysNoIsExitStatusFive) {
  Server control({"127.0.0.1", 0});
  control.refuse("POST /v1/failover", Code::kRefused, "estimated loss 9 s is above the RPO of 1 s");
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"failover", "--yes", "-c", file}), 5);
  EXPECT_THAT(err_, HasSubstr("estimated loss 9 s is above the RPO of 1 s"));
  control.refuse("POST /v1/failover", Code::kNoQuorum, "one vantage point of three reports");
  EXPECT_EQ(run({"failover", "--yes", "--accept-loss", "--override-block", "-c", file}), 6);
  Json body = Json::parse(control.asked().back().body);
  EXPECT_EQ(body["accept_loss"], true);
  EXPECT_EQ(body["override_block"], true);
}

TEST_F(Command, ADangerousCommandAsksAPersonAndNeverGuesses) {
  Server control({"127.0.0.1", 0});
  control.on("GET /v1/status", R"({"platform":"shop","writer":"gcp",
    "failover":{"possible":true,"to":"aws","estimated_loss_seconds":0.3}})");
  control.on("POST /v1/failover", R"({"plan":{"id":1,"kind":"failover","from":"gcp","to":"aws",
    "step":"done","history":[]}})");
  std::string file = write_config(control.endpoint(), 7401);

  EXPECT_EQ(run({"failover", "-c", file}), 2) << "no terminal and no --yes";
  EXPECT_THAT(err_, HasSubstr("--yes"));
  EXPECT_THAT(control.asked(), IsEmpty());

  EXPECT_EQ(run({"failover", "-c", file}, "y\n", true), 5);
  EXPECT_THAT(err_, HasSubstr("Fail over shop from gcp to aws? In this moment about 0.3 s"));
  EXPECT_THAT(err_, HasSubstr("nothing was done"));
  for (const auto& request : control.asked()) EXPECT_EQ(request.method, "GET");

  EXPECT_EQ(run({"failover", "-c", file}, "yes\n", true), 0) << err_;
}

TEST_F(Command, MaintenanceSetsThePause) {
  Server control({"127.0.0.1", 0});
  control.on("POST /v1/maintenance", R"({"paused":true})");
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"maintenance", "on", "-c", file}), 0) << err_;
  EXPECT_EQ(Json::parse(control.asked().back().body)["paused"], true);
  EXPECT_EQ(run({"maintenance", "off", "-c", file}), 0);
  EXPECT_EQ(Json::parse(control.asked().back().body)["paused"], false);
}

TEST_F(Command, EventsShowTheNewestOnes) {
  Server control({"127.0.0.1", 0});
  control.on("GET /v1/events", [](const net::HttpRequest& request) {
    // Pages of at most two, however many are asked for.
    int after = std::stoi(std::string(request.parameter("after")));
    Json events = Json::array();
    for (int i = after + 1; i <= 5 && events.size() < 2; ++i)
      events.push_back(
          {{"sequence", i}, {"kind", "verdict.down"}, {"message", "m" + std::to_string(i)}});
    net::HttpResponse response;
    response.body = to_text({{"events", events}});
    return response;
  });
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"events", "--limit", "2", "-c", file}), 0) << err_;
  EXPECT_THAT(out_, AllOf(Not(HasSubstr("m3")), HasSubstr("m4"), HasSubstr("m5")));
  EXPECT_EQ(run({"events", "--after", "2", "-o", "json", "-c", file}), 0);
  EXPECT_EQ(Json::parse(out_)["events"].size(), 3u);
}

TEST_F(Command, TheLedgerIsAskedOfEverySiteAndASilentOneIsTold) {
  Server gcp({"127.0.1.1", 0});
  std::string entry = R"({"id":"0-1-105","site":"gcp","epoch":7,"state":"open","changes":[]})";
  gcp.on("GET /v1/ledger", [entry](const net::HttpRequest& request) {  // two pages
    net::HttpResponse response;
    std::string second = R"({"id":"0-1-106","site":"gcp","epoch":7,"state":"open","changes":[]})";
    bool first = request.parameter("after").empty();
    response.body = R"({"site":"gcp","total":2,"more":)" + std::string(first ? "true" : "false") +
                    R"(,"entries":[)" + (first ? entry : second) + "]}";
    return response;
  });
  gcp.on("GET /v1/ledger/0-1-105", entry);
  gcp.on("POST /v1/ledger/0-1-105/replay", R"({"state":"replayed"})");
  std::string file = write_config({"127.0.0.1", 7400}, gcp.endpoint().port);

  EXPECT_EQ(run({"ledger", "list", "-c", file}), 1);
  EXPECT_THAT(out_, AllOf(HasSubstr("0-1-105"), HasSubstr("0-1-106")));
  EXPECT_THAT(err_, HasSubstr("the agent of site aws at 127.0.2.1"));
  EXPECT_EQ(run({"ledger", "list", "--site", "gcp", "-c", file}), 0);
  EXPECT_EQ(run({"ledger", "list", "--site", "mars", "-c", file}), 2);

  EXPECT_EQ(run({"ledger", "show", "0-1-105", "-c", file}), 0) << err_;
  EXPECT_EQ(run({"ledger", "show", "0-1-1", "--site", "gcp", "-c", file}), 1);
  EXPECT_EQ(run({"ledger", "show", "../status", "-c", file}), 2);

  EXPECT_EQ(run({"ledger", "replay", "0-1-105", "-c", file}), 2) << "no terminal and no --yes";
  EXPECT_EQ(run({"ledger", "replay", "0-1-105", "--force", "--yes", "-c", file}), 0) << err_;
  EXPECT_EQ(out_, "0-1-105 replayed\n");
  EXPECT_EQ(Json::parse(gcp.asked().back().body)["force"], true);
}

constexpr char kTwoSites[] = R"({"platform":"shop","writer":"gcp","epoch":7,
  "protection":{"state":"on","standby":"aws"},
  "failover":{"possible":true,"to":"aws","estimated_loss_seconds":0},
  "sites":[
    {"name":"gcp","role":"writer","health":"HEALTH","agent":{"ledger_open":0,"problem":"","database":
      {"reachable":true,"written":105,"semi_sync":"on","fallbacks":1,"alone":2}}},
    {"name":"aws","role":"standby","health":"up","agent":{"ledger_open":3,"problem":"",
      "comparison":{"passes":3,"rows":1200,"different":0,"first":"",
                    "completed":"2026-01-02T03:04:05.000Z"},
      "database":{"reachable":true,"written":103,"received":105,"durable":104,"applied":103,"lag_ms":240,
       "acknowledges":true,"replication":"streaming","semi_sync":"off","fallbacks":0,"alone":0}}},
    {"name":"witness","role":"witness","health":"up","agent":null}]})";

std::string two_sites(const std::string& writer_health) {
  std::string text = kTwoSites;
  return text.replace(text.find("HEALTH"), 6, writer_health);
}

TEST_F(Command, DbStatusShowsThreePositionsAndWhatCommitsWaitFor) {
  Server control({"127.0.0.1", 0});
  control.on("GET /v1/status", two_sites("up"));
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"db", "status", "-c", file}), 0) << err_;
  EXPECT_EQ(out_,
            R"(shop: gcp writes at epoch 7
protected: every acknowledged commit of gcp is on disk at aws

SITE  ROLE     WRITTEN  RECEIVED  DURABLE  APPLIED  LAG    BEHIND  COPIES          LEDGER  STATE
gcp   writer   105      –         –        –        –      –       waits, 2 alone  0       –
aws   standby  103      105       104      103      0.2 s  2       acknowledges    3       streaming

aws: equal to the writer in every row at 2026-01-02T03:04:05.000Z (1200 rows compared so far)

Positions are sequence numbers of GTID domain 0; BEHIND counts transactions, LEDGER open entries.
)");
  EXPECT_EQ(run({"db", "status", "-o", "json", "-c", file}), 0);
  Json aws = Json::parse(out_)["sites"][1];
  EXPECT_EQ(aws["durable"], 104);
  EXPECT_EQ(aws["transactions_behind"], 2);
  EXPECT_EQ(aws["ledger_open"], 3);
  EXPECT_EQ(aws["comparison"]["rows"], 1200);
  EXPECT_EQ(Json::parse(out_)["sites"][0]["semi_sync_fallbacks"], 1);
}

TEST_F(Command, DbPromoteIsASwitchoverWhileTheWriterWorksAndAFailoverOtherwise) {
  Server control({"127.0.0.1", 0});
  const char* plan =
      R"({"plan":{"id":1,"kind":"x","from":"gcp","to":"aws","step":"done","history":[]}})";
  control.on("GET /v1/status", two_sites("up"));
  control.on("POST /v1/switchover", plan);
  control.refuse("POST /v1/failover", Code::kRefused, "the standby lags too far");
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"db", "promote", "-c", file}), 2) << "no terminal and no --yes";
  EXPECT_EQ(run({"db", "promote", "--yes", "-c", file}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("switchover"));
  control.on("GET /v1/status", two_sites("down"));
  EXPECT_EQ(run({"db", "promote", "--yes", "-c", file}), 5);
  EXPECT_THAT(err_, HasSubstr("the standby lags too far"));
}

TEST_F(Command, AReseedRunsInTheStandbysAgentAndIsFollowedToItsEnd) {
  Server control({"127.0.0.1", 0});
  Server aws({"127.0.2.1", 0});
  control.on("GET /v1/status", two_sites("up"));
  std::string file = write_config(control.endpoint(), aws.endpoint().port);
  const char* none = R"({"number":0,"state":"none"})";
  aws.on("GET /v1/rejoin", none);
  aws.on("POST /v1/rejoin", R"({"number":1,"state":"running","phase":"compare","seconds":0})");

  EXPECT_EQ(run({"db", "reseed", "-c", file}), 2) << "no terminal and no --yes";
  EXPECT_EQ(run({"db", "reseed", "--site", "gcp", "--yes", "-c", file}), 5);
  EXPECT_THAT(err_, HasSubstr("gcp is the writer: only a standby can be reseeded"));
  EXPECT_EQ(run({"db", "reseed", "--site", "mars", "--yes", "-c", file}), 2);
  EXPECT_EQ(run({"db", "reseed", "-c", file}, "no\n", true), 5);
  EXPECT_THAT(err_, HasSubstr("Drop all data at aws and copy it afresh from gcp?"));
  EXPECT_THAT(err_, HasSubstr("replication.on_standby_loss"));
  for (const auto& request : aws.asked()) EXPECT_EQ(request.method, "GET");

  // While it runs, how far it is: rows, bytes, rate and time left.
  int polls = 0;
  aws.on("GET /v1/rejoin", [&](const net::HttpRequest&) {
    net::HttpResponse response;
    response.body = ++polls == 1 ? none
                    : polls == 2 ? R"({"number":1,"state":"running","phase":"reseed","seconds":2,
      "bytes":240000000,"rows":1000000,"rows_total":3000000,"rows_per_second":98000,
      "seconds_left":20.4})"
                                 : R"({"number":1,"state":"done","phase":"connect","seconds":30,
      "bytes":720000000,"rows":3000000,"rows_total":3000000,"rows_per_second":100000,
      "outcome":"reseeded","why":"asked for by an operator"})";
    return response;
  });
  EXPECT_EQ(run({"db", "reseed", "--yes", "-c", file}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("1.00 M of about 3.00 M rows, 240.0 MB, 98 k rows/s, 20 s left"));
  EXPECT_THAT(out_, HasSubstr("aws: reseeded (asked for by an operator)"));

  // Given again while one runs, it only follows; nothing is asked for a second time.
  polls = 1;
  std::size_t before = aws.asked().size();
  EXPECT_EQ(run({"db", "reseed", "--yes", "-c", file}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("at it already"));
  for (std::size_t i = before; i < aws.asked().size(); ++i) EXPECT_EQ(aws.asked()[i].method, "GET");
}

TEST_F(Command, ARewindThatTheAgentRefusesOrThatFailsSaysWhy) {
  Server control({"127.0.0.1", 0});
  Server aws({"127.0.2.1", 0});
  control.on("GET /v1/status", two_sites("up"));
  std::string file = write_config(control.endpoint(), aws.endpoint().port);
  aws.on("GET /v1/rejoin", R"({"number":0,"state":"none"})");
  aws.refuse("POST /v1/rejoin", Code::kRefused, "there is nothing to undo");
  EXPECT_EQ(run({"db", "rewind", "--yes", "-c", file}), 5);
  EXPECT_THAT(err_, HasSubstr("there is nothing to undo"));
  aws.on("POST /v1/rejoin", R"({"number":1,"state":"failed","phase":"compare","seconds":1,
    "why":"the source cannot be reached"})");
  EXPECT_EQ(run({"db", "rewind", "--yes", "-c", file}), 4);
  EXPECT_THAT(err_, HasSubstr("aws could not become a standby: the source cannot be reached"));
}

TEST_F(Command, DbDegradeAsksForConsentAndPassesRefusalsOn) {
  Server control({"127.0.0.1", 0});
  std::string file = write_config(control.endpoint(), 7401);
  control.refuse("POST /v1/degrade", Code::kRefused, "the standby acknowledges");
  EXPECT_EQ(run({"db", "degrade", "-c", file}), 2);
  EXPECT_THAT(control.asked(), IsEmpty());
  EXPECT_EQ(run({"db", "degrade", "--yes", "-c", file}), 5);
  control.on("POST /v1/degrade", R"({"message":"commits no longer wait"})");
  EXPECT_EQ(run({"db", "degrade", "--yes", "-c", file}), 0);
  EXPECT_EQ(out_, "commits no longer wait\n");
}

TEST_F(Command, DbLagShowsTheNewestSamples) {
  Server control({"127.0.0.1", 0});
  Json samples = Json::array();
  for (int i = 1; i <= 3; ++i)
    samples.push_back({{"time", "t" + std::to_string(i)},
                       {"standby", "aws"},
                       {"lag_seconds", 0.5 * i},
                       {"written", 10 * i},
                       {"received", 9},
                       {"durable", 9},
                       {"applied", 8},
                       {"transactions_behind", 10 * i - 8}});
  control.on("GET /v1/lag", to_text({{"samples", samples}}));
  std::string file = write_config(control.endpoint(), 7401);
  EXPECT_EQ(run({"db", "lag", "--last", "2", "-c", file}), 0) << err_;
  EXPECT_THAT(out_,
              AllOf(Not(HasSubstr("t1")), HasSubstr("t2"), HasSubstr("1.5 s"), HasSubstr("22")));
}

}  // namespace
}  // namespace leeward::cli
