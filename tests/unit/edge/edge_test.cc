// A whole edge on loopback sockets, told where the writer is by publish().
#include "edge/edge.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "loopback.h"

namespace leeward::edge {
namespace {

constexpr SiteId kHere{0}, kThere{1};

// Answers every request with its name, on as many connections as come.
class Origin {
 public:
  explicit Origin(std::string name) : name_(std::move(name)) {
    listener_ = testing::listen_somewhere(address_);
    thread_ = std::thread([this] { run(); });
  }
  ~Origin() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
    for (std::thread& t : serving_) t.join();
    for (int fd : open_) close(fd);
  }
  const std::string& address() const { return address_; }
  int served() const { return served_; }

 private:
  void run() {
    for (int fd; (fd = accept(listener_.get(), nullptr, nullptr)) >= 0;) {
      open_.push_back(fd);
      serving_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    std::string in;
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
      in.append(buffer, static_cast<std::size_t>(n));
      if (!in.ends_with("\r\n\r\n")) continue;  // the tests' requests have no bodies
      in.clear();
      ++served_;
      const std::string out =
          fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", name_.size(), name_);
      if (write(fd, out.data(), out.size()) < 0) return;
    }
  }

  std::string name_, address_;
  UniqueFd listener_;
  std::vector<int> open_;
  std::vector<std::thread> serving_;
  std::atomic<int> served_{0};
  std::thread thread_;
};

class Client {
 public:
  explicit Client(const std::string& address) : fd_(testing::connect_to(address)) {}
  void send(std::string_view method) {
    send_text(fmt::format("{} / HTTP/1.1\r\nHost: shop.test\r\n{}\r\n", method,
                          method == "POST" ? "Content-Length: 0\r\n" : ""));
  }
  void send_text(std::string_view text) {
    EXPECT_EQ(write(fd_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  bool has_answer(int milliseconds) {
    pollfd p{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return poll(&p, 1, milliseconds) == 1;
  }
  // "200 here"; the tests' answers come in one piece.
  std::string answer() {
    if (!has_answer(10'000)) return "none";
    char buffer[4096];
    const ssize_t n = read(fd_.get(), buffer, sizeof buffer);
    const std::string text(buffer, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (text.size() < 12) return "closed";
    const std::size_t body = text.find("\r\n\r\n");
    return text.substr(9, 3) + " " + text.substr(body + 4);
  }

 private:
  UniqueFd fd_;
};

class EdgeOfTwoSites : public ::testing::Test {
 protected:
  std::unique_ptr<Edge> start(EdgeParking parking = {}, bool shield = false,
                              Duration body_time = 30s) {
    EdgeConfig config;
    config.site = "here";
    config.listeners = {{.address = "127.0.0.1:0"}};
    config.groups = {{.name = "web",
                      .origins = {{.name = "a", .address = here_.address(), .site = kHere},
                                  {.name = "b", .address = there_.address(), .site = kThere}},
                      .policy = {},
                      .sticky_cookie = "",
                      .shield = shield}};
    config.groups[0].origins.push_back(
        {.name = "b-edge", .address = its_edge_.address(), .site = kThere, .edge = true});
    config.routes = {{.name = "all", .host = "", .path = "/", .group = 0, .cache = nullptr}};
    config.parking = parking;
    config.timeouts.body = body_time;
    config.limits.request_body_bytes_max = 1000;
    EdgeOptions options;
    options.threads = 1;
    auto edge = Edge::start(std::move(options), std::move(config));
    if (!edge) ADD_FAILURE() << edge.error().message;
    EXPECT_TRUE((*edge)->publish(state(kHere, 1, false)));
    return std::move(*edge);
  }
  static WriterState state(SiteId active, std::uint64_t epoch, bool moving) {
    return {.active = active, .epoch = Epoch{epoch}, .version = ++version_, .moving = moving};
  }
  inline static std::uint64_t version_ = 0;
  Origin here_{"here"}, there_{"there"}, its_edge_{"its edge"};
};

// The other site's edge stands in for its servers, or, as a shield, before them.
TEST_F(EdgeOfTwoSites, AShieldIsAskedBeforeTheServersOfItsSite) {
  for (bool shield : {false, true}) {
    auto edge = start({}, shield);
    Client client(edge->listening().front());
    client.send("GET");
    EXPECT_EQ(client.answer(), "200 here");
    ASSERT_TRUE(edge->publish(state(kThere, 2, false)));
    client.send("GET");
    EXPECT_EQ(client.answer(), shield ? "200 its edge" : "200 there");
  }
}

TEST_F(EdgeOfTwoSites, WhatNeedsTheWriterWaitsWhileItMovesAndGoesToTheNewOne) {
  auto edge = start();
  const std::string address = edge->listening().front();
  Client writing(address), reading(address);
  writing.send("POST");
  EXPECT_EQ(writing.answer(), "200 here");
  ASSERT_TRUE(edge->publish(state(kHere, 1, true)));
  writing.send("POST");
  reading.send("GET");
  EXPECT_EQ(reading.answer(), "200 here");  // reads go on
  EXPECT_FALSE(writing.has_answer(100));
  EXPECT_EQ(here_.served(), 2);  // nothing of the waiting one was sent
  ASSERT_TRUE(edge->publish(state(kThere, 2, false)));
  EXPECT_EQ(writing.answer(), "200 there");
  reading.send("GET");
  EXPECT_EQ(reading.answer(), "200 there");
}

TEST_F(EdgeOfTwoSites, AnOlderEpochIsNotFollowed) {
  auto edge = start();
  ASSERT_TRUE(edge->publish(state(kThere, 5, false)));
  auto old = edge->publish(state(kHere, 4, false));
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, Code::kRefused);
  EXPECT_EQ(edge->state().active, kThere);
  Client client(edge->listening().front());
  client.send("POST");
  EXPECT_EQ(client.answer(), "200 there");
}

TEST_F(EdgeOfTwoSites, WaitingIsBoundedInNumberAndTime) {
  auto edge = start({.time_max = 200ms, .requests_max = 2, .bytes_max = 1u << 20});
  ASSERT_TRUE(edge->publish(state(kHere, 1, true)));
  const std::string address = edge->listening().front();
  Client first(address), second(address), third(address);
  first.send("POST");
  second.send("POST");
  // One at a time reaches the edge, so that the third is the one without room.
  while (edge->prometheus_text().find("leeward_edge_parked 2\n") == std::string::npos)
    std::this_thread::yield();
  third.send("POST");
  EXPECT_EQ(third.answer().substr(0, 3), "503");
  EXPECT_EQ(first.answer().substr(0, 3), "503");
  EXPECT_EQ(second.answer().substr(0, 3), "503");
  EXPECT_EQ(here_.served() + there_.served(), 0);
}

// Waits until so many requests are parked.
void wait_for_parked(const Edge& edge, int count) {
  const std::string line = fmt::format("leeward_edge_parked {}\n", count);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (edge.prometheus_text().find(line) == std::string::npos) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "not " << count << " are parked";
    std::this_thread::yield();
  }
}

constexpr std::string_view kChunkedPost =
    "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";

// Whatever ends the wait gives the place back: here there is only one, for all of them in turn.
TEST_F(EdgeOfTwoSites, AWaitThatEndsBadlyKeepsNoPlace) {
  auto edge = start({.time_max = 1min, .requests_max = 1, .bytes_max = 1u << 20});
  ASSERT_TRUE(edge->publish(state(kHere, 1, true)));
  const std::string address = edge->listening().front();
  const std::pair<std::string, std::string> ends[] = {
      {"Z\r\n", "400"}, {"7d0\r\n" + std::string(2000, 'x') + "\r\n", "413"}, {"", "gone"}};
  for (const auto& [rest, status] : ends) {
    Client client(address);
    client.send_text(kChunkedPost);
    wait_for_parked(*edge, 1);
    if (rest.empty()) continue;  // it leaves
    client.send_text(rest);
    EXPECT_EQ(client.answer().substr(0, 3), status);
    wait_for_parked(*edge, 0);
  }
  wait_for_parked(*edge, 0);
  Client waiting(address), refused(address);
  waiting.send("POST");
  wait_for_parked(*edge, 1);
  refused.send("POST");
  EXPECT_EQ(refused.answer().substr(0, 3), "503");
  ASSERT_TRUE(edge->publish(state(kThere, 2, false)));
  EXPECT_EQ(waiting.answer(), "200 there");
  wait_for_parked(*edge, 0);
}

TEST_F(EdgeOfTwoSites, ABodyThatDoesNotComeKeepsNoPlace) {
  auto edge = start({.time_max = 1min, .requests_max = 1, .bytes_max = 1u << 20}, false, 200ms);
  ASSERT_TRUE(edge->publish(state(kHere, 1, true)));
  const std::string address = edge->listening().front();
  Client silent(address);
  silent.send_text(kChunkedPost);
  EXPECT_EQ(silent.answer().substr(0, 3), "408");
  wait_for_parked(*edge, 0);
  Client waiting(address);
  waiting.send("POST");
  wait_for_parked(*edge, 1);
  ASSERT_TRUE(edge->publish(state(kThere, 2, false)));
  EXPECT_EQ(waiting.answer(), "200 there");
}

TEST_F(EdgeOfTwoSites, DrainingAnswersWhatWaitsAndEndsConnections) {
  auto edge = start();
  const std::string address = edge->listening().front();
  Client waiting(address), idle(address);
  ASSERT_TRUE(edge->publish(state(kHere, 1, true)));
  waiting.send("POST");
  while (edge->prometheus_text().find("leeward_edge_parked 1\n") == std::string::npos)
    std::this_thread::yield();
  std::thread draining([&] { EXPECT_TRUE(edge->drain(10s)); });
  idle.send("GET");  // sent before its client could know
  EXPECT_EQ(idle.answer(), "200 here");
  ASSERT_TRUE(edge->publish(state(kThere, 2, false)));
  EXPECT_EQ(waiting.answer(), "200 there");
  draining.join();
}

TEST_F(EdgeOfTwoSites, AReloadWithOtherListenersChangesNothing) {
  auto edge = start();
  EdgeConfig other;
  other.listeners = {{.address = "127.0.0.1:1"}};
  auto reloaded = edge->reload(std::move(other));
  ASSERT_FALSE(reloaded);
  EXPECT_EQ(reloaded.error().code, Code::kConflict);
  Client client(edge->listening().front());
  client.send("GET");
  EXPECT_EQ(client.answer(), "200 here");
}

}  // namespace
}  // namespace leeward::edge
