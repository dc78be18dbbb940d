// Server and client against each other, and each against raw sockets that misbehave.
#include "net/http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/file.h"

namespace leeward::net {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const Endpoint kAnyPort{"127.0.0.1", 0};

HttpRequest get(std::string path) {
  HttpRequest request;
  request.path = std::move(path);
  return request;
}

// A loop in a thread with one server.
class Running {
 public:
  explicit Running(HttpHandler handler, HttpLimits limits = {}) {
    auto started = HttpServer::start(loop_, kAnyPort, std::move(handler), limits);
    EXPECT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
    at_ = server_->local();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Running() { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    loop_.stop();
    thread_.join();
    server_.reset();
  }
  const Endpoint& at() const { return at_; }
  EventLoop& loop() { return loop_; }

 private:
  EventLoop loop_;
  std::unique_ptr<HttpServer> server_;
  Endpoint at_;
  std::thread thread_;
};

sockaddr_in address_of(const Endpoint& e) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(e.port);
  ::inet_pton(AF_INET, e.host.c_str(), &address.sin_addr);
  return address;
}

// A client that speaks bytes.
class RawClient {
 public:
  explicit RawClient(const Endpoint& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = address_of(to);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Reads until the text so far ends with `end`, or the connection ends.
  std::string receive_until(std::string_view end) {
    std::string text;
    char buffer[4096];
    while (end.empty() || !text.ends_with(end)) {
      pollfd waiting{fd_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 20'000) != 1) {
        ADD_FAILURE() << "nothing came after: " << text;
        break;
      }
      ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n <= 0) break;
      text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
  }
  std::string receive_to_end() { return receive_until(""); }
  void leave() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

// A listener that speaks bytes; the test says what, connection by connection.
class RawServer {
 public:
  explicit RawServer(int backlog = 16) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = address_of(kAnyPort);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_.get(), backlog), 0);
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    at_ = Endpoint{"127.0.0.1", ntohs(address.sin_port)};
  }
  const Endpoint& at() const { return at_; }
  UniqueFd accept() {
    pollfd waiting{fd_.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&waiting, 1, 20'000), 1);
    return UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  // Reads one request head (no body) and returns it.
  static std::string receive_head(const UniqueFd& fd) {
    std::string text;
    char c = 0;
    while (!text.ends_with("\r\n\r\n") && ::recv(fd.get(), &c, 1, 0) == 1) text += c;
    return text;
  }
  static void send(const UniqueFd& fd, std::string_view bytes) {
    EXPECT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

 private:
  UniqueFd fd_;
  Endpoint at_;
};

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// Runs calls of one client one after the other on one loop.
class CallingLoop {
 public:
  explicit CallingLoop(HttpClientLimits limits = {}) : client_(loop_, limits) {}
  Result<HttpResponse> call(const Endpoint& to, HttpRequest request, Duration timeout = 20s) {
    Result<HttpResponse> answer = fail(Code::kInternal, "no callback");
    client_.send(to, std::move(request), timeout, [&](Result<HttpResponse> result) {
      answer = std::move(result);
      loop_.stop();
    });
    loop_.run();
    return answer;
  }

 private:
  EventLoop loop_;
  HttpClient client_;
};

TEST(HttpServer, HandsOverTheWholeRequestAndItsAnswer) {
  Running server([](HttpRequest request, Responder respond) {
    EXPECT_EQ(request.method, "PUT");
    EXPECT_EQ(request.path, "/v1/a b");
    EXPECT_EQ(request.parameter("wait"), "5 s");
    EXPECT_EQ(request.header("authorization"), "Bearer x");
    EXPECT_EQ(request.peer.host, "127.0.0.1");
    EXPECT_NE(request.peer.port, 0);
    HttpResponse response;
    response.status = 201;
    response.content_type = "text/plain";
    response.headers["X-Epoch"] = "7";
    response.body = request.body + "!";
    respond(response);
  });
  HttpRequest request = get("/v1/a b");
  request.method = "PUT";
  request.query["wait"] = "5 s";
  request.headers["Authorization"] = "Bearer x";
  request.body = std::string(300'000, 'x');
  auto answer = http_call(server.at(), request, 20s);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->content_type, "text/plain");
  EXPECT_EQ(answer->headers["x-epoch"], "7");
  EXPECT_EQ(answer->body, request.body + "!");
}

TEST(HttpServer, KeepsTheConnectionForTheNextRequest) {
  Running server([](HttpRequest request, Responder respond) {
    respond(HttpResponse{.body = std::to_string(request.peer.port), .headers = {}});
  });
  CallingLoop calls;
  auto first = calls.call(server.at(), get("/"));
  auto second = calls.call(server.at(), get("/"));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->body, second->body);
}

TEST(HttpServer, AnswersPipelinedRequestsOneAfterTheOther) {
  std::atomic<int> running{0};
  Running* self = nullptr;
  Running server([&](HttpRequest request, Responder respond) {
    EXPECT_EQ(running.fetch_add(1), 0) << "two requests of one connection at once";
    self->loop().call_after(5ms, [&running, request, respond] {
      --running;
      respond(HttpResponse{.body = request.path, .headers = {}});
    });
  });
  self = &server;
  RawClient client(server.at());
  client.send(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
      "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  std::string text = client.receive_to_end();
  auto one = text.find("\r\n\r\n/1"), two = text.find("\r\n\r\n/2"),
       three = text.find("\r\n\r\n/3");
  EXPECT_LT(one, two);
  EXPECT_LT(two, three);
  EXPECT_NE(three, std::string::npos) << text;
}

TEST(HttpServer, AnswersALongPollFromAnotherThread) {
  WorkerPool pool(1, 8);
  Running server([&](HttpRequest, Responder respond) {
    EXPECT_TRUE(pool.submit([respond] {
      respond(HttpResponse{.body = "later", .headers = {}});
      respond(HttpResponse{.body = "only the first counts", .headers = {}});
    }));
  });
  auto answer = http_call(server.at(), get("/"), 20s);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "later");
}

TEST(HttpServer, FreesTheConnectionOfAClientThatLeftDuringALongPoll) {
  std::mutex mutex;
  std::condition_variable polled;
  std::vector<Responder> kept;
  Running server(
      [&](HttpRequest request, Responder respond) {
        if (request.path != "/poll") return respond({});
        std::lock_guard lock(mutex);
        kept.push_back(std::move(respond));
        polled.notify_all();
      },
      HttpLimits{.connections_max = 1});
  RawClient client(server.at());
  client.send("GET /poll HTTP/1.1\r\nHost: x\r\n\r\n");
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(polled.wait_for(lock, 20s, [&] { return !kept.empty(); }));
  }
  auto full = http_call(server.at(), get("/"), 20s);  // the only place is taken
  if (full) {
    EXPECT_EQ(full->status, 503);
  }
  client.leave();
  const BootTime deadline = BootClock::now() + 20s;
  bool served = false;
  while (!served && BootClock::now() < deadline) {
    auto answer = http_call(server.at(), get("/"), 20s);
    served = answer && answer->status == 200;
  }
  EXPECT_TRUE(served);
  kept.front()({});  // nobody is there any more
}

TEST(HttpServer, SaysSoWhenAHandlerDropsARequest) {
  Running server([](HttpRequest, Responder) {});
  auto answer = http_call(server.at(), get("/"), 20s);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 500);
  EXPECT_EQ(error_from_response(*answer).code, Code::kInternal);
}

