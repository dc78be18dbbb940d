// Which header fields go on from one side to the other (RFC 9110 §7.6).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "edge/exchange.h"

namespace leeward::edge {

// Set on what one edge sends to another; such a request is not sent to a third. Its value is
// "CLIENT;UNIX;MAC": the client's address, when it was sent, and the MAC of both by a key that only
// the edges of the platform have. Whatever stands between a client and an edge may let a field of
// the client's pass, so one that was not made with the key means nothing. The MAC is not of the
// rest of the request: who can read the way between two edges can do worse than send one again.
inline constexpr std::string_view kEdgeHopField = "Leeward-Edge-Hop";
// How old it may be, and by how much the clocks of two sites may differ.
inline constexpr Duration kEdgeHopTime = 5min;
// How often one edge takes the same request. More than once happens where an application asks
// through the edge too; edges that do not know each other (another key, another time) would go on
// for ever.
inline constexpr std::size_t kEdgePassesMax = 8;

// The fields that Connection names. At most 16 are remembered; those beyond, and fields that must
// never be dropped at a client's wish (Host, what frames and authenticates a message), count as not
// named.
class ConnectionOptions {
 public:
  explicit ConnectionOptions(Fields fields);
  bool names(std::string_view field) const;
  bool empty() const { return count_ == 0; }

 private:
  std::array<std::string_view, 16> names_;
  std::size_t count_ = 0;
};

// Whether Connection takes one of the fields away that the origin would get otherwise.
bool hides_fields(Fields fields);

// Fields of a request that the edge writes itself, or that would lie about the client.
bool is_proxy_owned(std::string_view name);
// Fields by which a proxy tells what it was asked (X-Forwarded-Host, X-Original-URL …). Clients are
// not believed: applications make links, redirects and decisions of them, and no cache has them in
// its key.
bool is_word_of_proxy(std::string_view name);
// A field by which some applications take a GET for another method; no cache has it in its key.
bool overrides_method(std::string_view name);
bool is_conditional(std::string_view name);  // RFC 9110 §13.1 and Range
// "Name: value\r\n" of each field of a response that is meant for the client; Content-Length is
// left out.
void append_end_to_end(std::string& out, Fields fields);
void append_address(std::string& out, const ClientAddress& address);
// The client as the proxy in front tells it, which must be trusted: the last element of the last
// X-Forwarded-For, which is what that proxy itself has seen. Without such a field, or if it is no
// address, the client is `peer`.
ClientAddress forwarded_client(Fields fields, const ClientAddress& peer);
// The value of kEdgeHopField.
std::string edge_hop(const ClientAddress& client, const std::string& key, WallTime now);
// The client, by a value that an edge with that key has made about `now`; nothing by any other, and
// with an empty key by none.
std::optional<ClientAddress> hop_client(std::string_view hop, const std::string& key, WallTime now);
// How often the edge of that site has had the request, as its Via tells.
std::size_t times_passed(std::string_view via, std::string_view site);
// Of the trailer lines of a request those that may go on. They come when the request was judged by
// its head: what a head would have lost, and what says anew what is asked for, stays here.
void append_request_trailers(std::string& out, std::string_view lines);
// The value of one cookie in a Cookie field.
std::string_view cookie_value(std::string_view cookies, std::string_view name);
// A Cookie line without that cookie; nothing when no other is left.
void append_cookies_without(std::string& out, std::string_view cookies, std::string_view name);

}  // namespace leeward::edge
