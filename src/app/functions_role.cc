// leeward functions: the functions of one host, behind the Lambda API. leeward fn serve: one HTTP
// application as a function, at an address, with no API.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "app/context.h"
#include "app/followed_file.h"
#include "app/function_orders.h"
#include "app/roles.h"
#include "base/file.h"
#include "config/config.h"
#include "functions/function_service.h"
#include "functions/grant_relay.h"
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

// Without keys nobody has to prove who they are to this API, and who reaches it can run code.
Status check_loopback(const Endpoint& listen, bool has_keys) {
  if (has_keys || listen.host.starts_with("127.")) return {};
  return fail(Code::kRefused,
              "--listen {}: without --access-key the API asks nobody for credentials, so it is "
              "served on loopback only; give a key, or use an address of 127.0.0.0/8",
              to_string(listen));
}

// ID=file:PATH or ID=env:NAME; the secret itself is in no argument and no message.
Result<functions::AccessKeys> read_access_keys(const std::vector<std::string>& texts) {
  functions::AccessKeys keys;
  for (const std::string& text : texts) {
    const auto equals = text.find('=');
    const std::string id = text.substr(0, equals);
    const std::string where = equals == std::string::npos ? "" : text.substr(equals + 1);
    const bool file = where.starts_with("file:"), env = where.starts_with("env:");
    if (id.empty() || (!file && !env))
      return fail(Code::kInvalid, "--access-key {}: write ID=file:PATH or ID=env:NAME", id);
    const SecretRef secret{file ? SecretRef::Kind::kFile : SecretRef::Kind::kEnv,
                           where.substr(file ? 5 : 4)};
    auto value = config::resolve_secret(secret, std::filesystem::current_path().string());
    if (!value) return fail(std::move(value.error()).wrap("--access-key " + id));
    if (!keys.emplace(id, std::move(*value)).second)
      return fail(Code::kInvalid, "--access-key {}: it is given twice", id);
    if (env) ::unsetenv(secret.where.c_str());
  }
  return keys;
}

constexpr Duration kDrainMax = 15s;  // less than TimeoutStopSec of the unit
constexpr Duration kDrainLook = 20ms;

// Stops once everybody has been answered, or time is up. `idle_looks`: an answer that was given a
// moment ago is still on its way out, so one look is not enough.
void drain(net::EventLoop& loop, std::function<std::size_t()> awaited, BootTime until,
           std::function<void()> stop, int idle_looks = 0) {
  idle_looks = awaited() == 0 ? idle_looks + 1 : 0;
  if (idle_looks > 2 || BootClock::now() >= until) return stop();
  loop.call_after(kDrainLook, [&loop, awaited = std::move(awaited), until, stop = std::move(stop),
                               idle_looks] { drain(loop, awaited, until, stop, idle_looks); });
}

