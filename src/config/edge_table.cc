#include "config/internal/edge_table.h"

namespace leeward::config {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

Table<EdgeListener> listener_table() {
  Table<EdgeListener> t;
  t.text("address", &EdgeListener::address, kAnyText,
         "IPv4 address to listen on; {address} is that of the site, 0.0.0.0 every one.");
  t.port("port", &EdgeListener::port, "Port to listen on.").required();
  t.boolean("tls", &EdgeListener::tls, "Speaks TLS, with the certificates below.");
  t.boolean("proxy_protocol", &EdgeListener::proxy_protocol,
            "Every connection begins with a PROXY protocol v2 header that names the client.");
  t.boolean("trusted", &EdgeListener::trusted,
            "Only Leeward's edges or your own proxies connect here: X-Forwarded-For and "
            "X-Forwarded-Proto are taken over and extended instead of replaced. The client, for "
            "limits, the firewall, signatures and logs, is the last address of X-Forwarded-For.");
  return t;
}

Table<EdgeCertificate> certificate_table() {
  Table<EdgeCertificate> t;
  t.text("chain", &EdgeCertificate::chain, kAnyText,
         "PEM file with the certificate and those above it; relative to this file.")
      .required();
  t.text("key", &EdgeCertificate::key, kAnyText, "PEM file with the private key.").required();
  t.text("ocsp", &EdgeCertificate::ocsp, kAnyText, "DER file with the OCSP response to staple.");
  return t;
}

Table<EdgeCheck> check_table() {
  Table<EdgeCheck> t;
  t.text("path", &EdgeCheck::path, kPathRule,
         "Answers 200 when the origin can serve. Without it there are no active checks.")
      .default_text("that of the tier's ready check");
  t.boolean("grpc", &EdgeCheck::grpc,
            "Ask by gRPC's health checking protocol (grpc.health.v1) instead of the path; the "
            "group's protocol is http2 then.");
  t.text("grpc_service", &EdgeCheck::grpc_service, kAnyText, "The service that must be SERVING.")
      .default_text("the server as a whole");
  t.duration("interval", &EdgeCheck::interval, {50ms, 5min},
             "Time between two checks of an origin.");
  t.duration("timeout", &EdgeCheck::timeout, {20ms, 1min},
             "A check without an answer for this long has failed.");
  t.integer("fall", &EdgeCheck::fall, {1, 20},
            "So many failed checks in a row make an origin down.");
  t.integer("rise", &EdgeCheck::rise, {1, 20}, "So many good checks in a row make it up again.");
  return t;
}

Table<OriginTls> origin_tls_table() {
  Table<OriginTls> t;
  t.text("ca", &OriginTls::ca, kAnyText,
         "PEM file with the authorities that may have signed the origins' certificates.")
      .default_text("the system's");
  t.text("name", &OriginTls::name, kHostRule,
         "The name that the origins' certificates must have, and that they are asked for (SNI).")
      .default_text("the address of the origin");
  t.text("certificate", &OriginTls::certificate, kAnyText,
         "PEM file with the edge's own certificate and those above it, for origins that ask for "
         "one (mTLS).");
  t.text("key", &OriginTls::key, kAnyText, "PEM file with its private key.");
  return t;
}

void add_policy(Table<EdgeOrigins>& t) {
  auto of = [](auto member) {
    return [member](EdgeOrigins & o) -> auto& { return o.policy.*member; };
  };
  using P = OriginPolicy;
  t.choice(
      "balancing", of(&P::balancing),
      std::vector<std::pair<std::string, Balancing>>{{"round_robin", Balancing::kRoundRobin},
                                                     {"least_requests", Balancing::kLeastRequests},
                                                     {"two_choices", Balancing::kTwoChoices},
                                                     {"hash", Balancing::kHash}},
      "Which of the available origins gets a request; hash goes by its URL.");
  t.integer(
      "failures_to_eject", of(&P::failures_to_eject), {1, 1000},
      "So many failed requests in a row (no connection, 5xx, no answer in time) eject an origin.");
  t.integer("silent_requests", of(&P::silent_requests), {1, 10'000},
            "So many requests waiting for an origin that says nothing for `silence` eject it.");
  t.duration("silence", of(&P::silence), {10ms, 1min},
             "See silent_requests; four times the usual p99 when that is longer.");
  t.duration(
      "ejection", of(&P::ejection), {10ms, 10min},
      "How long the first ejection lasts; each further one is twice as long. A passed active "
      "check ends it.");
  t.duration("ejection_max", of(&P::ejection_max), {10ms, 1h}, "The longest ejection.");
  t.duration("slow_start", of(&P::slow_start), {0s, 10min},
             "An origin that came back gets its full share only after this long.");
  t.integer("requests_max", of(&P::requests_max), {1, 1'000'000},
            "Requests under way at one origin, per thread; above it the origin counts as full.");
  t.percent("retry_budget", of(&P::retry_budget), {0, 1},
            "How many requests may be sent again after a failure, of all.");
  t.percent("hedge_budget", of(&P::hedge_budget), {0, 1},
            "How many requests may be sent to a second origin because the first is slow, of all.");
  t.duration("hedge_min", of(&P::hedge_min), {1ms, 1min},
             "A second attempt starts after the usual p99, but not before this.");
  t.duration("hedge_max", of(&P::hedge_max), {1ms, 1min}, "Nor after this.");
}

Table<EdgeOrigins> origins_table() {
  Table<EdgeOrigins> t;
  t.text("tier", &EdgeOrigins::tier, kNameRule,
         "The instances of this tier on every workload site; those of the active site come first.");
  t.texts("servers", &EdgeOrigins::servers, kAnyText,
          "Other servers: 10.0.0.1:8080, [::1]:8080 or unix:/path, with a share if need be: "
          "10.0.0.1:8080 "
          "weight=3. Give this or tier.");
  t.boolean(
      "shield", &EdgeOrigins::shield,
      "The other site's instances are asked through that site's edge, so that one cache answers "
      "for both (an origin shield); without that edge, directly. Needs tier.");
  t.section("check", &EdgeOrigins::check, check_table(), "Active checks of each origin.");
  t.text("sticky_cookie", &EdgeOrigins::sticky_cookie, kNameRule,
         "A cookie with this name keeps a client at its origin while that is available.");
  t.boolean(
      "proxy_protocol", &EdgeOrigins::proxy_protocol,
      "Tells the origins who the client is by a PROXY protocol v2 header; connections are then not "
      "used again.");
  t.choice("protocol", &EdgeOrigins::protocol,
           std::vector<std::pair<std::string, OriginProtocol>>{{"http1", OriginProtocol::kHttp1},
                                                               {"http2", OriginProtocol::kHttp2}},
           "What the origins speak. http2: many requests on one connection, as gRPC needs it; with "
           "tls by ALPN, else by prior knowledge.");
  t.section(
      "tls", [](EdgeOrigins & o) -> auto& { return o.tls.emplace(); }, origin_tls_table(),
      "With this section ({} is enough) the origins are asked over TLS, and always verified. "
      "SIGHUP "
      "reads the files again. Another site's edge is asked without.");
  add_policy(t);
  return t;
}

Table<EdgeRoute> signed_table() {
  Table<EdgeSigningKey> key;
  key.text("id", &EdgeSigningKey::id, kNameRule, "KeyName in the URLs.").required();
  key.secret("secret", &EdgeSigningKey::secret, "At least 16 bytes.").required();
  Table<EdgeRoute> t;
  add_list(t, "keys", &EdgeRoute::signing_keys, key,
           "Any of them may have signed; `leeward edge sign` takes the first. To change keys, add "
           "the new one, sign with it, and remove the old one when its URLs have expired.");
  t.required();
  return t;
}

Table<EdgeRoute> route_table() {
  Table<EdgeRoute> t;
  t.text(
      "host", &EdgeRoute::host, kRecordRule,
      "Host name, or *.NAME for all below it. Without it: every host that no other route names.");
  t.text("path", &EdgeRoute::path, kPathRule, "Beginning of the path; the longest one wins.");
  t.text("origins", &EdgeRoute::origins, kNameRule,
         "Where the requests go: a name of edge.origins.")
      .required();
  t.choice(
      "writer", &EdgeRoute::writer,
      std::vector<std::pair<std::string, WriterNeed>>{
          {"none", WriterNeed::kNone}, {"unsafe", WriterNeed::kUnsafe}, {"all", WriterNeed::kAll}},
      "Which requests wait while the writer moves: none, unsafe (all but GET, HEAD and OPTIONS) or "
      "all.");
  t.boolean("hedge", &EdgeRoute::hedge,
            "A GET or HEAD that waits longer than usual is sent to a second origin too.");
  t.boolean("upgrade", &EdgeRoute::upgrade, "WebSocket and other upgrades may pass.");
  t.text("cache", &EdgeRoute::cache, kNameRule,
         "Responses are kept by this policy of edge.cache_policies. Without it: not kept.");
  t.section(
      "signed", [](EdgeRoute & r) -> auto& { return r; }, signed_table(),
      "Only requests whose URL or cookie carries a good signature are answered; others get 403.");
  return t;
}

Table<EdgeTimeouts> timeouts_table() {
  Table<EdgeTimeouts> t;
  using T = EdgeTimeouts;
  constexpr Bounds<Duration> kAny{10ms, 24h};
  t.duration("header", &T::header, kAny, "From a request's first byte to the end of its head.");
  t.duration("body", &T::body, kAny, "Between two parts of a request's body.");
  t.duration("idle", &T::idle, kAny, "A client's connection between requests.");
  t.duration("write", &T::write, kAny, "A client that reads nothing.");
  t.duration("connect", &T::connect, kAny,
             "To connect to an origin, and once more for its TLS handshake.");
  t.duration("first_byte", &T::first_byte, kAny,
             "From the request sent to the head of the response.");
  t.duration("origin_idle", &T::origin_idle, kAny, "Between two parts of a response.");
  t.duration("pool", &T::pool, kAny, "An origin's connection between requests.");
  t.duration("tunnel", &T::tunnel, kAny, "An upgraded connection without a byte either way.");
  t.duration("drain", &T::drain, {0s, 1h}, "When the edge ends: for the requests under way.");
  return t;
}

Table<EdgeLimits> limits_table() {
  Table<EdgeLimits> t;
  using L = EdgeLimits;
  t.integer("target_bytes_max", &L::target_bytes_max, {64, kMiB}, "Path and query; above: 414.");
  t.integer("head_bytes_max", &L::head_bytes_max, {1024, kMiB},
            "Request line and fields; above: 431.");
  t.integer("fields_max", &L::fields_max, {8, 128}, "Header fields; above: 431.");
  t.integer("request_body_bytes_max", &L::request_body_bytes_max, {0, std::int64_t{1} << 40},
            "A request's body; above: 413.");
  t.integer("buffer_bytes", &L::buffer_bytes, {4096, 64 * kMiB},
            "Held each way for one request; above it the faster side waits.");
  t.integer("replay_bytes", &L::replay_bytes, {0, 64 * kMiB},
            "Of a request's body, kept so that it can be sent to another origin.");
  t.integer("connections_max", &L::connections_max, {16, 1'000'000},
            "Clients of one thread; above: closed unanswered.");
  t.integer("pool_per_origin", &L::pool_per_origin, {0, 100'000},
            "Idle connections kept, per thread.");
  t.integer("attempts_max", &L::attempts_max, {1, 10}, "Origins that one request is sent to.");
  return t;
}

Table<EdgeParking> parking_table() {
  Table<EdgeParking> t;
  t.duration("time_max", &EdgeParking::time_max, {0s, 5min}, "Then 503 with Retry-After.");
  t.integer("requests_max", &EdgeParking::requests_max, {0, 1'000'000},
            "Per thread; above: 503 at once.");
  t.integer("bytes_max", &EdgeParking::bytes_max, {0, 1024 * kMiB},
            "Heads and bodies of the waiting requests, per thread; above: 503 at once.");
  return t;
}

}  // namespace

Table<EdgeSpec> edge_table() {
  Table<EdgeSpec> t;
  add_list(t, "listeners", &EdgeSpec::listeners, listener_table(), "Where clients connect.");
  t.required();
  add_list(t, "certificates", &EdgeSpec::certificates, certificate_table(),
           "For listeners with tls; chosen by the name that the client asks for, else the first.");
  add_named(t, "origins", &EdgeSpec::origins, origins_table(), "a group",
            "Groups of servers that can stand in for each other.")
      .required();
  add_list(t, "routes", &EdgeSpec::routes, route_table(),
           "Which requests go where. A request that none matches gets 404.");
  t.required();
  t.section("cache", &EdgeSpec::cache, edge_cache_table(), "How much is kept.");
  add_named(t, "cache_policies", &EdgeSpec::cache_policies, edge_cache_policy_table(), "a policy",
            "What may be kept, for how long, and under which key (RFC 9111).");
  t.section("timeouts", &EdgeSpec::timeouts, timeouts_table(), "How long each thing may take.");
  t.section("limits", &EdgeSpec::limits, limits_table(), "How much of each there may be.");
  t.section("parking", &EdgeSpec::parking, parking_table(),
            "Requests that wait while the writer moves.");
  t.section("firewall", &EdgeSpec::firewall, edge_firewall_table(),
            "Who may come in, how often, and with what.");
  t.port("admin_port", &EdgeSpec::admin_port,
         "Port on each site's address for metrics, `leeward edge top` and `leeward edge explain`.");
  t.integer("threads", &EdgeSpec::threads, {0, 256}, "Loops; 0: one a core.");
  t.choice(
      "access_log", &EdgeSpec::access_log,
      std::vector<std::pair<std::string, AccessLogFormat>>{{"none", AccessLogFormat::kNone},
                                                           {"combined", AccessLogFormat::kCombined},
                                                           {"json", AccessLogFormat::kJson}},
      "Format of access.log in the role's state directory; SIGHUP opens it anew.");
  t.boolean("server_timing", &EdgeSpec::server_timing,
            "Responses tell how long the origin took (Server-Timing).");
  return t;
}

}  // namespace leeward::config
