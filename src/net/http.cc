#include "net/http.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <set>

#include "base/file.h"
#include "net/internal/http_text.h"
#include "net/internal/loop_impl.h"

// Beast parses; reading, writing and time-outs are done here, because a server that must notice a
// leaving client during a long poll keeps a read outstanding all the time.
namespace leeward::net {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::size_t kReadBytes = 16u << 10;
constexpr Duration kLinger = 2s;            // to let a client read an answer before the reset
constexpr Duration kAcceptBackoff = 100ms;  // when the process has no descriptors left
constexpr int kAcceptsPerWakeup = 64;       // then the loop's other work gets its turn

void set_no_delay(int fd) {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Result<tcp::endpoint> to_asio(const Endpoint& e) {
  error_code error;
  auto address = asio::ip::make_address_v4(e.host, error);
  if (error)
    return fail(Code::kInvalid, "'{}' is not an IPv4 address; write for example 10.0.0.1", e.host);
  return tcp::endpoint(address, e.port);
}

Endpoint from_asio(const tcp::endpoint& e) { return Endpoint{e.address().to_string(), e.port()}; }

template <typename Fields>
HttpHeaders copy_headers(const Fields& fields) {
  HttpHeaders headers;
  for (const auto& field : fields) {
    auto [it, inserted] =
        headers.try_emplace(std::string(field.name_string()), std::string(field.value()));
    if (!inserted) it->second.append(", ").append(std::string_view(field.value()));
  }
  return headers;
}

// One open answer. Owned by the copies of its Responder; the last one to go sends the 500.
template <typename Session>
class PendingAnswer {
 public:
  PendingAnswer(std::shared_ptr<LoopMailbox> mailbox, std::weak_ptr<Session> session)
      : mailbox_(std::move(mailbox)), session_(std::move(session)) {}
  ~PendingAnswer() {
    if (!answered_)
      send(error_response(Error{Code::kInternal, "the request was dropped unanswered"}));
  }
  void send(HttpResponse response) {
    if (answered_.exchange(true)) return;
    // std::function wants a copyable capture; the response is moved out of it once.
    auto shared = std::make_shared<HttpResponse>(std::move(response));
    mailbox_->post([session = std::move(session_), shared] {
      if (auto live = session.lock()) live->answer(std::move(*shared));
    });
  }

 private:
  std::shared_ptr<LoopMailbox> mailbox_;
  std::weak_ptr<Session> session_;
  std::atomic<bool> answered_{false};
};

}  // namespace

// ---------------------------------------------------------------------------------------------
// Server

class HttpServer::Core : public std::enable_shared_from_this<HttpServer::Core> {
 public:
  class Session;

  Core(EventLoop& loop, HttpHandler on_request, const HttpLimits& bounds)
      : handler(std::move(on_request)),
        limits(bounds),
        mailbox(loop.impl().mailbox),
        acceptor_(loop.impl().context),
        backoff_(loop.impl().context) {}

  Status listen(const Endpoint& at);
  void stop();
  Endpoint local() const { return local_; }
  void remove(const std::shared_ptr<Session>& session) { sessions_.erase(session); }

  HttpHandler handler;
  const HttpLimits limits;
  const std::shared_ptr<LoopMailbox> mailbox;

 private:
  void wait_for_clients();
  void accept_waiting();
  void welcome(int fd, const tcp::endpoint& peer);

  tcp::acceptor acceptor_;
  asio::steady_timer backoff_;
  Endpoint local_;
  std::set<std::shared_ptr<Session>> sessions_;
};

// One connection. The core owns it until close(); outstanding operations hold it too.
class HttpServer::Core::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Core> core, tcp::socket socket, Endpoint peer)
      : core_(std::move(core)),
        socket_(std::move(socket)),
        timer_(socket_.get_executor()),
        peer_(std::move(peer)) {}

  void start() {
    next_request();
    read();
  }
  void answer(HttpResponse response);
  void close();

 private:
  enum class State {
    kIdle,       // no byte of the next request yet
    kReceiving,  // in the middle of a request
    kHandling,   // the handler has it
    kWriting,    // the answer, or "100 Continue", is on its way out
    kLingering,  // answered for good; waits for the client to close
    kClosed,
  };

  void next_request();
  void read();
  void on_read(const error_code& error, std::size_t bytes);
  void advance();
  void deliver();
  void send_continue();
  void refuse(int status, std::string_view why);
  void write(const HttpResponse& response);
  void on_written(const error_code& error);
  void set_deadline(Duration after);
  void on_deadline();

  std::shared_ptr<Core> core_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  const Endpoint peer_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  State state_ = State::kIdle;
  bool reading_ = false;
  bool keep_alive_ = false;
  bool head_only_ = false;
  bool continued_ = false;  // "100 Continue" was sent for this request
  std::string head_;        // of the answer being written, with body_
  std::string body_;
};

