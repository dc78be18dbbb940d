// The client's side of one exchange: an HTTP/1.1 connection, or one stream of an HTTP/2 connection.
//
// Nothing here calls back into the exchange at once; what follows from a call (drained, gone) comes
// later as an event of its own. What is sent is queued and leaves at the end of the event.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "edge/exchange.h"

namespace leeward::edge {

struct ReplyHead {
  int status = 200;
  std::string_view reason;                  // empty: the usual one
  std::span<const std::string_view> lines;  // blocks of "Name: value\r\n" lines, without framing
  std::optional<std::uint64_t> length;  // Content-Length to add; none: unknown, or among the lines
  bool body = false;                    // whether a body follows
  bool length_in_lines = false;         // Content-Length is among the lines already
};

class Downstream {
 public:
  virtual void send_interim(int status, std::string_view lines) = 0;
  virtual void send_head(const ReplyHead& head) = 0;
  virtual void send_body(std::string_view bytes) = 0;
  // As much as can go now; returns how much was taken. Only memory and file pieces.
  virtual std::size_t send_piece(const Body::Piece& piece, std::size_t size_max) = 0;
  virtual void send_end(std::string_view trailer_lines) = 0;
  // The response breaks off: the client must see that it is not whole.
  virtual void abort() = 0;
  // False: too much is queued; on_drained() comes when there is room.
  virtual bool wants_more() const = 0;
  // The exchange can take request body again.
  virtual void resume_body() = 0;
  // The exchange is over, whatever is still queued.
  virtual void exchange_done() = 0;
  // After 101: both ways are bytes of another protocol.
  virtual void become_tunnel(std::span<const std::string_view> lines) = 0;
  virtual std::string_view ja4() const = 0;       // ja4.h; empty without TLS
  virtual std::string_view protocol() const = 0;  // "1.0", "1.1", "2.0"; static text

 protected:
  ~Downstream() = default;
};

}  // namespace leeward::edge
