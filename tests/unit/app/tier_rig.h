// One tier under an agent's supervisor, with real processes. The executable of a test that uses it
// is its own `leeward keep`.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "app/context.h"
#include "app/tier_functions.h"
#include "compute/keeper.h"
#include "compute/supervisor.h"
#include "net/http.h"
#include "processes.h"

namespace leeward::app {

class TierRig : public ::testing::Test {
 protected:
  static constexpr const char* kLoop = "while :; do sleep 0.05; done";

  // A shop with the site gcp, whose agent this is, and the tier `app` of `kLoop`.
  TierRig() {
    context.platform.name = "shop";
    Site site;
    site.name = "gcp";
    site.role = SiteRole::kPrimary;
    site.address = "127.0.0.1";
    context.platform.sites.push_back(site);
    context.self = SiteId{0};
    context.tokens = {"agent-token", "operator-token"};
    context.state = directory.path();
    Tier& app = context.platform.tiers.emplace_back();
    app.name = "app";
    app.process = program(kLoop);
    app.port = 40000;
    app.stop_timeout = 1s;
  }

  Tier& app() { return context.platform.tiers.front(); }
  ProcessSpec program(const std::string& text) {
    return {{"sh", "-c", text, marker.text(), "{site}"}, {{"PORT", "{port}"}}, ""};
  }
  const compute::PlaceholderValues& values() const { return values_; }

  // An agent's life begins; `options` has what the test listens to, and the tiers if they are not
  // those of the context.
  void supervise(compute::SupervisorOptions options) {
    if (options.tiers.empty()) {
      auto tier =
          compute::expand_tier(instances_at(app(), context.site()), values_, directory.path());
      ASSERT_TRUE(tier.has_value()) << tier.error().message;
      options.tiers = {*tier};
    }
    options.log_directory = directory.path() + "/log";
    auto made = compute::Supervisor::create(loop, std::move(options));
    ASSERT_TRUE(made.has_value()) << made.error().message;
    supervisor = std::move(*made);
  }
  // Ends it: all instances stop, then `release` lets go of what uses the supervisor.
  void stop_supervising(const std::function<void()>& release) {
    if (!supervisor) return;
    bool stopped = false;
    supervisor->stop_all(5s, [&](Status) { stopped = true; });
    EXPECT_TRUE(run_until(10s, [&] { return stopped; }));
    release();
    supervisor.reset();
    EXPECT_TRUE(compute::eventually(5s, [&] { return marker.processes().empty(); }));
  }
  bool run_until(Duration limit, const std::function<bool()>& condition) {
    const BootTime last = BootClock::now() + limit;
    bool held = false;
    std::function<void()> look = [&] {
      held = condition();
      if (held || BootClock::now() >= last) return loop.stop();
      timer = loop.call_after(5ms, look);
    };
    loop.post(look);
    loop.run();
    return held;
  }
  static net::HttpRequest request(const std::string& method, const std::string& path,
                                  const nlohmann::json& body, const std::string& token) {
    net::HttpRequest made;
    made.method = method;
    made.path = path;
    made.headers["Authorization"] = "Bearer " + token;
    if (!body.is_null()) made.body = body.dump();
    return made;
  }

  compute::TemporaryDirectory directory;
  compute::Marker marker;
  net::EventLoop loop;
  net::TimerId timer;
  Context context;
  std::unique_ptr<compute::Supervisor> supervisor;

 private:
  compute::PlaceholderValues values_{{"site", "gcp"}};
};

}  // namespace leeward::app
