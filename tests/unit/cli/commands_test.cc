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
  gcp.on("GET /v1/ledger", R"({"site":"gcp","entries":[)" + entry + "]}");
  gcp.on("GET /v1/ledger/0-1-105", entry);
  gcp.on("POST /v1/ledger/0-1-105/replay", R"({"state":"replayed"})");
  std::string file = write_config({"127.0.0.1", 7400}, gcp.endpoint().port);

  EXPECT_EQ(run({"ledger", "list", "-c", file}), 1);
  EXPECT_THAT(out_, HasSubstr("0-1-105"));
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

}  // namespace
}  // namespace leeward::cli
