#include "net/http.h"

#include <sys/socket.h>

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

#include "net/internal/http_beast.h"
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

constexpr Duration kLinger = 2s;            // to let a client read an answer before the reset
constexpr Duration kAcceptBackoff = 100ms;  // when the process has no descriptors left
constexpr int kAcceptsPerWakeup = 64;       // then the loop's other work gets its turn

Endpoint from_asio(const tcp::endpoint& e) { return Endpoint{e.address().to_string(), e.port()}; }

template <typename Message>
Result<HttpRequest> request_from(const Message& message, const Endpoint& peer) {
  auto target = parse_target(std::string_view(message.target()));
  if (!target) return fail(target.error());
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  request.headers = copy_headers(message);
  request.peer = peer;
  return request;
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
  Status adopt(UniqueFd listener, const std::string& what);
  void stop();
  Endpoint local() const { return local_; }
  void remove(const std::shared_ptr<Session>& session) { sessions_.erase(session); }

  HttpHandler handler;
  HttpHeadHandler on_head;
  const HttpLimits limits;
  const std::shared_ptr<LoopMailbox> mailbox;
  std::size_t answer_bytes = 0;  // HttpLimits::answer_bytes_max

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
    kStreaming,  // all that the answer's stream had is sent, and it has not ended
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
  void write(HttpResponse response);
  void on_written(const error_code& error);
  void write_stream();
  void take_body();
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
  bool head_seen_ = false;  // on_head was asked about this request
  HttpBodyRule rule_;
  std::size_t dropped_ = 0;  // bytes of the body, by the rule
  std::string head_;         // of the answer being written, with body_
  std::string body_;
  std::size_t counted_ = 0;                 // bytes of it in the core's answer_bytes
  std::shared_ptr<HttpBodyStream> stream_;  // what follows body_
  bool chunked_ = false;
};

void HttpServer::Core::Session::next_request() {
  parser_.emplace();
  parser_->eager(true);
  parser_->header_limit(static_cast<std::uint32_t>(core_->limits.header_bytes_max));
  parser_->body_limit(core_->limits.body_bytes_max);
  continued_ = false;
  head_seen_ = false;
  rule_ = {};
  dropped_ = 0;
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
    if (!error || error == http::error::need_more) take_body();
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

// Does by the rule with what the parser has collected of the body.
void HttpServer::Core::Session::take_body() {
  if (!core_->on_head || !parser_->is_header_done()) return;
  if (!head_seen_) {
    head_seen_ = true;
    auto head = request_from(parser_->get(), peer_);
    rule_.kept_max = 0;  // of a broken target, which is refused at the end
    if (head) rule_ = core_->on_head(*head);
  }
  std::string& body = parser_->get().body();
  if (rule_.sink) {
    if (!body.empty()) rule_.sink(body);
    body.clear();
  } else if (body.size() > rule_.kept_max) {
    dropped_ += body.size() - rule_.kept_max;
    body.resize(rule_.kept_max);
  }
}

void HttpServer::Core::Session::deliver() {
  auto message = parser_->release();
  keep_alive_ = message.keep_alive();
  chunked_ = message.version() >= 11;
  head_only_ = message.method() == http::verb::head;
  auto parsed = request_from(message, peer_);
  if (!parsed) return refuse(400, parsed.error().message);

  state_ = State::kHandling;
  timer_.cancel();  // the handler may take its time
  HttpRequest request = std::move(*parsed);
  request.body = std::move(message.body());
  request.body_dropped = dropped_;
  rule_ = {};
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
  rule_ = {};
  parser_.reset();  // with what it has collected: the client may take its time
  HttpResponse response = error_response(Error{Code::kInvalid, std::string(why)});
  response.status = status;
  write(response);
}

void HttpServer::Core::Session::answer(HttpResponse response) {
  if (state_ == State::kHandling) write(std::move(response));
}

void HttpServer::Core::Session::write(HttpResponse response) {
  state_ = State::kWriting;
  set_deadline(core_->limits.idle_timeout);
  std::string_view reason(
      http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status))));
  const bool no_body = head_only_ || !status_has_body(response.status);
  if (response.close) keep_alive_ = false;
  if (response.stream && no_body) response.stream->gone_ = true;
  if (response.stream && !no_body) {
    if (!chunked_) keep_alive_ = false;
    stream_ = response.stream;
    stream_->pending_.insert(0, response.body);
    response.body.clear();
    stream_->wake_ = [weak = weak_from_this()] {
      auto self = weak.lock();
      if (self && self->state_ == State::kStreaming) self->write_stream();
    };
  }
  head_ = format_response_head(response, reason, keep_alive_, chunked_);
  body_ = no_body ? std::string{} : std::move(response.body);
  counted_ = body_.size();
  core_->answer_bytes += counted_;
  if (core_->answer_bytes > core_->limits.answer_bytes_max) return close();
  std::array<asio::const_buffer, 2> parts{asio::buffer(head_), asio::buffer(body_)};
  asio::async_write(socket_, parts,
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      self->on_written(error);
                    });
}