void HttpServer::Core::Session::next_request() {
  parser_.emplace();
  parser_->eager(true);
  parser_->header_limit(static_cast<std::uint32_t>(core_->limits.header_bytes_max));
  parser_->body_limit(core_->limits.body_bytes_max);
  continued_ = false;
  state_ = State::kIdle;
  set_deadline(core_->limits.idle_timeout);
}

// Keeps one read outstanding, so that a client that leaves is noticed in any state. While an answer
// is awaited at most one buffer of pipelined bytes is taken.
void HttpServer::Core::Session::read() {
  if (reading_ || state_ == State::kClosed ||
      buffer_.size() > kReadBytes + core_->limits.header_bytes_max)
    return;
  reading_ = true;
  socket_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](const error_code& error, std::size_t bytes) {
                            self->on_read(error, bytes);
                          });
}

void HttpServer::Core::Session::on_read(const error_code& error, std::size_t bytes) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) return close();
  buffer_.commit(bytes);
  advance();
}

void HttpServer::Core::Session::advance() {
  if (state_ == State::kLingering) buffer_.consume(buffer_.size());
  if (state_ == State::kIdle && buffer_.size() > 0) {
    state_ = State::kReceiving;
    set_deadline(core_->limits.request_timeout);
  }
  while (state_ == State::kReceiving && buffer_.size() > 0) {
    error_code error;
    buffer_.consume(parser_->put(buffer_.data(), error));
    if (error == http::error::need_more) break;
    if (error == http::error::body_limit) return refuse(413, "the body is too large");
    if (error == http::error::header_limit) return refuse(431, "the header is too large");
    if (error) return refuse(400, error.message());
    if (parser_->is_done()) return deliver();
  }
  if (state_ == State::kReceiving && parser_->is_header_done() && !continued_ &&
      boost::beast::iequals(parser_->get()[http::field::expect], "100-continue"))
    return send_continue();
  read();
}

void HttpServer::Core::Session::deliver() {
  auto message = parser_->release();
  keep_alive_ = message.keep_alive();
  head_only_ = message.method() == http::verb::head;
  auto target = parse_target(std::string_view(message.target()));
  if (!target) return refuse(400, target.error().message);

  state_ = State::kHandling;
  timer_.cancel();  // the handler may take its time
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  request.headers = copy_headers(message);
  request.body = std::move(message.body());
  request.peer = peer_;
  auto pending = std::make_shared<PendingAnswer<Session>>(core_->mailbox, weak_from_this());
  read();
  core_->handler(std::move(request), [pending = std::move(pending)](HttpResponse response) {
    pending->send(std::move(response));
  });
}

void HttpServer::Core::Session::send_continue() {
  continued_ = true;
  state_ = State::kWriting;
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(socket_, asio::buffer(kContinue),
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      if (self->state_ == State::kClosed) return;
                      if (error) return self->close();
                      self->state_ = State::kReceiving;
                      self->advance();
                    });
}

// Answers something that is no request, after which nothing on this connection can be trusted.
void HttpServer::Core::Session::refuse(int status, std::string_view why) {
  keep_alive_ = false;
  HttpResponse response = error_response(Error{Code::kInvalid, std::string(why)});
  response.status = status;
  write(response);
}

void HttpServer::Core::Session::answer(HttpResponse response) {
  if (state_ == State::kHandling) write(response);
}

void HttpServer::Core::Session::write(const HttpResponse& response) {
  state_ = State::kWriting;
  set_deadline(core_->limits.idle_timeout);
  std::string_view reason(
      http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status))));
  head_ = format_response_head(response, reason, keep_alive_);
  body_ = head_only_ || !status_has_body(response.status) ? std::string{} : response.body;
  std::array<asio::const_buffer, 2> parts{asio::buffer(head_), asio::buffer(body_)};
  asio::async_write(socket_, parts,
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      self->on_written(error);
                    });
}

void HttpServer::Core::Session::on_written(const error_code& error) {
  if (state_ == State::kClosed) return;
  if (error) return close();
  if (keep_alive_) {
    next_request();
    return advance();
  }
  // Closing with unread bytes would reset the connection and could take the answer with it
  // (RFC 9112 §9.6): say that we are done, then read on until the client is, too.
  state_ = State::kLingering;
  set_deadline(kLinger);
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  advance();
}

