// Two whole edges in a row: what one tells the other, and whom it believes.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "edge/edge.h"
#include "edge/internal/proxy_fields.h"
#include "loopback.h"

namespace leeward::edge {
namespace {

using Clients = std::vector<std::string>;

constexpr SiteId kHere{0};
const std::string kKey = "the key of this platform's edges";

WallTime now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

// Lets everybody pass, and remembers who they were.
class Guard final : public Firewall {
 public:
  Verdict judge(const RequestView& request, Now) override {
    std::lock_guard lock(mutex_);
    clients_.push_back(to_string(request.client));
    return {};
  }
  std::string explain(const RequestView&, bool, Now) const override { return {}; }
  Clients take() {
    std::lock_guard lock(mutex_);
    return std::exchange(clients_, {});
  }

 private:
  std::mutex mutex_;
  Clients clients_;
};

// An edge with one origin, where nobody answers before forward_to(). Listens for everybody, and for
// a proxy that is trusted.
class Site {
 public:
  Site(std::string name, std::string key) {
    config_.site = std::move(name);
    config_.listeners = {{.address = "127.0.0.1:0"}, {.address = "127.0.0.1:0", .trusted = true}};
    config_.groups = {{.name = "web",
                       .origins = {{.name = "next", .address = "127.0.0.1:1", .site = kHere}},
                       .policy = {},
                       .sticky_cookie = ""}};
    config_.routes = {{.name = "all", .host = "", .path = "/", .group = 0, .cache = nullptr}};
    config_.firewall = guard_;
    config_.hop_key = std::move(key);
    EdgeOptions options;
    options.threads = 1;
    auto edge = Edge::start(std::move(options), config_);
    if (!edge) ADD_FAILURE() << edge.error().message;
    edge_ = std::move(*edge);
    EXPECT_TRUE(edge_->publish({.active = kHere, .epoch = Epoch{1}, .version = 1}));
  }

  void forward_to(const Site& other) {
    config_.groups[0].origins[0].address = other.open();
    config_.groups[0].origins[0].edge = true;
    EXPECT_TRUE(edge_->reload(config_));
  }

  std::string open() const { return edge_->listening()[0]; }
  std::string trusted() const { return edge_->listening()[1]; }
  Clients clients() { return guard_->take(); }  // since it was asked last

 private:
  std::shared_ptr<Guard> guard_ = std::make_shared<Guard>();
  EdgeConfig config_;
  std::unique_ptr<Edge> edge_;
};

// The status of the answer to a GET with these field lines.
std::string ask(const std::string& address, const std::string& lines) {
  const UniqueFd fd = testing::connect_to(address);
  const std::string request = "GET / HTTP/1.1\r\nHost: shop.test\r\n" + lines + "\r\n";
  EXPECT_EQ(write(fd.get(), request.data(), request.size()), static_cast<ssize_t>(request.size()));
  pollfd readable{.fd = fd.get(), .events = POLLIN, .revents = 0};
  if (poll(&readable, 1, 10'000) != 1) return "none";
  char answer[4096];
  const ssize_t n = read(fd.get(), answer, sizeof answer);
  return n < 12 ? "closed" : std::string(answer + 9, 3);
}

std::string hop_line(const std::string& value) { return "Leeward-Edge-Hop: " + value + "\r\n"; }

TEST(EdgesInARow, TheClientStaysTheClientOverBoth) {
  Site first("here", kKey), second("there", kKey);
  first.forward_to(second);
  EXPECT_EQ(ask(first.trusted(), "X-Forwarded-For: 203.0.113.7\r\n"), "502");
  EXPECT_EQ(first.clients(), Clients{"203.0.113.7"});
  EXPECT_EQ(second.clients(), Clients{"203.0.113.7"});
}

TEST(EdgesInARow, WhoIsNoEdgeDoesNotSayWhoTheClientIs) {
  Site site("here", kKey);
  const ClientAddress victim = *parse_client_address("192.0.2.7");
  const std::string through_a_proxy = "X-Forwarded-For: 192.0.2.7, 203.0.113.7\r\n";
  for (const std::string& hop :
       {std::string("192.0.2.7"), edge_hop(victim, "another key", now()),
        edge_hop(victim, kKey, now() - 1h), edge_hop(victim, kKey, now() + 1h)}) {
    ask(site.open(), hop_line(hop));
    ask(site.trusted(), hop_line(hop));
    ask(site.trusted(), hop_line(hop) + through_a_proxy);
    EXPECT_EQ(site.clients(), (Clients{"127.0.0.1", "127.0.0.1", "203.0.113.7"})) << hop;
  }
  ask(site.open(), hop_line(edge_hop(victim, kKey, now())));
  EXPECT_EQ(site.clients(), Clients{"192.0.2.7"});
}

TEST(EdgesInARow, ARequestIsNotSentOnByTheSecond) {
  Site first("here", kKey), second("there", kKey);
  first.forward_to(second);
  second.forward_to(first);
  EXPECT_EQ(ask(first.open(), ""), "503");
  EXPECT_EQ(first.clients().size(), 1u);
  EXPECT_EQ(second.clients().size(), 1u);
}

TEST(EdgesInARow, AClientTakesNoOriginAwayFromItsEdge) {
  Site first("here", kKey), second("there", kKey);
  first.forward_to(second);
  EXPECT_EQ(ask(first.open(), hop_line("192.0.2.7")), "502");
  EXPECT_EQ(second.clients(), Clients{"127.0.0.1"});
}

TEST(EdgesInARow, ThoseThatDoNotKnowEachOtherEndTheCircle) {
  Site first("here", kKey), second("there", "another key");
  first.forward_to(second);
  second.forward_to(first);
  EXPECT_EQ(ask(first.open(), ""), "508");
  EXPECT_EQ(first.clients().size(), kEdgePassesMax);
  EXPECT_EQ(second.clients().size(), kEdgePassesMax);
}

// What Via says of the second edge must not make the first one's fetch fail for others.
TEST(EdgesInARow, ViaEndsNothingBetweenThoseThatKnowEachOther) {
  Site first("here", kKey), second("there", kKey);
  first.forward_to(second);
  std::string via = "Via: 1.1 there-edge";
  for (std::size_t i = 1; i < kEdgePassesMax; ++i) via += ", 1.1 there-edge";
  EXPECT_EQ(ask(first.open(), via + "\r\n"), "502");
  EXPECT_EQ(second.clients().size(), 1u);
  EXPECT_EQ(ask(second.open(), via + "\r\n"), "508");
  EXPECT_EQ(second.clients().size(), 0u);
}

}  // namespace
}  // namespace leeward::edge
