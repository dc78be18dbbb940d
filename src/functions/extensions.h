// The extensions of one environment: who has registered for what, and who is done.
//
// External extensions are programs in /opt/extensions, known by their file names; internal ones are
// threads of the runtime, which register under names of their own. The program of the function
// starts when every external extension has registered, and the environment has done its part (init,
// or an invocation) when every extension that has to be asked for its next event has asked.
//
//   register ──▶ event/next ──▶ (INVOKE ──▶ event/next)… ──▶ SHUTDOWN ──▶ its process ends
//
// Pure; the host keeps the answers that wait. Source: AWS Lambda's Extensions API, version
// 2020-01-01, and its guide "Using the Lambda Extensions API".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "functions/invocation.h"
#include "net/http.h"

namespace leeward::functions {

// ---- The API as text.

struct ExtensionCall {
  enum class Kind : std::uint8_t {
    kNone,  // no call of the Extensions API or the Telemetry API
    kRegister,
    kNext,
    kInitError,
    kExitError,
    kSubscribe,  // Telemetry API, version 2022-07-01
    kUnknown,
  };
  Kind kind = Kind::kNone;
  std::string identifier;  // of all but kRegister: Lambda-Extension-Identifier
};
ExtensionCall parse_extension_call(const net::HttpRequest& request);

struct ExtensionEvents {
  bool invoke = false, shutdown = false;
};
// The body of kRegister; kInvalid says what is wrong.
Result<ExtensionEvents> parse_registration(std::string_view body);
net::HttpResponse registered_response(const FunctionVersion& version,
                                      const std::string& identifier);

enum class ShutdownReason : std::uint8_t { kSpindown, kTimeout, kFailure };
net::HttpResponse invoke_event(const Invocation& invocation, WallTime deadline);
net::HttpResponse shutdown_event(ShutdownReason reason, WallTime deadline);

// ---- Who is where.

class Extensions {
 public:
  // `programs`: the file names of the external ones, in the order in which they were started.
  explicit Extensions(std::vector<std::string> programs) : programs_(std::move(programs)) {}

  bool any() const { return !all_.empty() || !programs_.empty(); }
  // Whether the program of the function may start.
  bool all_registered() const;
  // kConflict: the name is taken; kRefused: init is over, or what an internal extension may not;
  // kInvalid: no name. `identifier` becomes its.
  Status add(const std::string& name, ExtensionEvents events, const std::string& identifier,
             bool init_is_over);
  bool known(std::string_view identifier) const { return find(identifier) != nullptr; }
  std::string name_of(std::string_view identifier) const;

  // It asks for its next event. REQUIRES: known.
  void asked(std::string_view identifier);
  // Whether all that have to have asked.
  bool all_asked() const;
  // Identifiers of those that get the event now. An extension that asks later gets nothing of an
  // invocation that has begun, but does get a shutdown.
  std::vector<std::string> take_invoke();
  std::vector<std::string> take_shutdown();

  // An external extension's process has ended; its name.
  std::string ended(std::size_t program);
  // Whether a process that is to be told of the shutdown still runs.
  bool shutdown_is_awaited() const;

 private:
  struct One {
    std::string name, identifier;
    ExtensionEvents events;
    std::optional<std::size_t> program;  // external: which
    bool waits = false;                  // has asked, and got nothing since
    bool ended = false;
  };
  const One* find(std::string_view identifier) const;

  std::vector<std::string> programs_;
  std::vector<One> all_;
};

}  // namespace leeward::functions
