// The edge of one site: an HTTP reverse proxy that fails over between origins and sites inside a
// request. It is a data plane: it takes what it has to know from publish(), check() and reload(),
// and goes on without anyone.
//
// Threads: one loop a core, each with its own listening sockets (SO_REUSEPORT), connections, pools
// and opinion of the origins; nothing is shared on the way of a request but the firewall and the
// cache. All functions below may be called from any thread; those that change something wait until
// every loop has taken it over.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "edge/challenge.h"
#include "edge/exchange.h"
#include "edge/signed_url.h"
#include "model/edge.h"
#include "model/ids.h"

namespace leeward::edge {

struct Waf;

struct OriginSpec {
  std::string name;       // for logs and the sticky cookie
  std::string address;    // "10.0.0.1:8080", "[::1]:8080" or "unix:/path"
  SiteId site = kNoSite;  // kNoSite: belongs to every site
  std::uint32_t weight = 1;
  bool edge = false;       // the other site's edge: never asked for what came from an edge that
                           // has our hop_key
  bool functions = false;  // a tier's functions at that site, beside its instances
  bool operator==(const OriginSpec&) const = default;
};

struct GroupSpec {
  std::string name;
  std::vector<OriginSpec> origins;
  OriginPolicy policy;
  std::string sticky_cookie;    // set to the origin's name; empty: none
  bool shield = false;          // origins that are edges are asked before others of their site
  bool proxy_protocol = false;  // send the PROXY protocol v2 header to the origins
  OriginProtocol protocol = OriginProtocol::kHttp1;
  std::optional<OriginTls> tls{};  // with absolute paths; not for origins that are edges
  bool operator==(const GroupSpec&) const = default;
};

struct RouteSpec {
  std::string name;
  std::string host;        // exact, "*.shop.test", or empty: any
  std::string path = "/";  // prefix
  std::size_t group = 0;   // index into EdgeConfig::groups
  WriterNeed writer = WriterNeed::kUnsafe;
  bool hedge = true;    // safe requests without a body may be sent to a second origin
  bool upgrade = true;  // WebSocket and other upgrades may pass
  std::shared_ptr<const CachePolicy> cache;  // null: not cached
  std::vector<SigningKey> signing_keys{};    // empty: requests need no signature
};

struct ListenerSpec {
  std::string address;  // as OriginSpec::address; port 0: any free one
  bool tls = false;
  bool proxy_protocol = false;  // every connection begins with a PROXY protocol v2 header
  bool trusted = false;         // X-Forwarded-For and -Proto are taken over and extended
  bool operator==(const ListenerSpec&) const = default;
};

struct Certificate {
  std::string chain_path;  // PEM, leaf first
  std::string key_path;
  std::string ocsp_path;  // DER response to staple; may be empty
};

struct EdgeConfig {
  std::string site;  // name, for Via and logs
  std::vector<ListenerSpec> listeners;
  std::vector<Certificate> certificates;  // the first one is for clients without SNI
  std::vector<GroupSpec> groups;
  std::vector<RouteSpec> routes;  // the longest path of the most specific host wins
  EdgeTimeouts timeouts;
  EdgeLimits limits;
  EdgeParking parking;
  bool server_timing = false;                       // responses tell how long edge and origin took
  std::shared_ptr<Firewall> firewall;               // may be null
  std::shared_ptr<const Challenge> challenge = {};  // may be null: nobody is challenged
  std::shared_ptr<const Waf> waf;  // edge/waf.h; may be null: requests are not inspected
  // By which the edges of a platform know each other's requests, the same at all of them. Empty: no
  // edge is known.
  std::string hop_key = {};
};

struct EdgeOptions {
  unsigned threads = 0;  // 0: one a core
  AccessLogFormat access_log = AccessLogFormat::kNone;
  std::string access_log_path;
  std::string audit_log_path = {};  // empty: none; begun with its first line
  std::uint64_t audit_bytes_max = 64u << 20;
  int audit_files = 4;
  Logger logger;
  std::shared_ptr<Cache> cache;  // may be null
  // Sockets of a predecessor that listen already. They take the place of new ones where a listener
  // has their address; the others are closed.
  std::vector<UniqueFd> sockets;
};

// What control says, as far as the edge needs it.
struct WriterState {
  SiteId active = kNoSite;  // origins of this site are asked first
  Epoch epoch;
  std::uint64_t version = 0;  // of the record
  bool moving = false;        // no site is open for writes just now: what needs the writer waits
  bool operator==(const WriterState&) const = default;
};

struct ProbeQuestion {
  std::string path;  // of a GET
  Duration timeout{};
  // Instead of the GET: gRPC's health check of this service ("": the server). Not serving is 503.
  std::optional<std::string> grpc_service = {};
};
struct ProbeReply {
  int status = 0;
  std::string body;  // its beginning
};

// Of what warm() was given since the start.
struct WarmProgress {
  std::size_t waiting = 0;
  std::size_t under_way = 0;
  std::uint64_t warmed = 0;
  std::uint64_t failed = 0;  // no URL, or a 5xx
};

class Edge {
 public:
  // Listens before it returns, and makes the process ignore SIGPIPE: a TLS library writes with
  // write(2), also to clients that are gone. kInvalid: a configuration that cannot be; kIo: an
  // address, file or certificate that cannot be used.
  static Result<std::unique_ptr<Edge>> start(EdgeOptions options, EdgeConfig config);
  ~Edge();  // closes every connection
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;

  // kRefused: an older epoch than the highest seen, or the same with an older record.
  Status publish(const WriterState& state);
  WriterState state() const;
  // An active check of an origin ended; `up` is what the checker's core says after it.
  void check(std::size_t group, std::size_t origin, bool passed, bool up);
  // Asks an origin as its requests are asked (TLS, protocol, PROXY header), on a connection of its
  // own. `done` comes on a thread of the edge, once, unless the edge ends before: a whole answer,
  // kTimeout, kUnavailable (the log says more of TLS) or kCorrupt.
  void probe(std::size_t group, std::size_t origin, ProbeQuestion question,
             std::function<void(Result<ProbeReply>)> done);
  // Asks for these URLs ("http://host/path") in the background, so that the cache has them; returns
  // how many were taken (100,000 may wait).
  std::size_t warm(const std::vector<std::string>& urls);
  WarmProgress warm_progress() const;
  // Takes over routes, groups, limits, firewall and certificates; requests under way end under the
  // old ones. The listeners must be the same (kConflict otherwise). On an error everything stays as
  // it was.
  Status reload(EdgeConfig config);
  // Stops listening, lets requests under way end and closes idle connections. True when none is
  // left after `patience`.
  bool drain(Duration patience);

  // The sockets that it listens on, for a successor; its own until drain().
  std::vector<int> sockets() const;
  // The addresses with their real ports, in the order of the configuration.
  std::vector<std::string> listening() const;
  std::string prometheus_text() const;
  // What the edge would do with a GET of `url` ("http://host/path") now, for people. Asks the web
  // application firewall's engine on the caller's thread. Without `client` nothing is said of whom
  // the firewall knows.
  std::string explain(std::string_view url,
                      const std::optional<ClientAddress>& client = std::nullopt) const;
  // One line per origin and route with the counts of the last seconds, as JSON (`leeward edge
  // top`).
  std::string top_json() const;

 private:
  struct Impl;
  explicit Edge(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::edge