TEST(HttpServer, RefusesWhatIsNoRequestOrTooLarge) {
  Running server([](HttpRequest, Responder respond) { respond({}); },
                 HttpLimits{.body_bytes_max = 1000, .header_bytes_max = 1000});
  struct {
    std::string request, answer;
  } cases[] = {
      {"\x16\x03\x01 not HTTP\r\n\r\n", "HTTP/1.1 400 "},
      {"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
      {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
      {"GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n", "HTTP/1.1 431 "},
      {"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x'), "HTTP/1.1 413 "},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + std::string(2000, 'x') +
           "\r\n0\r\n\r\n",
       "HTTP/1.1 413 "},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "HTTP/1.1 400 "},  // request smuggling, RFC 9112 §6.3
  };
  for (const auto& [request, answer] : cases) {
    RawClient client(server.at());
    client.send(request);
    EXPECT_THAT(client.receive_to_end(), StartsWith(answer)) << request.substr(0, 60);
  }
}

TEST(HttpServer, TakesAChunkedBodyAndSendsContinueWhenAsked) {
  Running server([](HttpRequest request, Responder respond) {
    respond(HttpResponse{.body = request.body, .headers = {}});
  });
  RawClient client(server.at());
  client.send(
      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(client.receive_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("3\r\nabc\r\n");
  client.send("2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(client.receive_until("abcde"), EndsWith("\r\n\r\nabcde"));
  client.send("HEAD / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.receive_to_end(), EndsWith("\r\n\r\n"));
}

TEST(HttpServer, GivesUpOnARequestThatDoesNotArrive) {
  Running server([](HttpRequest, Responder respond) { respond({}); },
                 HttpLimits{.idle_timeout = 50ms, .request_timeout = 50ms});
  RawClient slow(server.at());
  slow.send("GET / HTT");
  EXPECT_THAT(slow.receive_to_end(), StartsWith("HTTP/1.1 408 "));
  RawClient idle(server.at());
  EXPECT_EQ(idle.receive_to_end(), "");
}

TEST(HttpServer, NamesTheEndpointThatItCannotListenOn) {
  EventLoop loop;
  RawServer taken;
  auto started = HttpServer::start(loop, taken.at(), [](HttpRequest, Responder) {});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Code::kIo);
  EXPECT_THAT(started.error().message, HasSubstr(to_string(taken.at())));
  EXPECT_EQ(HttpServer::start(loop, Endpoint{"nowhere", 1}, nullptr).error().code, Code::kInvalid);
}

TEST(HttpServer, EndsWithItsConnectionsAndLeavesRespondersHarmless) {
  std::vector<Responder> kept;
  {
    EventLoop loop;
    HttpClient client(loop);
    auto server = HttpServer::start(loop, kAnyPort, [&](HttpRequest, Responder respond) {
      kept.push_back(std::move(respond));
      loop.stop();
    });
    ASSERT_TRUE(server);
    Result<HttpResponse> answer = fail(Code::kInternal, "no callback");
    client.send((*server)->local(), get("/"), 20s, [&](Result<HttpResponse> result) {
      answer = std::move(result);
      loop.stop();
    });
    loop.run();  // until the handler has it
    server->reset();
    loop.run();  // until the client sees the end
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::kUnavailable);
    ASSERT_EQ(kept.size(), 1u);
    kept.front()({});
    kept.push_back(kept.front());
  }
  kept.front()({});  // the loop is gone, too
}

// A loop in a thread with a server on an adopted listener, whose bodies stream both ways.
class Streaming {
 public:
  Streaming(HttpHandler handler, HttpHeadHandler on_head, HttpLimits limits = {}) {
    UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = address_of(kAnyPort);
    EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener.get(), 8), 0);
    auto server = HttpServer::adopt(loop_, std::move(listener), std::move(handler),
                                    std::move(on_head), limits);
    EXPECT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    at_ = server_->local();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Streaming() {
    loop_.stop();
    thread_.join();
  }
  const Endpoint& at() const { return at_; }
  EventLoop& loop() { return loop_; }

 private:
  EventLoop loop_;
  std::unique_ptr<HttpServer> server_;
  Endpoint at_;
  std::thread thread_;
};

TEST(HttpServer, StreamsAnAnswerAndKeepsTheConnection) {
  std::shared_ptr<HttpBodyStream> stream;
  Streaming running(
      [&](HttpRequest, Responder respond) {
        stream = std::make_shared<HttpBodyStream>();
        HttpResponse response;
        response.body = "one ";
        response.stream = stream;
        stream->write("two ");
        respond(std::move(response));
        running.loop().call_after(20ms, [&] {
          stream->write("three");
          stream->finish();
          stream->write("never");
        });
      },
      nullptr);
  RawClient client(running.at());
  for (int i = 0; i < 2; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string text = client.receive_until("0\r\n\r\n");
    EXPECT_THAT(text, HasSubstr("Transfer-Encoding: chunked\r\n"));
    EXPECT_THAT(text, Not(HasSubstr("Content-Length")));
    EXPECT_THAT(text, EndsWith("8\r\none two \r\n5\r\nthree\r\n0\r\n\r\n"));
  }
  RawClient old(running.at());
  old.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.receive_to_end(), EndsWith("\r\n\r\none two three"));
}

TEST(HttpServer, CutsTheConnectionWhenAStreamIsAborted) {
  std::shared_ptr<HttpBodyStream> stream;
  Streaming running(
      [&](HttpRequest, Responder respond) {
        stream = std::make_shared<HttpBodyStream>();
        HttpResponse response;
        response.stream = stream;
        stream->write("half");
        respond(std::move(response));
        running.loop().call_after(20ms, [&] { stream->abort(); });
      },
      nullptr);
  RawClient client(running.at());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.receive_to_end(), EndsWith("4\r\nhalf\r\n"));
}

