// The prober against real listeners on loopback: one that answers as told, one that never accepts,
// one that never answers, and none at all.
#include "health/prober.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>

#include "base/file.h"
#include "net/http.h"

namespace leeward::health {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr SiteId kSite{0};

struct Listener {
  UniqueFd fd;
  Endpoint endpoint;
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// Bound, and listening if `backlog` ≥ 0; nobody ever accepts.
Listener listener(int backlog) {
  Listener l{UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), {}};
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(l.fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(l.fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  if (backlog >= 0) {
    EXPECT_EQ(::listen(l.fd.get(), backlog), 0);
  }
  l.endpoint = Endpoint{"127.0.0.1", ntohs(address.sin_port)};
  return l;
}

// Connections that fill the backlog, so that the kernel drops further SYNs like a black hole.
std::vector<UniqueFd> fill_backlog(const Endpoint& endpoint) {
  std::vector<UniqueFd> connections;
  for (int i = 0; i < 4; ++i) {
    connections.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address = loopback(endpoint.port);
    ::connect(connections.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  return connections;
}

class Probes : public ::testing::Test {
 protected:
  void start(const Endpoint& endpoint, ProbePolicy policy) {
    ProberOptions options;
    options.vantage = SiteId{1};
    options.policy = policy;
    options.targets = {{kSite, "gcp", endpoint}};
    options.registry = &registry;
    options.on_result = [this](SiteId, const ProbeResult& r) { results.push_back(r); };
    options.on_change = [this](SiteId, Health h) {
      changes.push_back(h);
      changed_at = BootClock::now();
    };
    auto started = Prober::start(loop, std::move(options));
    ASSERT_TRUE(started.has_value()) << started.error().message;
    prober = std::move(*started);
  }
  void serve() {
    auto started = net::HttpServer::start(
        loop, {"127.0.0.1", 0}, [this](const net::HttpRequest& request, net::Responder respond) {
          ++requests;
          if (hang) return held.push_back(std::move(respond));
          net::HttpResponse response;
          response.status = request.path == "/healthz" ? status : 404;
          response.body = "database\n is   \x01 away";
          respond(response);
        });
    ASSERT_TRUE(started.has_value()) << started.error().message;
    server = std::move(*started);
  }
  bool run_until(Duration limit, const std::function<bool()>& condition) {
    BootTime end = BootClock::now() + limit;
    bool held_true = false;
    std::function<void()> look = [&] {
      held_true = condition();
      if (held_true || BootClock::now() >= end) return loop.stop();
      loop.call_after(2ms, look);
    };
    loop.post(look);
    loop.run();
    return held_true;
  }
  Health health() { return prober->report().health[0]; }
  static ProbePolicy quick() {
    ProbePolicy policy;
    policy.interval = 50ms;
    policy.timeout = 500ms;
    return policy;
  }

  Registry registry;
  net::EventLoop loop;
  std::unique_ptr<net::HttpServer> server;
  std::unique_ptr<Prober> prober;
  int status = 200;
  bool hang = false;
  int requests = 0;
  std::vector<net::Responder> held;
  std::vector<ProbeResult> results;
  std::vector<Health> changes;
  BootTime changed_at;
};

TEST_F(Probes, FollowATargetDownAndUpAgain) {
  serve();
  start(server->local(), quick());
  EXPECT_EQ(health(), Health::kUnknown);
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kUp; }));
  EXPECT_THAT(registry.prometheus_text(), HasSubstr("leeward_probe_up{target=\"gcp\"} 1"));
  status = 503;
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kDown; }));
  EXPECT_EQ(results.back().detail, "HTTP 503: database is ? away");
  EXPECT_EQ(prober->report().detail, "HTTP 503: database is ? away");
  EXPECT_GE(prober->report().failures[0], 3);
  EXPECT_THAT(registry.prometheus_text(), HasSubstr("leeward_probe_up{target=\"gcp\"} 0"));
  status = 200;
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kUp; }));
  EXPECT_TRUE(prober->report().detail.empty());
  EXPECT_THAT(changes, ElementsAre(Health::kUp, Health::kDown, Health::kUp));
}

TEST_F(Probes, OnlyStatus200IsHealthy) {
  serve();
  status = 204;
  start(server->local(), quick());
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kDown; }));
}

TEST_F(Probes, AFlappingTargetKeepsItsState) {
  serve();
  start(server->local(), quick());
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kUp; }));
  int before = requests;
  ASSERT_TRUE(run_until(20s, [&] {
    status = requests % 3 == 0 ? 200 : 500;  // two failures, one success, and so on
    return requests >= before + 30;
  }));
  EXPECT_THAT(changes, ElementsAre(Health::kUp));
}

