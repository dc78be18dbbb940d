// An origin's side of one request: an HTTP/1.1 connection for as long as the request takes, or one
// stream of an HTTP/2 connection. The user (an exchange, a check) sends the request through
// OriginStream and is told what comes of it through OriginUser.
//
// What is sent is queued and leaves at the end of the event; nothing that the user calls calls it
// back at once. A stream is gone after on_origin_end() or on_origin_fault(), after abandon(), and
// when the user returned false.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "edge/http1.h"

namespace leeward::edge {

class Loop;
struct GroupState;

// Why a request failed at an origin.
enum class OriginFault : std::uint8_t {
  kConnect,    // no connection, or no TLS: nothing was sent
  kStale,      // a kept connection was closed as we used it: nothing was answered
  kRefused,    // the origin says that it did nothing with the request (RFC 9113 §8.7)
  kFirstByte,  // no answer in time
  kBroken,     // closed or reset before the response was complete
  kBadReply,   // what came is not HTTP
  kIdle,       // the response's body stopped
};

class OriginUser {
 public:
  // `slot` is what the stream was opened with. There is room to send more of the body.
  virtual void on_origin_drained(std::size_t slot) = 0;
  // Interim responses come here too. False: the stream is of no more use, and ends.
  virtual bool on_origin_head(std::size_t slot, const ResponseHead& head) = 0;
  virtual bool on_origin_body(std::size_t slot, std::string_view bytes) = 0;
  // False: the user has enough for now; it calls OriginStream::resume() later.
  virtual bool origin_may_send(std::size_t slot) const = 0;
  virtual void on_origin_end(std::size_t slot, std::string_view trailer_lines) = 0;
  // `nothing_done`: the origin has done nothing with the request, so that it may be sent again
  // whatever it is.
  virtual void on_origin_fault(std::size_t slot, OriginFault fault, bool nothing_done) = 0;

 protected:
  ~OriginUser() = default;
};

struct OriginRequest {
  std::string_view method;
  std::string_view target;
  std::string_view authority;  // host[:port]
  std::string_view lines;    // "Name: value\r\n" lines without Host, framing and connection fields
  std::string_view upgrade;  // value of Upgrade; empty: none. HTTP/2 has no such thing
  Framing framing = Framing::kNone;  // kNone, kLength or kChunked (of unknown length)
  std::optional<std::uint64_t> content_length;
  bool to_head = false;  // the response has no body, whatever its fields say
};

class OriginStream {
 public:
  virtual void send_head(const OriginRequest& request) = 0;  // first, once
  virtual void send_body(std::string_view bytes) = 0;
  // The request is complete; in a tunnel: the client has ended its side.
  virtual void send_end(std::string_view trailer_lines) = 0;
  virtual std::size_t queued() const = 0;
  virtual void resume() = 0;  // the user takes body again
  virtual void abandon() = 0;

 protected:
  ~OriginStream() = default;
};

// A stream at an origin of the group. `preamble` is sent in front of everything else, and such a
// connection is for this stream alone; so it is with `fresh`. Otherwise a connection that is open
// already may be used.
OriginStream& open_origin_stream(Loop& loop, const std::shared_ptr<GroupState>& group,
                                 std::size_t origin, OriginUser& user, std::size_t slot,
                                 std::string preamble, bool fresh = false);

}  // namespace leeward::edge