void HttpServer::Core::Session::set_deadline(Duration after) {
  timer_.expires_after(after);
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error) self->on_deadline();
  });
}

void HttpServer::Core::Session::on_deadline() {
  // A wait whose handler was queued already cannot be cancelled any more; the expiry tells.
  if (timer_.expiry() > asio::steady_timer::clock_type::now()) return;
  if (state_ == State::kHandling) return;
  if (state_ == State::kReceiving) return refuse(408, "the request did not arrive in time");
  close();
}

void HttpServer::Core::Session::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
  core_->remove(shared_from_this());
}

Status HttpServer::Core::listen(const Endpoint& at) {
  auto endpoint = to_asio(at);
  if (!endpoint) return fail(endpoint.error());
  const std::string what = "listen on " + to_string(at);
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail(os_error(errno, what));
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), endpoint->data(), static_cast<socklen_t>(endpoint->size())) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0)
    return fail(os_error(errno, what));
  error_code error;
  acceptor_.assign(tcp::v4(), fd.get(), error);
  if (error) return fail(Code::kIo, "{}: {}", what, error.message());
  fd.release();
  local_ = from_asio(acceptor_.local_endpoint(error));
  wait_for_clients();
  return {};
}

void HttpServer::Core::wait_for_clients() {
  acceptor_.async_wait(tcp::acceptor::wait_read,
                       [self = shared_from_this()](const error_code& error) {
                         if (!error && self->acceptor_.is_open()) self->accept_waiting();
                       });
}

void HttpServer::Core::accept_waiting() {
  for (int i = 0; i < kAcceptsPerWakeup; ++i) {
    tcp::endpoint peer;
    auto size = static_cast<socklen_t>(peer.capacity());
    int fd = ::accept4(acceptor_.native_handle(), peer.data(), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      welcome(fd, peer);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) break;
    // No descriptors or memory: the client stays in the backlog and the listener stays readable, so
    // waiting for it again at once would spin.
    backoff_.expires_after(kAcceptBackoff);
    backoff_.async_wait([self = shared_from_this()](const error_code& error) {
      if (!error && self->acceptor_.is_open()) self->wait_for_clients();
    });
    return;
  }
  wait_for_clients();
}

void HttpServer::Core::welcome(int fd, const tcp::endpoint& peer) {
  UniqueFd owned(fd);
  set_no_delay(fd);
  if (sessions_.size() >= limits.connections_max) {
    static constexpr std::string_view kFull =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    [[maybe_unused]] ssize_t n = ::send(fd, kFull.data(), kFull.size(), MSG_NOSIGNAL);
    return;
  }
  tcp::socket socket(acceptor_.get_executor());
  error_code error;
  socket.assign(tcp::v4(), fd, error);
  if (error) return;
  owned.release();
  auto session = std::make_shared<Session>(shared_from_this(), std::move(socket), from_asio(peer));
  sessions_.insert(session);
  session->start();
}

void HttpServer::Core::stop() {
  error_code ignored;
  acceptor_.close(ignored);
  backoff_.cancel();
  while (!sessions_.empty()) {
    auto session = *sessions_.begin();
    session->close();
  }
  handler = nullptr;  // what it captured need not outlive the server
}

HttpServer::HttpServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}
HttpServer::~HttpServer() { core_->stop(); }
Endpoint HttpServer::local() const { return core_->local(); }

Result<std::unique_ptr<HttpServer>> HttpServer::start(EventLoop& loop, const Endpoint& listen,
                                                      HttpHandler handler, HttpLimits limits) {
  loop.impl().check_thread();
  auto core = std::make_shared<Core>(loop, std::move(handler), limits);
  if (auto listening = core->listen(listen); !listening) return fail(listening.error());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(core)));
}

// ---------------------------------------------------------------------------------------------
// Client

class HttpClient::Core : public std::enable_shared_from_this<HttpClient::Core> {
 public:
  class Exchange;

  Core(EventLoop& loop, const HttpClientLimits& bounds)
      : limits(bounds), mailbox(loop.impl().mailbox), context(loop.impl().context) {}

  void start(const Endpoint& to, HttpRequest request, Duration timeout, Callback done);
  void stop();
  void remove(const std::shared_ptr<Exchange>& exchange) { exchanges_.erase(exchange); }

