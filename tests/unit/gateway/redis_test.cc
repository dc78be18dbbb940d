// Redis through the gateway: bytes, the lease, and holding new clients.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "client.h"
#include "gateway/internal/socket.h"

namespace leeward::gateway {
namespace {

using namespace testing;

// A raw connection: what it says, byte for byte.
class Raw {
 public:
  explicit Raw(const Endpoint& to) : fd_(std::move(*start_connect(to))) {
    EXPECT_TRUE(eventually([&] { return send(fd_.get(), "", 0, MSG_NOSIGNAL) == 0; }));
  }
  void say(std::string_view text) { send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  // The next `size` bytes, or fewer if the connection ends or 10 s pass.
  std::string hear(std::size_t size) {
    std::string out;
    eventually([&] {
      char buffer[512];
      const ssize_t n = recv(fd_.get(), buffer, std::min(sizeof buffer, size - out.size()), 0);
      if (n > 0) out.append(buffer, static_cast<std::size_t>(n));
      return n == 0 || (n < 0 && errno != EAGAIN) || out.size() == size;
    });
    return out;
  }
  bool closed() { return hear(1).empty(); }

 private:
  UniqueFd fd_;
};

TEST(Redis, FollowsTheLeaseAndTheWriter) {
  RedisServer server;
  Options o = options_for(server.endpoint(), "gcp");
  o.engine = Engine::kRedis;
  auto g = start(std::move(o));
  const std::string refusal = "-READONLY leeward: site gcp may not write: it has just started\r\n";
  Raw refused(g->listen_endpoint());
  refused.say("PING\r\n");
  EXPECT_EQ(refused.hear(refusal.size() + 1), refusal);

  g->serve_local(Epoch{1}, in(60s));
  Raw c(g->listen_endpoint());
  c.say("SET k v\r\n");
  EXPECT_EQ(c.hear(5), "+OK\r\n");
  g->hold();
  EXPECT_TRUE(eventually([&] { return g->drained(); }));
  c.say("GET k\r\n");
  Raw waiting(g->listen_endpoint());
  waiting.say("GET k\r\n");
  EXPECT_TRUE(eventually([&] { return g->stats().parked == 2; }));
  g->serve_local(Epoch{1}, in(60s));  // the move is undone
  EXPECT_EQ(c.hear(7), "$1\r\nv\r\n");
  EXPECT_EQ(waiting.hear(7), "$1\r\nv\r\n");

  g->hold();
  Raw late(g->listen_endpoint());
  late.say("GET k\r\n");
  EXPECT_TRUE(eventually([&] { return g->stats().parked == 1; }));
  g->serve_local(Epoch{2}, in(500ms));  // as after a move
  EXPECT_TRUE(c.closed());
  EXPECT_EQ(late.hear(7), "$1\r\nv\r\n");
  EXPECT_TRUE(late.closed());  // at the lease's end
}

}  // namespace
}  // namespace leeward::gateway