TEST(HttpServer, TellsTheWriterThatTheClientLeft) {
  std::atomic<bool> begun{false}, gone{false};
  std::shared_ptr<HttpBodyStream> stream;
  std::function<void()> look;
  Streaming running(
      [&](HttpRequest, Responder respond) {
        stream = std::make_shared<HttpBodyStream>();
        HttpResponse response;
        response.stream = stream;
        respond(std::move(response));
        begun = true;
        look = [&] {
          gone = stream->client_gone();
          if (!gone) running.loop().call_after(5ms, look);
        };
        look();
      },
      nullptr);
  RawClient client(running.at());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  client.receive_until("\r\n\r\n");
  client.leave();
  for (int i = 0; i < 2000 && !gone; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(begun && gone);
}

TEST(HttpServer, HandsOnABodyAsItComesAndTheTrailerAtItsEnd) {
  std::mutex mutex;
  std::condition_variable changed;
  std::string received;
  Streaming running(
      [&](HttpRequest request, Responder respond) {
        HttpResponse response;
        response.body = request.body + "|" + std::string(request.header("X-Sum"));
        respond(std::move(response));
      },
      [&](const HttpRequest& head) -> HttpBodyRule {
        if (head.path != "/stream") return {};
        return {.sink = [&](std::string_view bytes) {
          std::lock_guard lock(mutex);
          received += bytes;
          changed.notify_all();
        }};
      });
  RawClient client(running.at());
  client.send(
      "POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
      "Trailer: X-Sum\r\n\r\n4\r\nhalf\r\n");
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, 20s, [&] { return received == "half"; }));
  }
  client.send("5\r\nwhole\r\n0\r\nX-Sum: 42\r\n\r\n");
  EXPECT_THAT(client.receive_until("|42"), EndsWith("\r\n\r\n|42"));
  EXPECT_EQ(received, "halfwhole");
  client.send("POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_THAT(client.receive_until("abc|"), EndsWith("abc|"));
}

