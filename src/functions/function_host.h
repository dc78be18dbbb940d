// Runs functions: carries out what FunctionCore decides, with sandboxes and the Runtime API.
//
// Each environment is a Sandbox whose loopback has the Runtime API at 127.0.0.1:9001. The listener
// is made inside the sandbox and served here, so an environment is known by the socket that it
// asks, and can only ever speak for itself.
//
// For the loop's thread, which must outlive the host. Destroying the host kills every environment
// and drops the callers of what is under way uncalled.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/log.h"
#include "compute/instance_log.h"
#include "functions/extensions.h"
#include "functions/function_core.h"
#include "functions/invocation.h"
#include "functions/runtime_api.h"
#include "functions/sandbox.h"
#include "functions/telemetry.h"
#include "net/http.h"

namespace leeward::functions {

class GrantRelay;

struct FunctionHostOptions {
  std::string sandbox_executable;  // leeward-sandbox
  std::string log_directory;       // NAME.log, capped (compute/instance_log.h); empty: no logs
  // Of this host's control group. REQUIRES: no other host on this machine has the same: it would
  // end this one's environments.
  std::string cgroup_name = "leeward-functions";
  HostRule rule;
  Duration freeze_after = 50ms;
  Duration reap_after = 300s;
  std::size_t prepared = 0;  // as PoolRule; of each function in use
  Duration prepared_for = 30min;
  std::size_t queue_max = 2048;
  Duration queue_timeout = 30s;
  std::uint32_t first_outside_id = 400'000;  // environments get this user id and the ones above
  Logger logger;
};

class FunctionHost {
 public:
  FunctionHost(net::EventLoop& loop, FunctionHostOptions options);
  ~FunctionHost();
  FunctionHost(const FunctionHost&) = delete;
  FunctionHost& operator=(const FunctionHost&) = delete;

  // A version that invoke() can name from now on. Starts nothing.
  PoolId add(FunctionVersion version);
  // As FunctionCore::retire.
  void retire(PoolId pool);
  // Environments of all versions of function `name` together; nullopt: the host's own bound.
  void limit(const std::string& name, std::optional<std::size_t> environments);

  // Runs `invocation` and answers the caller, on the loop's thread, maybe from inside this call.
  // REQUIRES: `pool` is from add() and not retired; payload ≤ kPayloadBytesMax.
  void invoke(PoolId pool, Invocation invocation, InvocationCaller caller);

  PoolCounts counts(PoolId pool) const { return core_.counts(pool); }
  std::size_t environments() const { return core_.environments(); }
  std::size_t under_way() const { return calls_.size(); }  // invocations that wait or run
  Usage usage(const std::string& name) const;
  void set_usage(const std::string& name, const Usage& usage);  // what was kept from earlier
  const CgroupTree& cgroups() const { return cgroups_; }

 private:
  static constexpr std::size_t kLineBytesMax = 64u << 10;  // of output without an end of line

  struct Pool {
    FunctionVersion version;
    bool retired = false;
  };
  struct Call {
    PoolId pool;
    Invocation invocation;
    InvocationCaller caller;
    std::optional<BootTime> delivered;
    Duration init{0};
    bool streaming = false;  // begin was called
    std::size_t streamed_bytes = 0;
    std::string collected;  // of a streamed response whose caller wants it whole
  };
  struct Environment {
    PoolId pool;
    std::unique_ptr<Sandbox> sandbox;
    std::unique_ptr<net::HttpServer> runtime_api;
    std::unique_ptr<GrantRelay> relay;
    net::Responder next;          // of the poll that waits
    std::weak_ptr<void> posting;  // the response or error that is on its way: one at a time
    BootTime started;
    std::optional<Duration> init;  // until its first invocation reports it
    std::string init_error;        // as posted
    SandboxEnd end;
    std::string line;  // of its output, incomplete
    std::string tail;  // the last kLogTailBytes since the invocation began
    std::uint32_t outside_id = 0;
    // function_extensions.cc
    std::optional<Extensions> extensions;
    std::map<std::string, net::Responder> extension_next;  // of polls that wait, by identifier
    std::vector<std::unique_ptr<TelemetryBuffer>> telemetry;
    std::optional<net::TimerId> telemetry_timer;
    std::string extension_line;              // of their output, incomplete
    std::string extension_error;             // why the environment has failed, as an error object
    std::optional<ShutdownReason> shutdown;  // it ends, and why
    bool frozen = false;
  };

