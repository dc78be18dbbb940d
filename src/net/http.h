// HTTP/1.1 server and client over the event loop, for the control API, the agents, the console,
// functions and probes. Plain TCP on IPv4 (RFC 9110, RFC 9112); TCP_NODELAY everywhere, because
// lease renewals ride on it. Sockets are close-on-exec. Small messages: bodies are held whole in
// memory, within limits, unless a server streams them (HttpBodyStream, HttpHeadHandler).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/time.h"
#include "model/platform.h"
#include "net/loop.h"

namespace leeward::net {

struct CaseInsensitiveLess {  // ASCII, as field names compare (RFC 9110 §5.1)
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const;
};
// A field that came more than once is kept as one value, joined by ", ".
using HttpHeaders = std::map<std::string, std::string, CaseInsensitiveLess>;

struct HttpRequest {
  std::string method = "GET";
  std::string path = "/";                    // decoded, without the query
  std::map<std::string, std::string> query;  // decoded; the last of equal names wins
  HttpHeaders headers;                       // the client adds Host and Content-Length by itself
  std::string body;
  Endpoint peer;                 // server: who asks
  std::string target = {};       // server: path and query as they came; the client ignores it
  std::size_t body_dropped = 0;  // server: bytes that came beyond HttpBodyRule::kept_max

  // The value of a header or a query parameter; empty when it is not there.
  std::string_view header(std::string_view name) const;
  std::string_view parameter(std::string_view name) const;
};

// The body of a response whose end is not known when it begins. The handler keeps one end and
// gives the other away in HttpResponse::stream. What is written waits in memory until the client
// has taken it: the writer bounds it (by how much it writes in all, or by looking at waiting()).
// For the loop's thread.
class HttpBodyStream {
 public:
  // Appends; dropped when the client is gone or the body ended.
  void write(std::string_view bytes);
  void finish();  // the body is complete
  void abort();   // it never will be: the connection is cut, so that the client notices
  bool client_gone() const { return gone_; }
  std::size_t waiting() const { return pending_.size(); }