TEST(HttpServer, RefusesAStreamedBodyThatIsTooLarge) {
  Streaming running(
      [](HttpRequest, Responder) { ADD_FAILURE(); },
      [](const HttpRequest&) -> HttpBodyRule { return {.sink = [](std::string_view) {}}; },
      HttpLimits{.body_bytes_max = 6});
  RawClient client(running.at());
  client.send(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nmore\r\n");
  EXPECT_THAT(client.receive_to_end(), StartsWith("HTTP/1.1 413 "));
}

TEST(HttpServer, KeepsOfABodyWhatIsWantedAndCountsTheRest) {
  Streaming running(
      [](HttpRequest request, Responder respond) {
        respond(HttpResponse{.body = fmt::format("<{}+{}>", request.body, request.body_dropped),
                             .headers = {}});
      },
      [](const HttpRequest& head) -> HttpBodyRule {
        return {.kept_max = head.path == "/none" ? 0u : 5u};
      });
  RawClient client(running.at());
  for (const auto& [path, answer] : {std::pair("/none", "<+9>"), std::pair("/some", "<abcde+4>")}) {
    client.send(
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabcdefghi", path));
    EXPECT_THAT(client.receive_until(">"), EndsWith(answer));
    client.send(
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "4\r\nabcd\r\n5\r\nefghi\r\n0\r\n\r\n",
                    path));
    EXPECT_THAT(client.receive_until(">"), EndsWith(answer));
  }
  client.send("POST /some HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde");
  EXPECT_THAT(client.receive_until(">"), EndsWith("<abcde+0>")) << "what was dropped is over";
}

TEST(HttpServer, LetsGoOfARuleWhenTheBodyIsThereOrItsClientLeft) {
  std::atomic<int> held{0};
  Streaming running(
      [&](HttpRequest, Responder respond) {
        respond(HttpResponse{.body = fmt::format("<{}>", held.load()), .headers = {}});
      },
      [&](const HttpRequest&) -> HttpBodyRule {
        ++held;
        return {.while_it_comes = std::shared_ptr<void>(nullptr, [&](void*) { --held; })};
      });
  constexpr std::string_view kBegun = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabcd";
  auto becomes = [&](int count) {
    for (int i = 0; i < 2000 && held != count; ++i) std::this_thread::sleep_for(10ms);
    return held == count;
  };
  RawClient client(running.at()), leaver(running.at());
  client.send(kBegun);
  leaver.send(kBegun);
  EXPECT_TRUE(becomes(2));
  leaver.leave();
  EXPECT_TRUE(becomes(1));
  client.send("efghi");
  EXPECT_THAT(client.receive_until(">"), EndsWith("<0>")) << "gone before the handler is called";
}

TEST(HttpServer, BoundsTheAnswersThatNobodyTakes) {
  std::atomic<int> answered{0};
  Running server(
      [&](HttpRequest, Responder respond) {
        // More than the sockets of both ends take by themselves.
        respond(HttpResponse{.body = std::string(40u << 20, 'x'), .headers = {}});
        ++answered;
      },
      HttpLimits{.answer_bytes_max = 60u << 20});
  constexpr std::string_view kAsk = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  RawClient idle(server.at());
  idle.send(kAsk);
  for (int i = 0; i < 2000 && answered == 0; ++i) std::this_thread::sleep_for(10ms);
  RawClient second(server.at());
  second.send(kAsk);
  EXPECT_EQ(second.receive_to_end(), "");
  EXPECT_GT(idle.receive_to_end().size(), 40u << 20) << "and the first is whole";
  RawClient third(server.at());
  third.send(kAsk);
  EXPECT_GT(third.receive_to_end().size(), 40u << 20);
}

TEST(HttpClient, ReportsARefusedConnection) {
  Endpoint nobody;
  { nobody = RawServer().at(); }
  auto answer = http_call(nobody, get("/"), 20s);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_THAT(answer.error().message, HasSubstr(to_string(nobody)));
  EXPECT_EQ(http_call(Endpoint{"nowhere", 1}, get("/"), 1s).error().code, Code::kInvalid);
  EXPECT_EQ(http_call(nobody, get("no-slash"), 1s).error().code, Code::kInvalid);
}

TEST(HttpClient, TimesOutOnAHostThatSwallowsTheConnection) {
  // With its backlog full, a listener drops further SYNs, as a black-holed host does.
  RawServer full(0);
  std::vector<UniqueFd> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address = address_of(full.at());
    ::connect(fillers.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  const BootTime start = BootClock::now();
  auto answer = http_call(full.at(), get("/"), 200ms);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kTimeout);
  EXPECT_GE(BootClock::now() - start, 200ms);
}

TEST(HttpClient, NeverDeliversALateAnswer) {
  RawServer server;
  EventLoop loop;
  HttpClient client(loop);
  int callbacks = 0;
  client.send(server.at(), get("/slow"), 50ms, [&](Result<HttpResponse> result) {
    ++callbacks;
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::kTimeout);
    loop.stop();
  });
  loop.run();
  UniqueFd connection = server.accept();
  RawServer::receive_head(connection);
  ::send(connection.get(), kOk.data(), kOk.size(), MSG_NOSIGNAL);  // may fail: it is closed
  // The next call gets a connection, and an answer, of its own.
  client.send(server.at(), get("/next"), 20s, [&](Result<HttpResponse> result) {
    ++callbacks;
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->body, "ok");
    loop.stop();
  });
  std::thread answering([&] {
    UniqueFd next = server.accept();
    EXPECT_THAT(RawServer::receive_head(next), StartsWith("GET /next "));
    RawServer::send(next, kOk);
  });
  loop.run();
  answering.join();
  EXPECT_EQ(callbacks, 2);
}