  void perform(Effects effects);
  void perform_one(const Start& effect);
  void perform_one(const Deliver& effect);
  void perform_one(const Freeze& effect);
  void perform_one(const Thaw& effect);
  void perform_one(const Stop& effect);
  void perform_one(const Fail& effect);
  void arm_timer();

  Status start_sandbox(EnvironmentId id, Environment& environment, const FunctionVersion& version);
  void on_ready(EnvironmentId id, std::vector<UniqueFd> listeners);
  void on_output(EnvironmentId id, std::string_view bytes);
  void on_ended(EnvironmentId id, SandboxEnd end);

  void on_request(EnvironmentId id, net::HttpRequest request, net::Responder respond);
  void on_posted(EnvironmentId id, const RuntimeCall& call, net::HttpRequest request,
                 const net::Responder& respond);
  net::HttpBodyRule on_head(EnvironmentId id, const net::HttpRequest& head);
  Call* running_call(EnvironmentId id, const std::string& request_id);
  void stream(EnvironmentId id, const std::string& request_id, const std::string& content_type,
              std::string_view bytes);
  void finish(InvocationId id, EnvironmentId environment, InvocationEnd end, std::string payload,
              std::string content_type = "application/json");
  void give(InvocationId id, InvocationResult result);

  // function_extensions.cc: everything about extensions and their telemetry.
  void on_extension(EnvironmentId id, const ExtensionCall& call, net::HttpRequest request,
                    net::Responder respond);
  void register_extension(EnvironmentId id, const net::HttpRequest& request,
                          const net::Responder& respond);
  void subscribe(EnvironmentId id, const std::string& identifier, const std::string& body,
                 const net::Responder& respond);
  void fail_by_extension(EnvironmentId id, std::string error);
  void on_companion_output(EnvironmentId id, std::string_view bytes);
  void on_companion_ended(EnvironmentId id, std::size_t companion, int status);
  void on_program_ended(EnvironmentId id);
  void maybe_polled(EnvironmentId id);
  void tell_extensions(Environment& environment, const Invocation& invocation, WallTime deadline);
  void shut_down(EnvironmentId id, ShutdownReason reason);
  void emit(EnvironmentId id, std::string_view type, const nlohmann::json& record);
  void emit_lines(EnvironmentId id, std::string_view type, std::string_view lines);
  void emit_init(EnvironmentId id, Duration took);
  void arm_telemetry(EnvironmentId id);
  void flush_telemetry(EnvironmentId id, bool all);

  void forget_retired();
  void log(const FunctionVersion& version, std::string_view bytes);
  std::uint32_t free_outside_id() const;

  net::EventLoop& loop_;
  FunctionHostOptions options_;
  CgroupTree cgroups_;
  FunctionCore core_;
  std::map<PoolId, Pool> pools_;
  std::map<std::string, FamilyId> families_;
  std::map<EnvironmentId, Environment> environments_;
  std::map<InvocationId, Call> calls_;
  std::map<std::string, Usage> usage_;
  std::map<std::string, compute::CappedLog> logs_;
  std::deque<Effect> effects_;
  bool performing_ = false;
  std::optional<net::TimerId> timer_;
  std::optional<BootTime> timer_due_;
  std::uint64_t last_pool_ = 0, last_invocation_ = 0;
  std::uint64_t last_extension_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  net::WorkerPool senders_;  // of telemetry; last: its jobs use nothing of the above, but sockets
};

}  // namespace leeward::functions
