// leeward functions: the functions of one host, behind the Lambda API.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "app/context.h"
#include "app/roles.h"
#include "functions/function_service.h"
#include "net/http.h"

namespace leeward::app {
namespace {

// Nobody has to prove who they are to this API, and who reaches it can run code.
Status check_loopback(const Endpoint& listen) {
  if (listen.host.starts_with("127.")) return {};
  return fail(Code::kRefused,
              "--listen {}: the API asks nobody for credentials, so it is served on loopback only; "
              "use an address of 127.0.0.0/8",
              to_string(listen));
}

std::string beside_this_executable(const std::string& name) {
  std::error_code error;
  return (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / name).string();
}

}  // namespace

int run_functions(const cli::FunctionsOptions& options) {
  const Logger logger =
      Logger(STDERR_FILENO, options.log_level, options.log_format).with("functions");
  auto listen = parse_endpoint(options.listen);
  if (!listen) return report_failure(std::move(listen.error()).wrap("--listen"));
  if (Status local = check_loopback(*listen); !local) return report_failure(local.error());
  functions::FunctionServiceOptions service_options;
  service_options.state_directory = std::filesystem::absolute(options.state).string();
  service_options.rule.concurrency_max = options.environments_max;
  service_options.tools.adapter_executable = beside_this_executable("leeward-http-adapter");
  service_options.tools.node_client_folder = options.node_client;
  service_options.host.sandbox_executable = beside_this_executable("leeward-sandbox");
  service_options.host.rule.environments_max = options.environments_max;
  service_options.host.rule.family_max = options.concurrency;
  service_options.host.rule.starts_max = std::max(2u, 2 * std::thread::hardware_concurrency());
  service_options.host.logger = service_options.logger = logger;
  for (const std::string& text : options.connect) {
    auto server = parse_endpoint(text);
    if (!server) return report_failure(std::move(server.error()).wrap("--connect"));
    service_options.connectable.push_back({*server});
  }
  net::EventLoop loop;
  // The server comes first, because function URLs name its port; it serves when the service is
  // there.
  std::unique_ptr<functions::FunctionService> service;
  auto server = net::HttpServer::start(
      loop, *listen,
      [&](net::HttpRequest request, net::Responder respond) {
        service->handle(std::move(request), std::move(respond));
      },
      functions::FunctionService::http_limits());
  if (!server) return report_failure(server.error());
  service_options.address = "http://" + to_string((*server)->local());
  auto opened = functions::FunctionService::open(loop, std::move(service_options));
  if (!opened) return report_failure(opened.error());
  service = std::move(*opened);
  if (auto signals = stop_on_signals(loop); !signals) return report_failure(signals.error());
  logger.info("serving", {{"address", to_string((*server)->local())}});
  loop.run();
  service.reset();
  return 0;
}

}  // namespace leeward::app
