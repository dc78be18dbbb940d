#include <sys/socket.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <set>

#include "net/http.h"
#include "net/internal/http_beast.h"
#include "net/internal/http_text.h"
#include "net/internal/loop_impl.h"

namespace leeward::net {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

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