void HttpServer::Core::Session::on_written(const error_code& error) {
  if (state_ == State::kClosed) return;
  if (error) return close();
  core_->answer_bytes -= std::exchange(counted_, 0);
  std::string().swap(body_);  // assigning would keep its memory until the next answer
  if (stream_) {
    state_ = State::kStreaming;
    timer_.cancel();  // the writer may take its time
    return write_stream();
  }
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

// Sends what waits in the stream as one chunk, and its end once it has one; otherwise waits to be
// woken.
void HttpServer::Core::Session::write_stream() {
  using End = HttpBodyStream::End;
  if (stream_->end_ == End::kAborted) return close();
  const bool last = stream_->end_ == End::kFinished;
  if (stream_->pending_.empty() && !last) return;
  body_ = std::exchange(stream_->pending_, {});
  head_ = chunked_ && !body_.empty() ? fmt::format("{:x}\r\n", body_.size()) : std::string{};
  if (chunked_ && !body_.empty()) body_ += "\r\n";
  if (chunked_ && last) body_ += "0\r\n\r\n";
  if (last) {
    stream_->gone_ = true;
    stream_.reset();
  }
  state_ = State::kWriting;
  set_deadline(core_->limits.idle_timeout);
  std::array<asio::const_buffer, 2> parts{asio::buffer(head_), asio::buffer(body_)};
  asio::async_write(socket_, parts,
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      self->on_written(error);
                    });
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
  if (state_ == State::kHandling || state_ == State::kStreaming) return;
  if (state_ == State::kReceiving) return refuse(408, "the request did not arrive in time");
  close();
}

void HttpServer::Core::Session::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  timer_.cancel();
  rule_ = {};
  core_->answer_bytes -= std::exchange(counted_, 0);
  if (stream_) stream_->gone_ = true;
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
  return adopt(std::move(fd), what);
}

Status HttpServer::Core::adopt(UniqueFd listener, const std::string& what) {
  error_code error;
  acceptor_.assign(tcp::v4(), listener.get(), error);
  if (error) return fail(Code::kIo, "{}: {}", what, error.message());
  listener.release();
  acceptor_.native_non_blocking(true, error);
  if (error) return fail(Code::kIo, "{}: {}", what, error.message());
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
  handler = nullptr;  // what they captured need not outlive the server
  on_head = nullptr;
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

Result<std::unique_ptr<HttpServer>> HttpServer::adopt(EventLoop& loop, UniqueFd listener,
                                                      HttpHandler handler, HttpHeadHandler on_head,
                                                      HttpLimits limits) {
  loop.impl().check_thread();
  auto core = std::make_shared<Core>(loop, std::move(handler), limits);
  core->on_head = std::move(on_head);
  if (auto adopted = core->adopt(std::move(listener), "adopt a listener"); !adopted)
    return fail(adopted.error());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(core)));
}

void HttpBodyStream::write(std::string_view bytes) {
  if (gone_ || end_ != End::kOpen) return;
  pending_ += bytes;
  if (wake_) wake_();
}

void HttpBodyStream::finish() {
  if (end_ != End::kOpen) return;
  end_ = End::kFinished;
  if (auto wake = wake_) wake();
}

void HttpBodyStream::abort() {
  if (end_ != End::kOpen) return;
  end_ = End::kAborted;
  if (auto wake = wake_) wake();
}

}  // namespace leeward::net
