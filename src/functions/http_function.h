// An address whose HTTP requests are served by a function: what takes the place of an application's
// processes on a standby.
//
// Each request becomes an invocation (function_url.h), so nothing runs until one comes. Checks must
// not change that: a GET of one of `idle_paths` is answered here, with 200 and {"status": "cold"},
// as long as the function has no environment; once one is there, it is passed on like everything
// else. So "ready" means "can be started", which is what a standby is.
//
// For the loop's thread; `host` must outlive it.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "functions/function_host.h"
#include "net/http.h"

namespace leeward::functions {

struct HttpFunctionOptions {
  Endpoint listen;
  FunctionVersion version;  // of the runtime `http`, ready to run (runtimes.h)
  std::vector<std::string> idle_paths;
};

class HttpFunction {
 public:
  // kIo when the address cannot be listened on.
  static Result<std::unique_ptr<HttpFunction>> start(net::EventLoop& loop, FunctionHost& host,
                                                     HttpFunctionOptions options);
  Endpoint local() const { return server_->local(); }
  // Whether connections are to end with their next answer, because others serve from now on.
  void send_away(bool away) { away_ = away; }
  // From now on every request is refused (503). What waits or runs is finished.
  void stop_taking() { stopping_ = true; }
  // Requests go to `version` from now on; what waits or runs is finished by the one before.
  void replace(FunctionVersion version);

 private:
  HttpFunction(net::EventLoop& loop, FunctionHost& host, HttpFunctionOptions options);
  void handle(net::HttpRequest request, net::Responder then);
  void retire(PoolId pool);

  net::EventLoop& loop_;
  FunctionHost& host_;
  const std::string name_;
  const std::vector<std::string> idle_paths_;
  PoolId pool_;
  std::mt19937_64 random_;
  bool away_ = false, stopping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<net::HttpServer> server_;
};

// What a caller over HTTP gets for a result: the function's own answer, or 429, 502 and 503.
net::HttpResponse http_answer(const InvocationResult& result);

}  // namespace leeward::functions