  // An idle connection that still looks alive.
  std::optional<tcp::socket> take(const Endpoint& to);
  void keep(const Endpoint& to, tcp::socket socket);

  const HttpClientLimits limits;
  const std::shared_ptr<LoopMailbox> mailbox;
  asio::io_context& context;

 private:
  struct Idle {
    tcp::socket socket;
    BootTime since;
  };
  void drop_old();

  bool stopped_ = false;
  std::set<std::shared_ptr<Exchange>> exchanges_;
  std::map<Endpoint, std::vector<Idle>> idle_;
  std::size_t idle_count_ = 0;
};

// One call, from send() to its callback. The core owns it until finish().
class HttpClient::Core::Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(std::shared_ptr<Core> core, Endpoint to, HttpRequest request, Callback done)
      : core_(std::move(core)),
        to_(std::move(to)),
        request_(std::move(request)),
        done_(std::move(done)),
        socket_(core_->context),
        timer_(core_->context) {}

  void start(Duration timeout);
  void abandon();  // closes; the callback is destroyed uncalled

 private:
  void connect();
  void write();
  void read();
  void on_read(const error_code& error, std::size_t bytes);
  void parse();
  void reset_parser();
  void deliver();
  void lost(const error_code& error, std::string_view doing);
  void finish(Result<HttpResponse> result);

  std::shared_ptr<Core> core_;
  const Endpoint to_;
  const HttpRequest request_;
  Callback done_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  std::string head_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
  bool pooled_ = false;    // the connection served another call before
  bool answered_ = false;  // a byte of the answer came
  bool finished_ = false;
};

void HttpClient::Core::Exchange::start(Duration timeout) {
  auto head = format_request_head(request_, to_);
  if (!head) return finish(fail(head.error()));
  head_ = std::move(*head);
  timer_.expires_after(timeout);
  timer_.async_wait([self = shared_from_this(), timeout](const error_code& error) {
    if (error || self->finished_) return;
    self->finish(fail(Code::kTimeout, "{} {} at {}: no answer within {}", self->request_.method,
                      self->request_.path, to_string(self->to_), format_duration(timeout)));
  });
  if (auto idle = core_->take(to_)) {
    socket_ = std::move(*idle);
    pooled_ = true;
    return write();
  }
  connect();
}

void HttpClient::Core::Exchange::connect() {
  pooled_ = false;
  auto endpoint = to_asio(to_);
  if (!endpoint) return finish(fail(endpoint.error()));
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return finish(fail(os_error(errno, "open a socket to " + to_string(to_))));
  set_no_delay(fd.get());
  error_code error;
  socket_ = tcp::socket(core_->context);
  socket_.assign(tcp::v4(), fd.get(), error);
  if (error) return lost(error, "connect");
  fd.release();
  socket_.async_connect(*endpoint, [self = shared_from_this()](const error_code& failure) {
    if (self->finished_) return;
    if (failure) return self->lost(failure, "connect");
    self->write();
  });
}

void HttpClient::Core::Exchange::write() {
  reset_parser();
  std::array<asio::const_buffer, 2> parts{asio::buffer(head_), asio::buffer(request_.body)};
  asio::async_write(socket_, parts,
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      if (self->finished_) return;
                      if (error) return self->lost(error, "send");
                      self->read();
                    });
}

void HttpClient::Core::Exchange::reset_parser() {
  parser_.emplace();
  parser_->eager(true);
  parser_->header_limit(static_cast<std::uint32_t>(core_->limits.header_bytes_max));
  parser_->body_limit(core_->limits.body_bytes_max);
  if (request_.method == "HEAD") parser_->skip(true);
}

void HttpClient::Core::Exchange::read() {
  socket_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](const error_code& error, std::size_t bytes) {
                            if (!self->finished_) self->on_read(error, bytes);
                          });
}

void HttpClient::Core::Exchange::on_read(const error_code& error, std::size_t bytes) {
  if (error == asio::error::eof && answered_) {
    // A body without a length ends with the connection (RFC 9112 §6.3).
    error_code incomplete;
    parser_->put_eof(incomplete);
    if (!incomplete && parser_->is_done()) return deliver();
  }
  if (error) return lost(error, "receive");
  answered_ = true;
  buffer_.commit(bytes);
  parse();
}

