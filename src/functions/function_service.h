// Functions as a service on one host: the registry and its code on disk, the host that runs them,
// asynchronous events, and the Lambda API over HTTP (lambda_api.cc).
//
// State below one directory: registry.json (written durably before a change is answered), code/,
// events/ (accepted and not yet done), dead-letters/QUEUE/, usage.json, log/. Everything is read
// again by open(); events that were under way run again.
//
// For the loop's thread. Unpacking archives runs on a thread of its own, and so does writing
// events: a slow disk delays those who hand them in, and nobody else.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/log.h"
#include "functions/code_store.h"
#include "functions/event_queue_core.h"
#include "functions/function_host.h"
#include "functions/registry.h"
#include "functions/runtimes.h"
#include "functions/sigv4.h"
#include "net/http.h"

namespace leeward::functions {

struct FunctionServiceOptions {
  std::string state_directory;
  std::string address;  // where function URLs are reached: "http://127.0.0.1:9001"
  RegistryRule rule;
  RuntimeTools tools;
  FunctionHostOptions host;
  // What functions may be granted (tag leeward:connect); anything else is refused.
  std::vector<Grant> connectable;
  // Who may call the API, by signature version 4; empty: everybody who reaches it. Function URLs
  // ask nobody in either case.
  AccessKeys access_keys;
  std::size_t events_max = 10'000;
  std::size_t events_running_max = 16;
  std::size_t dead_letters_max = 10'000;  // in one queue; further ones are dropped and logged
  Logger logger;
};

class FunctionService {
 public:
  // kCorrupt when the state is damaged, kIo, kConflict when another process has it.
  static Result<std::unique_ptr<FunctionService>> open(net::EventLoop& loop,
                                                       FunctionServiceOptions options);
  ~FunctionService();
  FunctionService(const FunctionService&) = delete;
  FunctionService& operator=(const FunctionService&) = delete;

  // The Lambda API, function URLs below /function-urls/, and GET /leeward/functions (usage).
  void handle(net::HttpRequest request, net::Responder respond);
  // From now on every request is refused (503), and no event begins. What runs is finished.
  void stop_taking() { stopping_ = true; }
  // Invocations that somebody waits for. Events are none: what was not finished runs again.
  std::size_t awaited() const;
  // A request to the function itself, as to its function URL. For a listener of its own.
  void handle_url(const FunctionReference& reference, net::HttpRequest request,
                  net::Responder respond);

  FunctionHost& host() { return *host_; }
  Registry& registry() { return registry_; }
  // Bounds for the server in front of handle(): code comes in one request.
  static net::HttpLimits http_limits();

 private:
  struct Request;  // one API call
  using Answer = ApiResult<net::HttpResponse>;
  struct PoolEntry {
    PoolId pool;
    std::string revision;  // what its settings were made from
  };
  struct Event {
    FunctionReference reference;
    std::string request_id, payload, client_context;
  };
  struct Delivery {
    std::string arn, text;
  };

  FunctionService(net::EventLoop& loop, FunctionServiceOptions options);
  Status load();

  // lambda_api.cc: each returns the answer, or answers later.
  void route(Request& request);
  void route_function(Request& request, const std::string& date, std::vector<std::string> rest);
  Answer create_function(Request& request, const CodeStore::Stored& code);
  Answer update_code(Request& request, const CodeStore::Stored& code);
  Answer update_configuration(Request& request);
  Answer get_function(Request& request);
  Answer get_configuration(Request& request);
  Answer delete_function(Request& request);
  Answer list_functions(Request& request);
  Answer publish(Request& request);
  Answer list_versions(Request& request);
  Answer put_alias(Request& request, const std::string& alias);
  Answer get_alias(Request& request, const std::string& alias);
  Answer delete_alias(Request& request, const std::string& alias);
  Answer list_aliases(Request& request);
  Answer concurrency(Request& request);
  Answer function_url(Request& request);
  Answer event_config(Request& request);
  Answer tags(Request& request, const std::string& arn);
  Answer usage_list() const;
  Answer log_tail(const std::string& name);
  // Answers with what a change says; one that is refused halfway, or cannot be kept on disk, leaves
  // the registry as it was.
  template <typename... Args>
  void answer_change(Request& request, Answer (FunctionService::*change)(Request&, Args...),
                     const std::type_identity_t<Args>&... args);
  void store_code(Request& request,
                  Answer (FunctionService::*then)(Request&, const CodeStore::Stored&));

  // lambda_invoke.cc
  void invoke(Request& request);
  void invoke_streaming(Request& request);
  void run(const Registry::Resolved& resolved, Invocation invocation, InvocationCaller caller,
           int attempts = 0);
  ApiResult<PoolId> pool_for(const Registry::Resolved& resolved);
  Result<FunctionVersion> version_of(const Registry::Resolved& resolved) const;
  ApiStatus check_grants(const std::map<std::string, std::string>& tags,
                         std::vector<Grant>& grants) const;
  ApiStatus check_runnable(const std::string& name, const FunctionSettings& settings) const;
  ApiStatus check_destination(const std::string& arn) const;

  // function_events.cc
  // `then` is told when the event is on disk, or why it is not taken; maybe from inside this call.
  void accept_event(Event event, std::function<void(ApiStatus)> then);
  void run_due_events();
  void run_event(EventId id);
  void event_finished(EventId id, const std::string& version, const InvocationResult& result);
  void hand_over(const std::string& request_id, std::vector<Delivery> left);
  void write_letter(const std::string& request_id, const std::string& queue,
                    const Delivery& delivery, std::vector<Delivery> left);
  std::string event_path(const std::string& request_id) const;
  Status load_events();
  EventSettings event_settings(const FunctionReference& reference) const;

  Status save();
  void save_usage();
  void retire_stale(const std::string& name);
  void collect_code();
  std::string uuid();
  double chance();

  net::EventLoop& loop_;
  FunctionServiceOptions options_;
  UniqueFd lock_;
  std::mt19937_64 random_;
  Registry registry_;
  std::optional<CodeStore> code_;
  std::unique_ptr<FunctionHost> host_;
  std::map<std::pair<std::string, std::string>, PoolEntry> pools_;  // by name and version
  EventQueueCore event_queue_;
  std::map<EventId, Event> events_;
  std::uint64_t last_event_ = 0;
  std::optional<net::TimerId> event_timer_, usage_timer_;
  bool stopping_ = false;
  std::mutex letters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<net::WorkerPool> unpacker_, writers_;  // last: their jobs use what is above
};

}  // namespace leeward::functions
