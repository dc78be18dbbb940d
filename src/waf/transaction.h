// One request, and if wanted its response, under the rules of a RuleSet.
//
//   Workspace workspace(rules);               // memory; keep it, one for each thread
//   Transaction transaction(workspace, collections, now);
//   if (transaction.request_headers(head) || transaction.request_body(body)) refuse(…);
//   transaction.logging();
//
// Each step runs its phase (1 to 5) and is true when a rule intervened; then the caller ends with
// logging(). Steps go forward only; steps that are left out are phases that do not run.
//
// Ownership: texts given to a Transaction are not copied and must live as long as it does. A
// Workspace serves one Transaction at a time. Threading: one thread at a time; RuleSet and
// Collections are shared.
//
// Bounds: a regular expression takes SecPcreMatchLimit steps at most; one that is given up counts
// as a match of its rule, because a value that cannot be judged must not pass, and limits() counts
// it. All searches of a transaction together take kSearchTimeMax of the processor's time and one
// part of a search more (internal/regex.h); then it ends, refused with 413 unless the engine only
// detects. Arguments above SecArgumentsLimit are not looked at. At most kMatchesMax matches are
// told.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "waf/collections.h"
#include "waf/rule_set.h"

namespace leeward::waf {

struct HeaderField {
  std::string_view name, value;
};

struct RequestHead {
  std::string_view client_address;  // "192.0.2.7", "2001:db8::7"
  std::uint16_t client_port = 0;
  std::string_view server_address;
  std::uint16_t server_port = 0;
  std::string_view method;
  std::string_view target;    // as received
  std::string_view protocol;  // "1.0", "1.1", "2.0"
  std::span<const HeaderField> fields;
  std::string_view unique_id;  // of the request, for logs and for sampling
  std::string_view country;    // of the client's address, for @geoLookup; "KR"; empty: not known
  std::string_view ja4;        // fingerprint of the client's TLS, for LEEWARD_JA4; empty: not known
  // For LEEWARD_CRAWLER: "verified", "unverified", "false"; empty: it claims to be none.
  std::string_view crawler;
  std::span<const HeaderField> facts;  // what the caller knows: in TX under these names
};

struct Intervention {
  bool due = false;
  int status = 200;
  std::string location;  // of a redirect
  std::uint32_t rule = 0;
  bool drop = false;  // close the connection rather than answer
  std::string why;    // when it was no rule's
};

// Of a rule that neither tells nor audits nor intervenes (nolog), only numbers and flags.
struct MatchedRule {
  std::uint32_t id = 0;
  int phase = 0;
  std::string message, data;  // macros filled in
  int severity = -1;          // -1: none
  std::vector<std::string> tags;
  std::string variable;  // "ARGS:name", the last that matched
  std::string value;     // of it, transformed; kValueMax bytes at most
  // The variable that the value came from. Another one than `variable` for MATCHED_VAR and for what
  // rules keep in TX: of "TX:1", captured from a password, it is "ARGS:password".
  std::string origin;
  std::string place;  // "FILE:LINE:COLUMN" of the rule
  bool told = true;   // log; false: nolog
  bool audit = true;
  bool disruptive = false;  // asked for the intervention
};

class Runner;
struct Rooms;

class Workspace {
 public:
  explicit Workspace(std::shared_ptr<const RuleSet> rules);
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  const RuleSet& rules() const { return *rules_; }

 private:
  friend class Transaction;
  std::shared_ptr<const RuleSet> rules_;
  std::unique_ptr<Rooms> rooms_;
};

class Transaction {
 public:
  static constexpr std::size_t kMatchesMax = 256;
  static constexpr std::size_t kValueMax = 512;

  struct Time {
    std::chrono::steady_clock::time_point now;   // for collections
    std::chrono::system_clock::time_point wall;  // for TIME…
    // When to give up: for a caller that cannot wait, and will ask again where it can. With one, an
    // expression takes kHurriedSteps at most.
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  };
  static constexpr std::uint32_t kHurriedSteps = 10'000;
  static constexpr std::chrono::seconds kSearchTimeMax{1};

  Transaction(Workspace& workspace, Collections& collections, Time time);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  bool request_headers(const RequestHead& head);
  // In its place, for the response to a request whose phase 1 ran in a transaction before: what
  // rules set for this transaction is set again, collections are read and not written, and an
  // intervention is forgotten, because it was judged then.
  void request_headers_again(const RequestHead& head);
  // Also without a body: phase 2 runs then too.
  bool request_body(std::string_view body);
  bool response_headers(int status, std::string_view protocol, std::span<const HeaderField> fields);
  bool response_body(std::string_view body);
  void logging();

  const Intervention& intervention() const;
  std::span<const MatchedRule> matches() const;  // those with nolog too
  // "" when it is not set; "anomaly_score", "inbound_anomaly_score_pl1", …
  std::string_view tx(std::string_view name) const;
  std::uint32_t limits() const;  // regular expressions that were given up
  // The deadline passed, or an expression took too long for one: nothing else counts, and what
  // rules stored between requests until then stays stored.
  bool unfinished() const;

 private:
  std::unique_ptr<Runner> runner_;
};

}  // namespace leeward::waf