void HttpClient::Core::Exchange::parse() {
  while (buffer_.size() > 0) {
    error_code error;
    buffer_.consume(parser_->put(buffer_.data(), error));
    if (error == http::error::need_more) break;
    if (error)
      return finish(fail(Code::kCorrupt, "answer of {}: {}", to_string(to_), error.message()));
    if (!parser_->is_done()) continue;
    if (parser_->get().result_int() / 100 != 1) return deliver();
    reset_parser();  // an interim response; the real one follows (RFC 9110 §15.2)
  }
  read();
}

void HttpClient::Core::Exchange::deliver() {
  const bool reusable = parser_->keep_alive() && buffer_.size() == 0;
  auto message = parser_->release();
  HttpResponse response;
  response.status = static_cast<int>(message.result_int());
  response.content_type = std::string(message[http::field::content_type]);
  response.headers = copy_headers(message);
  response.body = std::move(message.body());
  if (reusable) core_->keep(to_, std::move(socket_));
  finish(std::move(response));
}

void HttpClient::Core::Exchange::lost(const error_code& error, std::string_view doing) {
  if (pooled_ && !answered_ && request_.method == "GET") return connect();
  finish(fail(Code::kUnavailable, "{} {} at {}: {}: {}", request_.method, request_.path,
              to_string(to_), doing, error.message()));
}

void HttpClient::Core::Exchange::finish(Result<HttpResponse> result) {
  Callback done = std::move(done_);
  abandon();
  done(std::move(result));
}

void HttpClient::Core::Exchange::abandon() {
  finished_ = true;
  done_ = nullptr;
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
  core_->remove(shared_from_this());
}

void HttpClient::Core::start(const Endpoint& to, HttpRequest request, Duration timeout,
                             Callback done) {
  if (stopped_) return;
  if (exchanges_.size() >= limits.calls_max)
    return done(fail(Code::kUnavailable, "{} HTTP calls are under way already", limits.calls_max));
  auto exchange =
      std::make_shared<Exchange>(shared_from_this(), to, std::move(request), std::move(done));
  exchanges_.insert(exchange);
  exchange->start(timeout);
}

void HttpClient::Core::stop() {
  stopped_ = true;
  while (!exchanges_.empty()) {
    auto exchange = *exchanges_.begin();
    exchange->abandon();
  }
  idle_.clear();
}

std::optional<tcp::socket> HttpClient::Core::take(const Endpoint& to) {
  drop_old();
  auto found = idle_.find(to);
  if (found == idle_.end()) return std::nullopt;
  std::optional<tcp::socket> live;
  while (!found->second.empty() && !live) {  // the youngest first: the likeliest to be alive
    tcp::socket socket = std::move(found->second.back().socket);
    found->second.pop_back();
    --idle_count_;
    // Nothing may be there to read: an end or unasked bytes both make it useless.
    char byte = 0;
    if (::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
      live = std::move(socket);
  }
  if (found->second.empty()) idle_.erase(found);
  return live;
}

void HttpClient::Core::keep(const Endpoint& to, tcp::socket socket) {
  drop_old();
  if (idle_count_ >= limits.idle_max) return;
  auto& kept = idle_[to];
  if (kept.size() >= limits.idle_per_endpoint_max) return;
  kept.push_back(Idle{std::move(socket), BootClock::now()});
  ++idle_count_;
}

void HttpClient::Core::drop_old() {
  const BootTime oldest = BootClock::now() - limits.idle_timeout;
  for (auto& [to, kept] : idle_)
    idle_count_ -= std::erase_if(kept, [&](const Idle& idle) { return idle.since < oldest; });
  std::erase_if(idle_, [](const auto& entry) { return entry.second.empty(); });
}

HttpClient::HttpClient(EventLoop& loop, HttpClientLimits limits)
    : core_(std::make_shared<Core>(loop, limits)) {}
HttpClient::~HttpClient() { core_->stop(); }

void HttpClient::send(const Endpoint& to, HttpRequest request, Duration timeout, Callback done) {
  // Posted even on the loop's thread, so that `done` is never called from inside this call.
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  core_->mailbox->post([core = std::weak_ptr(core_), to, shared, timeout, done = std::move(done)] {
    if (auto live = core.lock()) live->start(to, std::move(*shared), timeout, done);
  });
}

Result<HttpResponse> http_call(const Endpoint& to, HttpRequest request, Duration timeout) {
  EventLoop loop;
  HttpClient client(loop);
  Result<HttpResponse> answer = fail(Code::kInternal, "the loop ended without an answer");
  client.send(to, std::move(request), timeout, [&](Result<HttpResponse> result) {
    answer = std::move(result);
    loop.stop();
  });
  loop.run();
  return answer;
}

}  // namespace leeward::net
