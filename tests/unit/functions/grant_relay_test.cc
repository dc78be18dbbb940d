// A port whose servers change while connections are open.
#include "functions/grant_relay.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <set>

#include "net/http.h"

namespace leeward::functions {
namespace {

class SharedPort : public ::testing::Test {
 protected:
  std::unique_ptr<net::HttpServer> server(const std::string& name) {
    auto made = net::HttpServer::start(loop, {"127.0.0.1", 0},
                                       [name](net::HttpRequest, net::Responder respond) {
                                         net::HttpResponse response;
                                         response.body = name;
                                         respond(std::move(response));
                                       });
    EXPECT_TRUE(made.has_value());
    return std::move(*made);
  }
  // A port that nobody listens on.
  static Endpoint free_port() {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size);
    return {"127.0.0.1", ntohs(at.sin_port)};
  }
  // Who answers; "" when nobody does.
  std::string ask(net::HttpClient& client, const Endpoint& at) {
    std::optional<std::string> answer;
    client.send(at, {}, 10s, [&](Result<net::HttpResponse> response) {
      answer = response ? response->body : "";
      loop.stop();
    });
    while (!answer) loop.run();
    return *answer;
  }

  net::EventLoop loop;
};

TEST_F(SharedPort, NewConnectionsGoToTheServersOfTheMomentAndOldOnesStay) {
  auto functions = server("functions"), first = server("first"), second = server("second");
  const Endpoint port = free_port();
  auto relay = GrantRelay::open(port, {functions->local()});
  ASSERT_TRUE(relay.has_value()) << relay.error().message;
  net::HttpClient kept(loop);
  EXPECT_EQ(ask(kept, port), "functions");
  ASSERT_TRUE((*relay)->set_servers({first->local(), second->local()}).has_value());
  EXPECT_EQ(ask(kept, port), "functions") << "its connection is still open";
  std::multiset<std::string> others;
  for (int i = 0; i < 4; ++i) {
    net::HttpClient fresh(loop);
    others.insert(ask(fresh, port));
  }
  EXPECT_EQ(others, (std::multiset<std::string>{"first", "first", "second", "second"}));
  EXPECT_FALSE((*relay)->set_servers({}).has_value());
  EXPECT_FALSE((*relay)->set_servers({{"nowhere", 1}}).has_value());
  net::HttpClient fresh(loop);
  EXPECT_NE(ask(fresh, port), "functions") << "what was refused changed nothing";
}

TEST_F(SharedPort, APortThatIsTakenIsToldOf) {
  auto taken = server("taken");
  auto relay = GrantRelay::open(taken->local(), {taken->local()});
  ASSERT_FALSE(relay.has_value());
  EXPECT_NE(relay.error().message.find("Address already in use"), std::string::npos);
}

}  // namespace
}  // namespace leeward::functions
