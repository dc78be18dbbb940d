#include "functions/http_function.h"

#include <algorithm>
#include <utility>

#include "functions/function_url.h"

namespace leeward::functions {
namespace {

constexpr Duration kRetireRetry = 100ms;

}  // namespace

net::HttpResponse http_answer(const InvocationResult& result) {
  net::HttpResponse response;
  auto refuse = [&](int status, const char* message) {
    response = {};
    response.status = status;
    response.body = fmt::format(R"({{"Message":"{}"}})", message);
  };
  if (result.end == InvocationEnd::kThrottled) refuse(429, "Rate Exceeded.");
  if (result.end == InvocationEnd::kFunctionError) refuse(502, "Internal Server Error");
  if (result.end == InvocationEnd::kServiceError || result.end == InvocationEnd::kRetired)
    refuse(503, "Service Unavailable");
  if (result.end != InvocationEnd::kAnswered) return response;
  Status sound;
  response = response_of(result.payload, sound);
  if (!sound) refuse(502, "Internal Server Error");
  return response;
}

HttpFunction::HttpFunction(net::EventLoop& loop, FunctionHost& host, HttpFunctionOptions options)
    : loop_(loop),
      host_(host),
      name_(options.version.name),
      idle_paths_(std::move(options.idle_paths)),
      pool_(host.add(std::move(options.version))),
      random_(std::random_device{}()) {}

Result<std::unique_ptr<HttpFunction>> HttpFunction::start(net::EventLoop& loop, FunctionHost& host,
                                                          HttpFunctionOptions options) {
  const Endpoint listen = options.listen;
  std::unique_ptr<HttpFunction> function(new HttpFunction(loop, host, std::move(options)));
  net::HttpLimits limits;
  limits.body_bytes_max = kPayloadBytesMax;
  limits.connections_max = 4096;
  auto server = net::HttpServer::start(
      loop, listen,
      [raw = function.get()](net::HttpRequest request, net::Responder respond) {
        raw->handle(std::move(request), std::move(respond));
      },
      limits);
  if (!server) return fail(server.error());
  function->server_ = std::move(*server);
  return function;
}

void HttpFunction::replace(FunctionVersion version) {
  retire(std::exchange(pool_, host_.add(std::move(version))));
}

// Once nobody waits for an environment of it: those would be refused.
void HttpFunction::retire(PoolId pool) {
  if (host_.counts(pool).queued == 0) return host_.retire(pool);
  loop_.call_after(kRetireRetry, [this, pool, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) retire(pool);
  });
}

void HttpFunction::handle(net::HttpRequest request, net::Responder then) {
  net::Responder respond = [this, then = std::move(then),
                            alive = std::weak_ptr(alive_)](net::HttpResponse response) {
    response.close = alive.expired() || away_ || stopping_;
    then(std::move(response));
  };
  if (stopping_) {
    net::HttpResponse response;
    response.status = 503;
    response.body = R"({"Message":"Service Unavailable"})";
    return respond(std::move(response));
  }
  const bool check = request.method == "GET" && std::find(idle_paths_.begin(), idle_paths_.end(),
                                                          request.path) != idle_paths_.end();
  if (check && host_.counts(pool_).live() == 0) {
    net::HttpResponse response;
    response.body = R"({"status":"cold"})";
    return respond(std::move(response));
  }
  UrlContext context;
  context.url_id = name_;
  context.domain = std::string(request.header("Host"));
  context.request_id = fmt::format("{:016x}{:016x}", random_(), random_());
  context.now = SystemClock().now().wall;
  Invocation invocation;
  invocation.request_id = context.request_id;
  invocation.function_arn = "arn:aws:lambda:local:000000000000:function:" + name_;
  invocation.payload = event_of(request, context);
  if (invocation.payload.size() > kPayloadBytesMax) {
    net::HttpResponse response;
    response.status = 413;
    return respond(std::move(response));
  }
  InvocationCaller caller;
  caller.done = [respond](InvocationResult result) { respond(http_answer(result)); };
  host_.invoke(pool_, std::move(invocation), std::move(caller));
}

}  // namespace leeward::functions
