#include "functions/function_service.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "functions/internal/api_request.h"

namespace leeward::functions {
namespace {

constexpr std::size_t kUnpackWaiting = 8;  // uploads that wait for the one being unpacked
constexpr int kWriters = 4;                // of events; the file system joins their flushes
constexpr std::size_t kWritesWaiting = 1024;

}  // namespace

FunctionService::FunctionService(net::EventLoop& loop, FunctionServiceOptions options)
    : loop_(loop),
      options_(std::move(options)),
      random_(std::random_device{}()),
      registry_(options_.rule, [this] { return uuid(); }),
      event_queue_(options_.events_max, options_.events_running_max) {}

Result<std::unique_ptr<FunctionService>> FunctionService::open(net::EventLoop& loop,
                                                               FunctionServiceOptions options) {
  std::unique_ptr<FunctionService> service(new FunctionService(loop, std::move(options)));
  if (Status loaded = service->load(); !loaded) return fail(loaded.error());
  return service;
}

FunctionService::~FunctionService() {
  if (event_timer_) loop_.cancel(*event_timer_);
  if (usage_timer_) loop_.cancel(*usage_timer_);
  if (host_) save_usage();
  unpacker_.reset();
  writers_.reset();
  host_.reset();
}

Status FunctionService::load() {
  const std::string& directory = options_.state_directory;
  for (const char* name : {"", "/events", "/dead-letters", "/log"})
    if (Status made = make_directories(directory + name); !made) return made;
  auto lock = lock_file(directory + "/lock");
  if (!lock) return fail(lock.error());
  lock_ = std::move(*lock);
  auto code = CodeStore::open(directory + "/code");
  if (!code) return fail(code.error());
  code_ = std::move(*code);
  if (auto text = read_file(directory + "/registry.json")) {
    Status loaded = load_registry(registry_, *text);
    if (!loaded) return fail(std::move(loaded.error()).wrap(directory + "/registry.json"));
  } else if (text.error().code != Code::kNotFound) {
    return fail(text.error());
  }
  code_->keep_only(registry_.used_code());
  options_.host.log_directory = directory + "/log";
  host_ = std::make_unique<FunctionHost>(loop_, options_.host);
  for (const auto& [name, function] : registry_.all())
    if (function.reserved_concurrency) host_->limit(name, *function.reserved_concurrency);
  if (auto text = read_file(directory + "/usage.json")) {
    const auto all = nlohmann::json::parse(*text, nullptr, false);
    if (!all.is_object()) return fail(Code::kCorrupt, "{}/usage.json is damaged", directory);
    for (const auto& [name, u] : all.items()) {
      if (!u.is_object()) continue;
      auto number = [&u = u](const char* key) {
        const auto found = u.find(key);
        return found != u.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
      };
      host_->set_usage(name, {number("invocations"), number("errors"), number("throttles"),
                              number("cold_starts"), number("prepared_starts"),
                              number("billed_milliseconds"), number("megabyte_milliseconds")});
    }
  }
  unpacker_ = std::make_unique<net::WorkerPool>(1, kUnpackWaiting);
  writers_ = std::make_unique<net::WorkerPool>(kWriters, kWritesWaiting);
  return load_events();
}

std::size_t FunctionService::awaited() const {
  return host_->under_way() - std::min(host_->under_way(), event_queue_.running());
}

Status FunctionService::save() {
  return write_file_durably(options_.state_directory + "/registry.json", save_registry(registry_));
}

void FunctionService::save_usage() {
  nlohmann::json all = nlohmann::json::object();
  for (const auto& [name, function] : registry_.all()) {
    const Usage u = host_->usage(name);
    all[name] = {{"invocations", u.invocations},
                 {"errors", u.errors},
                 {"throttles", u.throttles},
                 {"cold_starts", u.cold_starts},
                 {"prepared_starts", u.prepared_starts},
                 {"billed_milliseconds", u.billed_milliseconds},
                 {"megabyte_milliseconds", u.megabyte_milliseconds}};
  }
  const std::string path = options_.state_directory + "/usage.json";
  if (Status saved = write_file_durably(path, all.dump(1)); !saved)
    options_.logger.error("cannot keep what functions used", {{"why", saved.error().message}});
}

// Pools whose settings are no longer what a version says. What waits in them moves on (run()).
void FunctionService::retire_stale(const std::string& name) {
  for (auto at = pools_.lower_bound({name, ""}); at != pools_.end() && at->first.first == name;) {
    auto resolved = registry_.resolve({name, at->first.second});
    if (resolved && resolved->settings.revision_id == at->second.revision) {
      ++at;
      continue;
    }
    const PoolId pool = at->second.pool;
    at = pools_.erase(at);
    host_->retire(pool);
  }
}

// Code that no version names goes once the environments that still run it had time to end.
void FunctionService::collect_code() {
  loop_.call_after(std::chrono::minutes(20), [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) code_->keep_only(registry_.used_code());
  });
}

std::string FunctionService::uuid() {
  const std::uint64_t high = random_(), low = random_();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xffff,
                     high & 0xfff, (low >> 48 & 0x3fff) | 0x8000, low & 0xffffffffffff);
}

double FunctionService::chance() { return std::uniform_real_distribution<double>(0, 1)(random_); }

net::HttpLimits FunctionService::http_limits() {
  net::HttpLimits limits;
  limits.body_bytes_max = 72u << 20;  // 50 MB in base64, and the rest of the request
  limits.connections_max = 4096;
  limits.request_timeout = 60s;
  limits.idle_timeout = 120s;
  return limits;
}

}  // namespace leeward::functions