void keep_warm(functions::FunctionHostOptions& host, const cli::FunctionWarmth& warmth) {
  host.prepared = warmth.prepared;
  host.prepared_for = warmth.prepared_for;
  host.reap_after = warmth.keep_idle;
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
  auto keys = read_access_keys(options.access_keys);
  if (!keys) return report_failure(keys.error());
  if (Status local = check_loopback(*listen, !keys->empty()); !local)
    return report_failure(local.error());
  functions::FunctionServiceOptions service_options;
  service_options.access_keys = std::move(*keys);
  service_options.state_directory = std::filesystem::absolute(options.state).string();
  service_options.rule.concurrency_max = options.environments_max;
  service_options.tools.adapter_executable = beside_this_executable("leeward-http-adapter");
  service_options.tools.node_client_folder = options.node_client;
  service_options.host.sandbox_executable = beside_this_executable("leeward-sandbox");
  service_options.host.rule.environments_max = options.environments_max;
  keep_warm(service_options.host, options.warmth);
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
  auto signals = stop_on_signals(loop, [&](std::function<void()> stop) {
    logger.info("stopping", {{"under way", service->awaited()}});
    service->stop_taking();
    drain(
        loop, [&] { return service->awaited(); }, BootClock::now() + kDrainMax, std::move(stop));
  });
  if (!signals) return report_failure(signals.error());
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

// The application of the command line.
Result<ProcessSpec> given_process(const cli::FunctionServeOptions& options) {
  ProcessSpec process{options.command, {}, options.directory};
  if (process.command.empty())
    return fail(Code::kInvalid, "give the application's command, behind --, or --follow FILE");
  for (const std::string& name : options.pass) {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return fail(Code::kInvalid, "--pass {}: it is not set", name);
    process.env[name] = value;
  }
  return process;
}

Result<functions::FunctionVersion> version_of(const cli::FunctionServeOptions& options,
                                              const ProcessSpec& process) {
  functions::FunctionVersion version;
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
  const std::string directory =
      std::filesystem::absolute(process.directory).lexically_normal().string();
  version.name =
      options.name.empty() ? std::filesystem::path(directory).filename().string() : options.name;
  version.runtime = "http";
  version.argv = process.command;
  version.environment = process.env;
  version.environment["PORT"] = std::to_string(options.port);
  version.code_directory = directory;
  version.binds.push_back({directory, directory});  // commands name files by the paths outside
  version.timeout = std::chrono::seconds(options.timeout);
  version.limits.memory_bytes = std::uint64_t{options.memory} << 20;
  functions::RuntimeTools tools;
  tools.adapter_executable = beside_this_executable("leeward-http-adapter");
  if (Status applied = functions::apply_runtime(version, tools); !applied)
    return fail(applied.error());
  return version;
}

// The port of a tier whose functions an agent gives orders. What the functions run may change, and
// instances take over while there are any, and neither closes the port or a connection with an
// answer under way.
class OrderedPort {
 public:
  // All must outlive it.
  OrderedPort(net::EventLoop& loop, functions::FunctionHost& host,
              const cli::FunctionServeOptions& options, const Endpoint& port, const Logger& logger)
      : loop_(loop), host_(host), options_(options), port_(port), logger_(logger) {}

  // Errors of what is ordered now as well; later ones are told of.
  Status open() {
    auto file =
        FollowedFile::start(loop_, options_.follow, [this](const Result<std::string>& text) {
          followed_ = text ? follow(*text) : fail(text.error());
          if (!followed_ && file_)
            logger_.error(
                "the agent's orders cannot be followed; what they concern stays as it was",
                {{"file", options_.follow}, {"why", followed_.error().message}});
        });
    if (!file) return fail(std::move(file.error()));
    if (!followed_) return fail(std::move(followed_.error()).wrap("--follow " + options_.follow));
    file_ = std::move(*file);
    return {};
  }

  void stop_taking() {
    if (function_) function_->stop_taking();
  }

 private:
  Status follow(const std::string& text) {
    auto orders = decode_orders(text);
    if (!orders) return fail(std::move(orders.error()));
    Status running;
    if (!function_ || orders->process != process_) running = run(orders->process);
    Status passed = function_ ? pass_to(orders->instances) : Status{};
    return running ? passed : running;
  }

  Status run(const ProcessSpec& process) {
    auto version = version_of(options_, process);
    if (!version) return fail(std::move(version.error()));
    if (function_) {
      function_->replace(std::move(*version));
      logger_.info("functions run another revision");
    } else {
      auto started = functions::HttpFunction::start(
          loop_, host_, {{"127.0.0.1", 0}, std::move(*version), options_.idle_paths});
      if (!started) return fail(std::move(started.error()));
      auto relay = functions::GrantRelay::open(port_, {(*started)->local()});
      if (!relay) return fail(std::move(relay.error()));
      function_ = std::move(*started);
      relay_ = std::move(*relay);
    }
    process_ = process;
    return {};
  }

  Status pass_to(const std::vector<Endpoint>& instances) {
    if (instances == instances_) return {};
    if (Status set = relay_->set_servers(
            instances.empty() ? std::vector<Endpoint>{function_->local()} : instances);
        !set)
      return set;
    if (instances.empty() != instances_.empty())
      logger_.info(instances.empty() ? "functions serve from now on"
                                     : "instances serve from now on");
    function_->send_away(!instances.empty());
    instances_ = instances;
    return {};
  }

  net::EventLoop& loop_;
  functions::FunctionHost& host_;
  const cli::FunctionServeOptions& options_;
  const Endpoint port_;
  Logger logger_;
  ProcessSpec process_;
  std::vector<Endpoint> instances_;
  std::unique_ptr<functions::HttpFunction> function_;
  std::unique_ptr<functions::GrantRelay> relay_;
  Status followed_;  // the orders that were read last
  std::unique_ptr<FollowedFile> file_;
};

}  // namespace

int run_function_serve(const cli::FunctionServeOptions& options) {
  raise_descriptor_limit();
  const Logger logger =
      Logger(STDERR_FILENO, options.log_level, options.log_format).with("function");
  auto listen = parse_endpoint(options.listen);
  if (!listen) return report_failure(std::move(listen.error()).wrap("--listen"));
  functions::FunctionHostOptions host_options;
  host_options.sandbox_executable = beside_this_executable("leeward-sandbox");
  host_options.log_directory = options.log_directory;
  keep_warm(host_options, options.warmth);
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
  std::unique_ptr<functions::HttpFunction> function;
  OrderedPort ordered(loop, host, options, *listen, logger);
  if (options.follow.empty()) {
    auto process = given_process(options);
    if (!process) return report_failure(process.error());
    auto version = version_of(options, *process);
    if (!version) return report_failure(version.error());
    auto started = functions::HttpFunction::start(
        loop, host, {*listen, std::move(*version), options.idle_paths});
    if (!started) return report_failure(started.error());
    function = std::move(*started);
  } else if (Status opened = ordered.open(); !opened) {
    return report_failure(opened.error());
  }
  auto signals = stop_on_signals(loop, [&](std::function<void()> stop) {
    logger.info("stopping", {{"under way", host.under_way()}});
    function ? function->stop_taking() : ordered.stop_taking();
    drain(
        loop, [&] { return host.under_way(); }, BootClock::now() + kDrainMax, std::move(stop));
  });
  if (!signals) return report_failure(signals.error());
  logger.info("serving", {{"address", to_string(function ? function->local() : *listen)}});
  loop.run();
  return 0;
}

}  // namespace leeward::app
