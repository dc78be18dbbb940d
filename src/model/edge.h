// The `edge` section of leeward.yaml: where the edge listens, which requests go to which origins,
// and how patient it is. Plain data; the edge takes timeouts, limits and policies over as they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/edge_cache.h"
#include "model/platform.h"
#include "model/waf_policy.h"

namespace leeward {

// How long each thing may take. At the end of each the client gets 408 or 504 where an answer is
// still possible; otherwise the connection is closed.
struct EdgeTimeouts {
  Duration header = 10s;       // from a request's first octet to the end of its head
  Duration body = 30s;         // between two parts of a request's body
  Duration idle = 75s;         // a client's connection between requests
  Duration write = 30s;        // a client that reads nothing
  Duration connect = 500ms;    // to an origin
  Duration first_byte = 60s;   // from the request sent to the response's head
  Duration origin_idle = 60s;  // between two parts of a response
  Duration pool = 60s;         // an origin's connection between requests
  Duration tunnel = 1h;        // an upgraded connection without a byte either way
  Duration drain = 30s;        // when the edge ends: for the requests under way
};

struct EdgeLimits {
  std::uint64_t target_bytes_max = 8u << 10;  // above: 414
  std::uint64_t head_bytes_max = 32u << 10;   // request or status line and fields; above: 431
  std::uint64_t fields_max = 100;             // above: 431
  std::uint64_t request_body_bytes_max = 64u << 20;  // above: 413
  std::uint64_t buffer_bytes = 64u << 10;  // each way, each request; above it the other side waits
  std::uint64_t replay_bytes = 64u << 10;  // of a request's body, kept so that it can be sent again
  std::uint64_t connections_max = 65536;   // of clients, each thread; above: closed unanswered
  std::uint64_t pool_per_origin = 256;     // idle connections kept, each thread
  int attempts_max = 3;                    // origins that one request is sent to
};

// Requests that wait while the writer moves.
struct EdgeParking {
  Duration time_max = 8s;               // then 503 with Retry-After
  std::uint64_t requests_max = 4096;    // each thread; above: 503 at once
  std::uint64_t bytes_max = 16u << 20;  // heads and bodies that they hold, each thread
};

enum class Balancing : std::uint8_t {
  kRoundRobin,     // smooth weighted
  kLeastRequests,  // fewest under way per weight
  kTwoChoices,     // the better of two drawn at random: as good as least, without its herding
  kHash,           // by the request's URL: an origin that goes moves only its own URLs
};

// What an origin has to do to get no requests (edge/origin_core.h).
struct OriginPolicy {
  Balancing balancing = Balancing::kTwoChoices;
  int failures_to_eject = 3;
  int silent_requests = 5;
  Duration silence = 150ms;
  Duration ejection = 1s;
  Duration ejection_max = 30s;
  Duration slow_start = 2s;  // 0: at once
  std::uint32_t requests_max = 4096;
  double retry_budget = 0.2;  // retries per request
  double hedge_budget = 0.1;  // hedges per request
  Duration hedge_min = 10ms;  // a hedge starts after p99, within these bounds
  Duration hedge_max = 400ms;
  bool operator==(const OriginPolicy&) const = default;
};

struct EdgeCheck {
  std::string path;          // empty, and no grpc: no active checks
  bool grpc = false;         // instead of the path: gRPC's health checking protocol …
  std::string grpc_service;  // … about this service; empty: the server
  Duration interval = 500ms;
  Duration timeout = 400ms;
  int fall = 2;
  int rise = 1;
};

enum class OriginProtocol : std::uint8_t { kHttp1, kHttp2 };

// TLS to the origins of a group. They are always verified.
struct OriginTls {
  std::string ca;           // PEM; empty: the system's authorities
  std::string name;         // SNI, and the name that is verified; empty: the origin's address
  std::string certificate;  // PEM, ours; empty: none
  std::string key;
  bool operator==(const OriginTls&) const = default;
};

struct EdgeServer {
  static constexpr std::uint32_t kWeightMax = 1000;
  std::string address;       // "10.0.0.1:8080", "[::1]:8080", "unix:/path"
  std::uint32_t weight = 1;  // its share, beside those of the others
};
// "ADDRESS" or "ADDRESS weight=N".
Result<EdgeServer> parse_edge_server(std::string_view text);

struct EdgeOrigins {
  std::string name;
  std::string tier;                  // its instances on every site; or
  std::vector<std::string> servers;  // as parse_edge_server() reads them
  bool shield = false;  // the other site's instances are asked through that site's edge
  OriginPolicy policy;
  EdgeCheck check;
  std::string sticky_cookie;
  bool proxy_protocol = false;
  OriginProtocol protocol = OriginProtocol::kHttp1;
  std::optional<OriginTls> tls;
};

// Which requests need the writer, and wait while it moves.
enum class WriterNeed : std::uint8_t {
  kNone,
  kUnsafe,  // all but GET, HEAD, OPTIONS, TRACE
  kAll,
};

// A key that URLs are signed with (edge/signed_url.h).
struct EdgeSigningKey {
  std::string id;
  SecretRef secret;  // at least 16 bytes
};

struct EdgeRoute {
  std::string host;  // "shop.test", "*.shop.test"; empty: any
  std::string path = "/";
  std::string origins;
  WriterNeed writer = WriterNeed::kUnsafe;
  bool hedge = true;
  bool upgrade = true;
  std::string cache;                         // name of a policy; empty: not cached
  std::vector<EdgeSigningKey> signing_keys;  // empty: requests need no signature
};

struct EdgeListener {
  std::string address = "{address}";  // an IPv4 address; {address} is the site's
  std::uint16_t port = 0;
  bool tls = false;
  bool proxy_protocol = false;
  bool trusted = false;  // what is in front tells who the client is
};

struct EdgeCertificate {
  std::string chain;  // PEM files, relative to leeward.yaml
  std::string key;
  std::string ocsp;
};

enum class AccessLogFormat : std::uint8_t { kNone, kCombined, kJson };

enum class RateAction : std::uint8_t {
  kThrottle,   // what is too much gets 429
  kBlock,      // who asks too much gets 403 for what the limit counts, for `block_for`
  kBan,        // 429; who goes on after `ban_after` of them gets 403 for everything, for `ban_for`
  kCount,      // it is told, and passes
  kChallenge,  // who has no pass of EdgeChallenge gets its page
};

struct EdgeRateLimit {
  std::string name;
  std::string path = "/";       // beginning of the paths that count
  std::string key = "address";  // "address", "network" (/24 of IPv4, /64 of IPv6), "header:NAME"
  std::int64_t requests = 0;    // in each `per`
  Duration per = 1s;
  std::int64_t burst = 0;  // at once, after silence; 0: as many as `requests`
  RateAction action = RateAction::kThrottle;
  Duration block_for = 1min;
  std::int64_t ban_after = 0;  // in each `per`
  Duration ban_for = 10min;
  bool operator==(const EdgeRateLimit&) const = default;
};

// What a client has to do once before it is served where a rule says so (edge/challenge.h).
struct EdgeChallenge {
  SecretRef secret;         // signs passes; the same at every site. kNone: nobody is challenged
  SecretRef former_secret;  // whose passes are still good; may be kNone
  Duration pass_for = 1h;
  int bits = 17;  // of work
  bool operator==(const EdgeChallenge& other) const {
    const auto same = [](const SecretRef& a, const SecretRef& b) {
      return a.kind == b.kind && a.where == b.where;
    };
    return same(secret, other.secret) && same(former_secret, other.former_secret) &&
           pass_for == other.pass_for && bits == other.bits;
  }
};

enum class WafMode : std::uint8_t {
  kDetect,  // log what the rules would refuse, refuse nothing
  kBlock,
};

// What becomes of a request that cannot be inspected: full queue, no verdict in time, engine error.
enum class WafFailure : std::uint8_t {
  kFailOpen,    // it passes
  kFailClosed,  // 503; in mode detect it passes
};

// What becomes of a body above body_bytes_max.
enum class WafBodyLimit : std::uint8_t {
  kReject,          // 413; in mode detect its beginning is inspected
  kProcessPartial,  // its beginning is inspected, and the rest passes unseen
};

// Which requests the audit log has.
enum class WafAudit : std::uint8_t {
  kRules,  // as SecAuditEngine says, which a policy does not set: then none
  kNone,
  kRelevant,  // of which rules had something to tell, or with a SecAuditLogRelevantStatus
  kAll,
};

// Whether who says to be a search engine's crawler is one, by DNS (edge/crawlers.h).
struct EdgeCrawlers {
  bool verify = false;
  Endpoint resolver;      // without a port: those of /etc/resolv.conf
  Duration timeout = 2s;  // for one try of a question, of which there are two
  bool operator==(const EdgeCrawlers&) const = default;
};

// The web application firewall: rules about what requests say (edge/waf.h).
struct EdgeWaf {
  std::string rules_file;  // SecLang; empty, and no policy: requests are not inspected
  std::optional<WafPolicy> policy = {};  // instead of rules_file
  WafMode mode = WafMode::kDetect;
  WafFailure on_failure = WafFailure::kFailClosed;
  bool before_cache = false;  // what the cache answers is inspected too
  std::uint64_t body_bytes_max = 1u << 20;
  WafBodyLimit body_limit_action = WafBodyLimit::kReject;
  Duration timeout = 5s;                          // for a verdict, waiting included
  int workers = 0;                                // 0: one a core, at least 2
  std::uint64_t queue_max = 1024;                 // requests that wait
  std::uint64_t held_bytes_max = 64u << 20;       // of bodies held back until a verdict
  bool responses = false;                         // rules of phases 3 and 4 see what origins answer
  std::uint64_t response_bytes_max = 512u << 10;  // of a response's body
  Duration response_hold = 2s;                    // for it to come, while the client waits
  WafAudit audit_log = WafAudit::kRules;
  std::uint64_t audit_bytes_max = 64u << 20;  // of one file
  int audit_files = 4;                        // that are kept beside the one that grows
  std::uint64_t audit_body_bytes_max = 0;     // of a request's body in the audit log
  std::vector<std::string> mask = {};         // parts of names whose values are secret, too
  EdgeCrawlers crawlers;
  bool operator==(const EdgeWaf&) const = default;
};

struct EdgeFirewall {
  std::string allow_file;  // addresses and networks, one a line: never refused
  std::string block_file;
  std::string country_file;  // networks and their countries
  std::vector<std::string> block_countries;
  std::vector<EdgeRateLimit> rate_limits;
  std::uint64_t keys_max = 1u << 18;  // clients remembered, over all limits
  std::uint64_t bans_max = 1u << 16;  // clients banned at a time
  EdgeChallenge challenge;
  EdgeWaf waf;
  bool operator==(const EdgeFirewall&) const = default;
};

struct EdgeSpec {
  std::vector<EdgeListener> listeners;
  std::vector<EdgeCertificate> certificates;
  std::vector<EdgeOrigins> origins;
  std::vector<EdgeRoute> routes;
  EdgeCache cache;
  std::vector<EdgeCachePolicy> cache_policies;
  EdgeTimeouts timeouts;
  EdgeLimits limits;
  EdgeParking parking;
  EdgeFirewall firewall;
  std::uint16_t admin_port = 7402;  // on each site's address: metrics, top, explain
  int threads = 0;                  // 0: one a core
  AccessLogFormat access_log = AccessLogFormat::kNone;
  bool server_timing = false;

  // Where another site's edge takes requests from us: its first listener without TLS and PROXY
  // header.
  std::optional<std::uint16_t> plain_port() const;
};

}  // namespace leeward
