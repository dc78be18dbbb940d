// What one request looks like to the parts of the edge that judge it (routes, firewall, cache), and
// how the cache takes part in it. The loops (internal/loop.h) own connections and time; the cache
// owns stored bytes; this header is all that they share. It is the same for HTTP/1.1 and HTTP/2.
//
// Threading: every loop calls the firewall and the cache from its own thread, at the same time as
// the others. The views are valid during the call only, unless it says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/time.h"

namespace leeward {
struct CachePolicy;  // of a route (model/edge_cache.h); the loops only pass it on
}

namespace leeward::edge {

// ---- messages

enum class Method : std::uint8_t {
  kGet,
  kHead,
  kPost,
  kPut,
  kDelete,
  kPatch,
  kOptions,
  kTrace,
  kConnect,
  kOther,
};
Method method_of(std::string_view text);  // case-sensitive (RFC 9110 §9.1)
inline bool is_safe(Method m) {           // RFC 9110 §9.2.1
  return m == Method::kGet || m == Method::kHead || m == Method::kOptions || m == Method::kTrace;
}
inline bool is_idempotent(Method m) {  // RFC 9110 §9.2.2
  return is_safe(m) || m == Method::kPut || m == Method::kDelete;
}

// One field line, in the order received. Names keep their case, compare them with same_name();
// values have no white space around them.
struct Field {
  std::string_view name;
  std::string_view value;
};
using Fields = std::span<const Field>;

bool same_name(std::string_view a, std::string_view b);  // ASCII case-insensitive
// As an origin reads a name that makes variables of fields (CGI, WSGI): '_' is '-'.
bool folds_to(std::string_view name, std::string_view lower_name);
// The value of the first field of that name; null data when there is none.
std::string_view find_field(Fields fields, std::string_view name);

// IPv4 as an IPv4-mapped IPv6 address, in network order.
struct ClientAddress {
  std::uint8_t bytes[16] = {};
  std::uint16_t port = 0;
  bool is_v4() const;
};
std::string to_string(const ClientAddress& a);  // "192.0.2.1", "2001:db8::1"; without the port
// Of such a text; with port 0.
std::optional<ClientAddress> parse_client_address(std::string_view text);
// The network that one subscriber usually has: /24 of IPv4, /64 of IPv6.
ClientAddress subscriber_network(ClientAddress address);

struct RequestView {
  Method method = Method::kGet;
  std::string_view method_text;
  std::string_view scheme;  // "http" or "https", as the client spoke to us, or to whom we trust
  std::string_view host;    // normalized: lower case, no default port, no final dot; never empty
  std::string_view target;  // path and query as received, begins with '/'; "*" for OPTIONS *
  Fields fields;            // hop-by-hop fields (RFC 9110 §7.6.1) are still among them
  bool has_body = false;
  ClientAddress client;  // of the PROXY header when the listener takes one
};

struct ResponseView {
  int status = 0;
  Fields fields;  // hop-by-hop fields are still among them
  std::optional<std::uint64_t> content_length;
  bool has_body = false;  // false for HEAD, 204, 304 and Content-Length: 0
};

// ---- firewall

struct Verdict {
  bool refused = false;
  int status = 403;        // sent to the client when refused
  Duration retry_after{};  // > 0: a Retry-After field, rounded up to seconds
  bool challenge = false;  // not refused, but asked for a pass
  // Of the rule, for log and metrics; lives as long as the firewall. Without `refused` and
  // `challenge`: a rule that only counts.
  std::string_view rule;
};

// Sees each request once its head is complete, before anything else is done with it.
class Firewall {
 public:
  virtual ~Firewall() = default;
  // Must not block and must not allocate per request. `now` never goes back on one thread.
  virtual Verdict judge(const RequestView& request, Now now) = 0;
  // `leeward edge explain`: what judge() would say and why, a line each, for people; counts
  // nothing. Without `client_known` the request's address means nothing.
  virtual std::string explain(const RequestView& request, bool client_known, Now now) const = 0;
};

// ---- cache

// How the cache tells a loop that something it waited for may have happened.
class Wakeup {
 public:
  virtual ~Wakeup() = default;
  // Any thread, also from inside a call into the cache; must not call back. The loop looks again
  // soon. `token` is the one given with the call that had to wait; an outdated one is ignored.
  virtual void wake(std::uint64_t token) = 0;
};
struct Waiter {
  Wakeup* loop = nullptr;  // outlives the cache's use of it
  std::uint64_t token = 0;
};

class Fill;

// The bytes of one response in the cache; complete, or growing while it is filled.
class Body {
 public:
  struct Piece {
    enum class Kind : std::uint8_t {
      kMemory,   // `data`, `size`
      kFile,     // `fd`, `file_offset`, `size`: for sendfile
      kWait,     // nothing there yet; the waiter is woken once there is more
      kFetch,    // nothing there, and nobody fetches it: begin take_fetch(), then read again
      kEnd,      // `offset` is the end
      kAborted,  // the rest will never come: close without ending the message properly
    };
    Kind kind = Kind::kEnd;
    const char* data = nullptr;
    int fd = -1;
    std::uint64_t file_offset = 0;
    std::size_t size = 0;
  };

