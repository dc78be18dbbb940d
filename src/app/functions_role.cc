// leeward functions: the functions of one host, behind the Lambda API. leeward fn serve: one HTTP
// application as a function, at an address, with no API.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "app/context.h"
#include "app/roles.h"
#include "base/file.h"
#include "functions/function_service.h"
#include "functions/http_function.h"
#include "net/http.h"

namespace leeward::app {
namespace {

// Every connection and environment takes descriptors; the kernel's soft limit is for programs that
// use select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// PREFIX-HASH: a name that is the same whenever `identity` is.
std::string group_name(std::string_view prefix, std::string_view identity) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (char c : identity) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{}-{:016x}", prefix, hash);
}

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
  raise_descriptor_limit();
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
  // The same in every life of this host, and of no other: the state directory is locked.
  service_options.host.cgroup_name =
      group_name("leeward-functions", service_options.state_directory);
  service_options.host.logger = service_options.logger = logger;
  for (const std::string& text : options.connect) {
    auto server = parse_endpoint(text);
    if (!server) return report_failure(std::move(server.error()).wrap("--connect"));
    service_options.connectable.emplace_back(*server);
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

namespace {

constexpr std::size_t kCopiedFileBytesMax = 64u << 10;

Result<functions::Grant> parse_grant(const std::string& text) {
  const auto equals = text.find('=');
  auto inside = parse_endpoint(text.substr(0, equals));
  if (!inside) return fail(std::move(inside.error()).wrap("--connect"));
  if (equals == std::string::npos) return functions::Grant(*inside);
  auto outside = parse_endpoint(text.substr(equals + 1));
  if (!outside) return fail(std::move(outside.error()).wrap("--connect"));
  return functions::Grant(*outside, *inside);
}

Result<functions::HttpFunctionOptions> function_of(const cli::FunctionServeOptions& options) {
  functions::HttpFunctionOptions made;
  functions::FunctionVersion& version = made.version;
  auto listen = parse_endpoint(options.listen);
  if (!listen) return fail(std::move(listen.error()).wrap("--listen"));
  made.listen = *listen;
  made.idle_paths = options.idle_paths;
  for (const std::string& text : options.connect) {
    auto grant = parse_grant(text);
    if (!grant) return fail(grant.error());
    version.grants.push_back(*grant);
  }
  for (const std::string& path : options.files) {
    auto text = read_file(path, kCopiedFileBytesMax);
    if (!text) return fail(std::move(text.error()).wrap("--file"));
    version.files.push_back({std::filesystem::absolute(path).string(), std::move(*text)});
  }
  for (const std::string& name : options.pass) {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return fail(Code::kInvalid, "--pass {}: it is not set", name);
    version.environment[name] = value;
  }
  const std::string directory =
      std::filesystem::absolute(options.directory).lexically_normal().string();
  version.name = std::filesystem::path(directory).filename().string();
  version.runtime = "http";
  version.argv = options.command;
  version.environment["PORT"] = std::to_string(options.port);
  version.code_directory = directory;
  version.binds.push_back({directory, directory});  // commands name files by the paths outside
  version.timeout = std::chrono::seconds(options.timeout);
  version.limits.memory_bytes = std::uint64_t{options.memory} << 20;
  functions::RuntimeTools tools;
  tools.adapter_executable = beside_this_executable("leeward-http-adapter");
  if (Status applied = functions::apply_runtime(version, tools); !applied)
    return fail(applied.error());
  return made;
}

}  // namespace

int run_function_serve(const cli::FunctionServeOptions& options) {
  raise_descriptor_limit();
  const Logger logger =
      Logger(STDERR_FILENO, options.log_level, options.log_format).with("function");
  auto made = function_of(options);
  if (!made) return report_failure(made.error());
  functions::FunctionHostOptions host_options;
  host_options.sandbox_executable = beside_this_executable("leeward-sandbox");
  host_options.log_directory = options.log_directory;
  // The address is this process's alone, in its network namespace.
  struct stat network {};
  ::stat("/proc/self/ns/net", &network);
  host_options.cgroup_name =
      group_name("leeward-function", fmt::format("{} {}", options.listen, network.st_ino));
  host_options.rule.environments_max = options.concurrency;
  host_options.rule.family_max = options.concurrency;
  host_options.rule.starts_max = std::max(2u, 2 * std::thread::hardware_concurrency());
  host_options.logger = logger;
  if (!options.log_directory.empty())
    if (Status there = make_directories(options.log_directory); !there)
      return report_failure(there.error());
  net::EventLoop loop;
  functions::FunctionHost host(loop, std::move(host_options));  // makes its group, ends nothing yet
  auto function = functions::HttpFunction::start(loop, host, std::move(*made));
  if (!function) return report_failure(function.error());
  if (auto signals = stop_on_signals(loop); !signals) return report_failure(signals.error());
  logger.info("serving", {{"address", to_string((*function)->local())}});
  loop.run();
  return 0;
}

}  // namespace leeward::app