TEST_F(Probes, ARefusingTargetIsDown) {
  Listener nobody = listener(-1);
  start(nobody.endpoint, quick());
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kDown; }));
  EXPECT_THAT(results.back().detail, HasSubstr(to_string(nobody.endpoint)));
  EXPECT_THAT(results.back().detail, HasSubstr("refused"));
}

TEST_F(Probes, ATargetThatAcceptsButNeverAnswersIsDown) {
  Listener silent = listener(64);
  ProbePolicy policy = quick();
  policy.timeout = 100ms;
  start(silent.endpoint, policy);
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kDown; }));
  EXPECT_THAT(results.back().detail, HasSubstr("no answer within 100ms"));
}

TEST_F(Probes, ABlackHoleIsDown) {
  Listener hole = listener(0);
  std::vector<UniqueFd> connections = fill_backlog(hole.endpoint);
  ProbePolicy policy = quick();
  policy.timeout = 100ms;
  start(hole.endpoint, policy);
  ASSERT_TRUE(run_until(10s, [&] { return health() == Health::kDown; }));
  EXPECT_GE(results.front().took, 100ms);
}

// The default policy promises 2.8 s (health_core.h, and exactly so in its test); here with a second
// of margin for a loaded machine.
TEST_F(Probes, SeeAHangingTargetAsSoonAsPromised) {
  serve();
  start(server->local(), ProbePolicy{});
  ASSERT_TRUE(run_until(20s, [&] { return health() == Health::kUp; }));
  hang = true;
  BootTime hung_at = BootClock::now();
  ASSERT_TRUE(run_until(20s, [&] { return health() == Health::kDown; }));
  EXPECT_LE(changed_at - hung_at, 3800ms);
  RecordProperty("detection_ms", static_cast<int>((changed_at - hung_at) / 1ms));
}

TEST_F(Probes, HaveOneUnderWayPerTarget) {
  serve();
  hang = true;
  start(server->local(), quick());
  ASSERT_TRUE(run_until(10s, [&] { return requests == 1; }));
  EXPECT_FALSE(run_until(300ms, [&] { return requests > 1; }));
}

TEST_F(Probes, CanBeDestroyedWhileOneIsUnderWay) {
  serve();
  hang = true;
  start(server->local(), quick());
  ASSERT_TRUE(run_until(10s, [&] { return requests == 1; }));
  prober.reset();
  EXPECT_FALSE(run_until(200ms, [&] { return !results.empty(); }));
}

TEST_F(Probes, RefuseAPolicyOrTargetsThatMakeNoSense) {
  ProberOptions options;
  options.targets = {{kSite, "a", {"127.0.0.1", 1}}, {kSite, "b", {"127.0.0.1", 2}}};
  EXPECT_EQ(Prober::start(loop, options).error().code, Code::kInvalid);
  options.targets.pop_back();
  options.policy.fall = 0;
  EXPECT_EQ(Prober::start(loop, options).error().code, Code::kInvalid);
}

TEST(ProbeTargets, AreTheWorkloadSitesOfThePlatform) {
  Platform platform;
  platform.sites = {{"gcp", SiteRole::kPrimary, "10.0.0.1"},
                    {"witness", SiteRole::kWitness, "10.0.0.9"},
                    {"aws", SiteRole::kStandby, "10.0.1.1"}};
  platform.probes.port = 8080;
  std::vector<ProbeTarget> targets = probe_targets(platform);
  ASSERT_EQ(targets.size(), 2u);
  EXPECT_EQ(targets[1].site, SiteId{2});
  EXPECT_EQ(targets[1].name, "aws");
  EXPECT_EQ(to_string(targets[1].endpoint), "10.0.1.1:8080");
}

TEST(Excerpt, IsOneShortPrintableLine) {
  EXPECT_EQ(excerpt("  <html>\n\n  <b>no\x7f</b> "), "<html> <b>no?</b>");
  EXPECT_EQ(excerpt(std::string(200, 'x')), std::string(80, 'x'));
  EXPECT_EQ(excerpt(std::string(79, 'x') + " yz"), std::string(79, 'x'));
  EXPECT_EQ(excerpt("\xc3\xa4"), "??");
  EXPECT_EQ(excerpt(""), "");
}

}  // namespace
}  // namespace leeward::health