  virtual ~Body() = default;
  // What lies at `offset`, as much of it as is in one piece. The memory stays valid and unchanged,
  // and the descriptor open, as long as the caller holds the body.
  virtual Piece read(std::uint64_t offset, Waiter waiter) = 0;
  // After kFetch: what is to be fetched, by an exchange of its own. Null otherwise.
  virtual std::unique_ptr<Fill> take_fetch();
};

// A response out of the cache, ready to be sent.
struct CacheAnswer {
  static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

  int status = 200;
  // "Name: value\r\n" lines without hop-by-hop fields and without the blank line. Content-Length is
  // among them when `size` is known (HEAD: that of the GET). Owned by `owner`.
  std::string_view field_lines;
  // Lines that differ from one request to the next: Age, Cache-Status, Content-Range.
  char added[256];
  std::uint16_t added_size = 0;
  std::string_view added_lines() const { return {added, added_size}; }

  std::shared_ptr<void> owner;  // keeps field_lines and body alive
  Body* body = nullptr;         // null: no body
  std::uint64_t offset = 0;     // the part of the body to send
  std::uint64_t size = 0;       // kUnknown: until kEnd, sent chunked
  bool may_fetch = false;       // the body may say kFetch: the request's head is needed to the end
};

// One fetch from an origin into the cache. Used by one loop's thread. Destroying it before finish()
// is the same as abort().
class Fill {
 public:
  enum class Start : std::uint8_t {
    kStore,  // append() the body, then finish(); the client is served `answer`, as every other
             // reader
    kPass,   // not stored: the response goes to the client as it is, with `answer.added_lines()`,
             // and the fill is done
    kServe,  // the response's body is not needed (304, or 5xx with stale-if-error): serve `answer`
    kAgain,  // of no use: drop it and ask once more, with what request_lines() says now
  };
  enum class More : std::uint8_t {
    kGoOn,
    kPause,  // readers are too far behind: read no more from the origin until the waiter is woken
    kStop,   // the fill is of no use to anybody any more: drop the connection to the origin
  };

  virtual ~Fill() = default;
  // Field lines ("Name: value\r\n") that the request to the origin gets: conditions to validate
  // with.
  virtual std::string_view request_lines() const = 0;
  // Whether the client's own conditional and Range fields (RFC 9110 §13, §14) are left out.
  virtual bool replaces_conditions() const = 0;
  // The final response's head came (1xx are not shown).
  virtual Start on_response(const ResponseView& response, Now now, CacheAnswer& answer) = 0;
  virtual More append(std::string_view bytes, Waiter waiter) = 0;
  virtual void finish() = 0;
  // The body broke off after kStore; its readers see kAborted.
  virtual void abort() = 0;
  // No response could be had. True: serve `answer` (stale-if-error); false: the edge's own 502 or
  // 504.
  virtual bool on_error(Now now, CacheAnswer& answer) = 0;
};

struct CacheDecision {
  enum class Kind : std::uint8_t {
    kPass,   // forward; nothing of it is stored
    kServe,  // `answer`; if `fill` is set too, fetch it in the background (stale-while-revalidate)
    kFetch,  // forward, feeding `fill`
    kWait,   // somebody else fetches it: look again when woken; after the route's wait time-out,
             // pass
  };
  Kind kind = Kind::kPass;
  CacheAnswer answer;
  std::unique_ptr<Fill> fill;
  // For Cache-Status (RFC 9211) of a kPass: why, "fwd=bypass", "fwd=method"; static text.
  std::string_view pass_reason;
};

class Cache {
 public:
  virtual ~Cache() = default;
  // Of this cache, in Cache-Status (RFC 9211).
  virtual std::string_view name() const = 0;
  // Called when the head of the request is complete, and again (same request) when woken from
  // kWait. The fetch that `fill` stands for must be begun or the fill destroyed.
  virtual void lookup(const RequestView& request, const CachePolicy& policy, Now now, Waiter waiter,
                      CacheDecision& decision) = 0;
  // A request that a kPass or an unsafe method forwarded was answered: lets a successful unsafe
  // request invalidate what is stored for its target (RFC 9111 §4.4).
  virtual void passed(const RequestView& request, const CachePolicy& policy,
                      const ResponseView& response, Now now) = 0;
  // `leeward edge explain`: what lookup() would decide and why, for people; changes nothing.
  virtual std::string explain(const RequestView& request, const CachePolicy& policy, Now now) = 0;
};

}  // namespace leeward::edge