// A server that keeps the connection after its first answer, reads a second request on it, and
// hangs up. If the client comes again, it answers.
Result<HttpResponse> second_call_on_a_stale_connection(std::string method) {
  RawServer server;
  CallingLoop calls;
  std::thread answering([&] {
    UniqueFd first = server.accept();
    RawServer::receive_head(first);
    RawServer::send(first, kOk);
    EXPECT_THAT(RawServer::receive_head(first), StartsWith(method + " /second "));
    first.reset();
    if (method != "GET") return;
    UniqueFd again = server.accept();
    EXPECT_THAT(RawServer::receive_head(again), StartsWith(method + " /second "));
    RawServer::send(again, kOk);
  });
  EXPECT_TRUE(calls.call(server.at(), get("/first")));
  HttpRequest request = get("/second");
  request.method = method;
  auto answer = calls.call(server.at(), request);
  answering.join();
  return answer;
}

TEST(HttpClient, RetriesAGetOnAStaleConnection) {
  auto answer = second_call_on_a_stale_connection("GET");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "ok");
}

TEST(HttpClient, NeverRepeatsAPostByItself) {
  auto answer = second_call_on_a_stale_connection("POST");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
}

TEST(HttpClient, DoesNotReuseAConnectionThatTheServerClosed) {
  RawServer server;
  CallingLoop calls;
  std::thread answering([&] {
    for (int i = 0; i < 2; ++i) {
      UniqueFd connection = server.accept();
      RawServer::receive_head(connection);
      RawServer::send(connection, kOk);
    }
  });
  HttpRequest post = get("/");
  post.method = "POST";
  EXPECT_TRUE(calls.call(server.at(), post));
  // The end of the first connection is usually seen before the next call. If it is still on its
  // way, that POST fails, is not repeated, and the one after it goes through.
  auto again = calls.call(server.at(), post);
  if (!again) {
    EXPECT_EQ(again.error().code, Code::kUnavailable);
    again = calls.call(server.at(), post);
  }
  EXPECT_TRUE(again);
  answering.join();
}

