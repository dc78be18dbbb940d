// Rules in SecLang, such as OWASP's Core Rule Set, read and compiled for a Transaction
// (transaction.h) to run. Immutable: shared by all threads, and other rules are another RuleSet.
//
// What is understood: the language of ModSecurity 3 as the Core Rule Set 3.3 and 4, its set-up
// files and the usual exclusion packages write it. What is not understood is an error
// "FILE:LINE:COLUMN: what", and as many of them at once as can be told apart; nothing is passed
// over. Directives that only concern ModSecurity's own files (SecDataDir, SecDebugLog, SecAuditLog
// …) are known and without effect: docs/internals/waf-engine.md lists them.
//
// Order: rules of a phase run as they are written. SecRuleRemove… and SecRuleUpdate… act on all
// rules of the set, wherever they stand, as in ModSecurity 3.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::waf {

enum class Engine : std::uint8_t { kOff, kDetectionOnly, kOn };

// A request body with Content-Encoding. Where it is unpacked, rules see its other reading too: the
// arguments that an origin finds that leaves the field alone and reads the bytes as they came.
enum class CodedBody : std::uint8_t {
  kAsSent,   // rules look at the packed bytes, as ModSecurity's do
  kPartly,   // unpacked; one that cannot be is looked at as it came, and with what came out of it
  kRefused,  // unpacked; one that cannot be is refused
};

// What directives set, with ModSecurity 3's defaults.
struct Settings {
  Engine engine = Engine::kOff;
  bool request_body_access = false;
  bool response_body_access = false;
  std::size_t request_body_bytes_max = 128u << 20;  // SecRequestBodyLimit
  bool request_body_reject = true;                  // above it: refuse; else look at as much of it
  CodedBody coded_body = CodedBody::kAsSent;        // no directive sets it: see Options
  std::size_t request_body_no_files_max = 0;        // 0: no limit
  std::size_t response_body_bytes_max = 512u << 10;
  // SecArgumentsLimit: what is above is not looked at. 0: not set, and a request with more than
  // 20,000 arguments is refused.
  std::uint32_t arguments_max = 0;
  std::uint32_t json_depth_max = 512;
  std::uint32_t regex_steps_max = 500'000;  // SecPcreMatchLimit
  std::uint32_t collection_timeout_seconds = 3600;
  char argument_separator = '&';
  std::string audit_engine = "Off";
  std::string audit_parts = "ABIJDEFHZ";
  std::string audit_relevant_status;
  std::vector<std::string> response_mime_types = {"text/plain", "text/html"};
  std::string signatures;  // SecComponentSignature, one a line
  std::string web_app_id = "default";
};

struct Program;  // internal/program.h

class RuleSet {
 public:
  static constexpr unsigned kThreadsMax = 4;  // that compile, unless told otherwise
  struct Options {
    bool files = true;             // rules may include and read files
    bool prefilter = true;         // off: every rule looks at every value, for comparison
    std::string cache_file = {};   // of compiled patterns; empty: none. Replaced if it does not fit
    unsigned compile_threads = 0;  // for patterns that are not in it; 0: one a core, kThreadsMax
    // In place of SecRuleEngine (On), SecRequestBodyAccess (On), SecRequestBodyLimit and
    // SecRequestBodyLimitAction (ProcessPartial), whatever the rules say.
    struct Overrule {
      bool in_force = false;
      std::size_t request_body_bytes_max = 0;
    };
    Overrule overrule = {};
    CodedBody coded_body = CodedBody::kAsSent;
  };

  // kInvalid with "FILE:LINE:COLUMN: what" a line; kNotFound for `path` itself.
  static Result<std::shared_ptr<const RuleSet>> load(const std::string& path,
                                                     const Options& options);
  static Result<std::shared_ptr<const RuleSet>> parse(std::string_view text,
                                                      const std::string& name,
                                                      const Options& options);
  ~RuleSet();

  std::size_t rules() const;  // SecRule and SecAction; a chain is one
  const Settings& settings() const;
  // What is allowed and yet worth a look: an exclusion of a rule that is not there, an operator
  // that never matches here.
  const std::vector<std::string>& notes() const;
  std::size_t compiled_bytes() const;  // of the prefilter's databases
  // SHA-256 of every directive and of the files that they name: the same rules have the same one,
  // wherever their files are.
  const std::string& digest() const;

 private:
  friend class Transaction;
  friend class Workspace;
  explicit RuleSet(std::unique_ptr<const Program> program);
  std::unique_ptr<const Program> program_;
};

}  // namespace leeward::waf
