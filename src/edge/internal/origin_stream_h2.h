// One stream of an HTTP/2 connection to an origin. Owned by its OriginH2; lives until nghttp2 has
// closed it, also when its user is gone.
#pragma once

#include <nghttp2/nghttp2.h>

#include <string>
#include <string_view>

#include "edge/internal/origin_h2.h"
#include "edge/internal/origin_stream.h"
#include "edge/internal/send_queue.h"

namespace leeward::edge {

class OriginStreamH2 final : public OriginStream, private Timer::Owner {
 public:
  OriginStreamH2(OriginH2& link, OriginUser& user, std::size_t slot);
  ~OriginStreamH2() = default;

  // ---- from the connection, inside of nghttp2's callbacks
  // False: several times limits.head_bytes_max came; the connection is not to go on.
  bool add_field(std::string_view name, std::string_view value);
  void on_fields_end(bool end_stream);  // of a head or of trailers
  void on_body(std::string_view bytes);
  void on_end();
  void on_sent() { sent_ = true; }
  void on_close(std::uint32_t error, bool going_away);
  // The request's body, at most `size` bytes; nghttp2's data source.
  ssize_t read_body(std::uint8_t* to, std::size_t size, std::uint32_t* flags);

  // ---- from the connection, outside of them
  // Tells the user what had to wait. False: nghttp2 does not know the stream; it is over.
  bool settle();
  // The stream ends with the connection.
  void fail(OriginFault why);
  bool sent() const { return sent_; }
  void refuse();  // unsent, and the origin would not take it

  // OriginStream
  void send_head(const OriginRequest& request) override;
  void send_body(std::string_view bytes) override;
  void send_end(std::string_view trailer_lines) override;
  std::size_t queued() const override { return out_.size(); }
  void resume() override { take_window(); }
  void abandon() override;

 private:
  void on_timer(Timer& timer) override;
  void on_head(bool end_stream);
  void tell_fault(OriginFault why, bool nothing_done);
  void let_go(std::uint32_t error);  // the user is done with it
  void reset(std::uint32_t error);
  void take_window();
  void provide();
  void arm();
  Loop& loop() { return link_.loop(); }

  OriginH2& link_;
  OriginUser* user_;
  const std::size_t slot_;
  Timer timer_;
  std::int32_t id_ = 0;

  // The request.
  SendQueue out_;
  std::string trailers_;
  bool to_head_ = false;
  bool complete_ = false;  // all of it was given to us
  bool finished_ = false;  // nghttp2 has all of it
  bool sent_ = false;      // nghttp2 has written its head
  bool deferred_ = false;  // nghttp2 waits for more body
  bool drained_ = false;   // the user is to be told that there is room

  // The response.
  std::string status_, fields_, reply_trailers_;
  bool has_length_ = false;
  std::size_t fields_bytes_ = 0;
  bool head_done_ = false;
  bool ended_ = false;  // the origin's side is
  bool too_large_ = false;
  bool reset_ = false;          // by us
  std::size_t unconsumed_ = 0;  // received, and not given back to the origin's window
};

}  // namespace leeward::edge