TEST(HttpClient, ReadsAnswersOfEveryFraming) {
  struct {
    std::string_view bytes;
    std::string_view body;
  } cases[] = {
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
       "abc"},
      {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", "to the end"},
      {"HTTP/1.1 204 No Content\r\n\r\n", ""},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x"},
  };
  for (const auto& [bytes, body] : cases) {
    RawServer server;
    std::thread answering([&server, sent = bytes] {
      UniqueFd connection = server.accept();
      RawServer::receive_head(connection);
      RawServer::send(connection, sent);
    });
    auto answer = http_call(server.at(), get("/"), 20s);
    answering.join();
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, body);
  }
}

TEST(HttpClient, CallsGarbageCorruptAndACutAnswerUnavailable) {
  struct {
    std::string_view bytes;
    Code code;
  } cases[] = {
      {"220 smtp ready\r\n\r\n", Code::kCorrupt},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", Code::kCorrupt},
      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Code::kUnavailable},
      {"", Code::kUnavailable},
  };
  for (const auto& [bytes, code] : cases) {
    RawServer server;
    std::thread answering([&server, sent = bytes] {
      UniqueFd connection = server.accept();
      RawServer::receive_head(connection);
      RawServer::send(connection, sent);
    });
    auto answer = http_call(server.at(), get("/"), 20s);
    answering.join();
    ASSERT_FALSE(answer) << bytes;
    EXPECT_EQ(answer.error().code, code) << bytes;
  }
}

TEST(HttpClient, BoundsTheCallsUnderWay) {
  RawServer silent;
  EventLoop loop;
  HttpClient client(loop, HttpClientLimits{.calls_max = 1});
  std::vector<Code> codes;
  for (int i = 0; i < 2; ++i)
    client.send(silent.at(), get("/"), 50ms, [&](Result<HttpResponse> result) {
      ASSERT_FALSE(result);
      codes.push_back(result.error().code);
      if (codes.size() == 2) loop.stop();
    });
  loop.run();
  EXPECT_EQ(codes, (std::vector<Code>{Code::kUnavailable, Code::kTimeout}));
}

TEST(HttpClient, DropsCallbacksUncalledWhenItIsDestroyed) {
  RawServer silent;
  EventLoop loop;
  auto owned = std::make_shared<int>(0);
  {
    HttpClient client(loop);
    client.send(silent.at(), get("/"), 20s, [owned](Result<HttpResponse>) { ADD_FAILURE(); });
    loop.post([&] { loop.stop(); });
    loop.run();
    client.send(silent.at(), get("/"), 20s, [owned](Result<HttpResponse>) { ADD_FAILURE(); });
  }
  loop.call_after(10ms, [&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace leeward::net