 private:
  friend class HttpServer;
  enum class End { kOpen, kFinished, kAborted };
  std::string pending_;
  End end_ = End::kOpen;
  bool gone_ = false;
  std::function<void()> wake_;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";  // empty: no Content-Type
  std::string body;
  HttpHeaders headers;  // further ones; the server adds Content-Length and Connection by itself
  std::vector<std::string> cookies = {};  // servers: Set-Cookie, which cannot be joined
  // Servers: sent after `body`, chunked (RFC 9112 §7.1); to an HTTP/1.0 client until the close.
  std::shared_ptr<HttpBodyStream> stream = {};
  bool close = false;  // servers: the connection ends with this answer
};

// The house's form of an error: status http_status(code), body
// {"error":{"code":"no_quorum","message":"…"}}.
HttpResponse error_response(const Error& error);
// The way back, for a response with status ≥ 400; code and message are guessed from the status when
// the body has another form.
Error error_from_response(const HttpResponse& response);

// Answers one request: at once or later (long poll), from any thread. Only the first call counts.
// When the last copy is dropped uncalled, the client gets a 500. Harmless after the client, the
// server or the loop is gone; then the answer goes nowhere.
using Responder = std::function<void(HttpResponse)>;
// Runs on the loop's thread; must not block.
using HttpHandler = std::function<void(HttpRequest, Responder)>;
// Takes the bytes of a request's body as they arrive.
using HttpBodySink = std::function<void(std::string_view)>;
// What becomes of the body of a request.
struct HttpBodyRule {
  // Takes it; the handler is called after the last byte with an empty body and, among the headers,
  // the trailer. Null: the body is collected for the handler.
  HttpBodySink sink = {};
  // Bytes that are collected. What comes beyond is counted (HttpRequest::body_dropped), not held.
  std::size_t kept_max = ~std::size_t{0};
  // Let go, with the sink, just before the handler is called.
  std::shared_ptr<void> while_it_comes = {};
};
// Called with a request's head before its body. When the client leaves in the middle, the rule is
// destroyed and the handler not called. Runs on the loop's thread.
using HttpHeadHandler = std::function<HttpBodyRule(const HttpRequest& head)>;

struct HttpLimits {
  std::size_t body_bytes_max = 8u << 20;     // above: 413, connection closed
  std::size_t header_bytes_max = 16u << 10;  // above: 431, connection closed
  std::size_t connections_max = 512;         // above: 503 if the socket takes it, closed
  // Of answers that wait for their clients to take them, over all connections. The one that would
  // be more is not sent: its connection is closed.
  std::size_t answer_bytes_max = ~std::size_t{0};
  Duration idle_timeout = 75s;     // between requests, and to take an answer: closed
  Duration request_timeout = 10s;  // from a request's first byte to its last: 408, closed
};

// Listens from start() until it is destroyed. Connections are kept alive; requests on one
// connection are handled one after the other, also when they come at once. Nothing limits how long
// a handler may keep its Responder; when the client leaves meanwhile (a half-closed connection
// counts as gone), its connection is freed at once. start(), adopt() and the destructor belong to
// the loop's thread, or to a time when nobody runs the loop.
class HttpServer {
 public:
  // Port 0 picks a free one, see local(). kInvalid for an address that is none, kIo (naming the
  // endpoint) when it cannot be listened on.
  static Result<std::unique_ptr<HttpServer>> start(EventLoop& loop, const Endpoint& listen,
                                                   HttpHandler handler, HttpLimits limits = {});
  // The same on a TCP socket that listens already, for example in another network namespace.
  static Result<std::unique_ptr<HttpServer>> adopt(EventLoop& loop, UniqueFd listener,
                                                   HttpHandler handler, HttpHeadHandler on_head,
                                                   HttpLimits limits = {});
  ~HttpServer();  // closes the listener and every connection
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  Endpoint local() const;  // where it listens

 private:
  class Core;
  explicit HttpServer(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

struct HttpClientLimits {
  std::size_t body_bytes_max = 16u << 20;  // of a response; above: kCorrupt
  std::size_t header_bytes_max = 16u << 10;
  std::size_t calls_max = 256;            // under way at once; above: kUnavailable
  std::size_t idle_per_endpoint_max = 4;  // kept-alive connections; further ones are closed
  std::size_t idle_max = 64;              // over all endpoints
  Duration idle_timeout = 30s;            // older ones are not used again
};

// Created and destroyed on the loop's thread, or while nobody runs the loop. Destroying it closes
// its connections and destroys the callbacks of calls under way uncalled.
class HttpClient {
 public:
  using Callback = std::function<void(Result<HttpResponse>)>;

  explicit HttpClient(EventLoop& loop, HttpClientLimits limits = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Sends `request` and calls `done` exactly once, on the loop's thread, never from inside send().
  // May be called from any thread while the loop and this client live. Any complete response is a
  // success here, whatever its status. Otherwise
  //   kUnavailable  refused, reset, unreachable, or too many calls under way
  //   kTimeout      `timeout` (for all of connect, send and receive) passed; the connection is
  //                 closed, so that a late answer is never delivered. The server may have acted.
  //   kCorrupt      the answer is not HTTP, or larger than the limits
  //   kInvalid      the address, method or a header cannot be sent
  // A GET that fails on a kept-alive connection before the first byte of its answer is sent once
  // more on a new connection, within the same timeout. Other methods never are: the first may have
  // acted.
  void send(const Endpoint& to, HttpRequest request, Duration timeout, Callback done);

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

// One request on a loop of its own; blocks at most `timeout`. For the CLI and for worker threads,
// not for a loop's thread. Errors as HttpClient::send.
Result<HttpResponse> http_call(const Endpoint& to, HttpRequest request, Duration timeout);

}  // namespace leeward::net
