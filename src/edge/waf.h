// The seam of the web application firewall: an engine that reads a whole request (head, and body
// within bounds) and says whether it may pass. An engine may be slow (seconds for a body of a
// megabyte), so a WafPool (waf_pool.h) calls it on threads of its own; only what an engine can say
// at once, of small requests, is asked from an event loop. The engine that runs is
// seclang_engine.h; modsecurity.h is what tests compare it with.
//
// Ownership: an InspectedRequest owns its texts, because its inspection may end after the request
// has gone. A verdict owns its texts too. An engine is shared by all that use it and stays as it
// is; other rules are another engine.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edge/exchange.h"
#include "model/edge.h"

namespace leeward::edge {

struct InspectedRequest {
  ClientAddress client;
  std::string method;
  std::string target;                                       // as received
  std::string protocol;                                     // "1.0", "1.1" or "2.0"
  std::string host;                                         // normalized
  std::vector<std::pair<std::string, std::string>> fields;  // in the order received
  std::string body;                                         // decoded from its framing
  std::size_t body_inspected = 0;  // bytes of `body` to inspect, from its beginning
  bool body_coded = false;         // has a Content-Encoding: there is more in it than its size says
  bool challenge_passed = false;   // it has a pass (challenge.h)
  std::string ja4 = {};            // ja4.h; empty: not known
  std::string_view crawler = {};   // one of kCrawlerStates (model/waf_expression.h), or empty

  std::size_t head_bytes() const {  // of its target and fields
    std::size_t sum = target.size();
    for (const auto& [name, value] : fields) sum += name.size() + value.size();
    return sum;
  }
};

struct InspectedResponse {
  int status = 0;
  std::string protocol;  // of the origin's answer: "1.1"
  std::vector<std::pair<std::string, std::string>> fields = {};
  std::string body = {};  // its beginning, without content coding
};

struct RuleMatch {
  std::string rule;           // the rule's id, "942100"
  std::string message;        // what the rule's author says of it; may hold text of the client's
  std::string variable = {};  // that matched, "ARGS:name"; holds text of the client's; may be empty
  std::string value = {};     // of it, masked where it is secret; the client's too
  std::string place = {};     // "FILE:LINE:COLUMN" of the rule
  int severity = -1;          // -1: none
  bool audit = true;          // it wants to be in the audit log
};

struct WafVerdict {
  enum class Kind : std::uint8_t {
    kPass,
    kBlock,  // refuse with `status`
    kError,  // the engine could not tell; `decisive.message` says why
  };
  Kind kind = Kind::kPass;
  int status = 403;        // kBlock: 300 to 599
  bool challenge = false;  // kBlock: rather the challenge than a refusal
  std::string location;    // kBlock with 3xx: where the client is sent; no control characters
  RuleMatch decisive;      // kBlock: the rule that decided
  std::vector<RuleMatch>
      matches;  // rules that matched and wanted to be logged; kMatchesMax at most
  static constexpr std::size_t kMatchesMax = 32;
};

class InspectionEngine {
 public:
  virtual ~InspectionEngine() = default;
  // Any thread, several at a time. Blocks for as long as the rules take; throws nothing. What the
  // engine would refuse is kBlock whatever the mode: whether it is refused is for the edge to say.
  virtual WafVerdict inspect(const InspectedRequest& request) const = 0;
  // The same on a thread that cannot wait, such as an event loop: within about a millisecond, or
  // nothing, and then inspect() is asked elsewhere.
  virtual std::optional<WafVerdict> inspect_at_once(const InspectedRequest&) const {
    return std::nullopt;
  }
  // Of what an origin answered; as inspect(). `request`: what it was asked, without its body. An
  // engine without rules about responses passes all.
  virtual WafVerdict inspect_response(const InspectedRequest&, const InspectedResponse&) const {
    return {};
  }
  virtual std::optional<WafVerdict> inspect_response_at_once(const InspectedRequest&,
                                                             const InspectedResponse&) const {
    return std::nullopt;
  }
  // Whether bodies of that media type are looked at; "text/html", without parameters.
  virtual bool reads_body_of(std::string_view) const { return false; }
};

class CrawlerCheck;
class WafPool;
struct AuditPolicy;
class SecretMask;

// What the edge knows of its web application firewall. Immutable; a reload makes another one.
struct Waf {
  EdgeWaf settings;
  std::shared_ptr<const InspectionEngine> engine;  // never null
  std::shared_ptr<WafPool> pool;                   // never null
  std::string digest = {};                         // of the engine's rules
  std::size_t rules = 0;
  std::shared_ptr<const AuditPolicy> audit = {};  // audit.h; null: no request is written
  std::shared_ptr<const SecretMask> mask = {};    // null when audit is
  std::shared_ptr<CrawlerCheck> crawlers = {};    // crawler_check.h; null: nobody is verified
};

}  // namespace leeward::edge
