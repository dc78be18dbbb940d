// One stream of an HTTP/2 connection: the client's side of one exchange. Owned by its ClientH2.
#pragma once

#include <nghttp2/nghttp2.h>

#include <string>
#include <string_view>

#include "edge/internal/client_h2.h"
#include "edge/internal/downstream.h"
#include "edge/internal/send_queue.h"

namespace leeward::edge {

class StreamH2 final : public Downstream, private Timer::Owner {
 public:
  StreamH2(ClientH2& client, std::int32_t id);
  ~StreamH2();  // the exchange learns that its client is gone

  std::int32_t id() const { return id_; }
  bool has_queued() const { return !out_.empty(); }
  bool waits() const { return waits_; }  // for begin(): the head is there
  bool at_fault() const { return at_fault_; }
  void blame() { at_fault_ = true; }  // a frame on this stream was wrong

  // ---- from the connection, inside of nghttp2's callbacks
  // False: several times limits.head_bytes_max came; the connection is not to go on.
  bool add_field(std::string_view name, std::string_view value);
  void on_head_end(bool end_stream);
  void on_body(std::string_view bytes);
  void on_body_end();
  // What the client is to get, at most `size` bytes; nghttp2's data source.
  ssize_t read_body(std::uint8_t* to, std::size_t size, std::uint32_t* flags);

  // ---- from the connection, outside of them
  void begin();
  // What calls of the exchange had to wait with. True: the stream is of no more use to anybody
  // here.
  void settle();

  // Downstream
  void send_interim(int status, std::string_view lines) override;
  void send_head(const ReplyHead& head) override;
  void send_body(std::string_view bytes) override;
  std::size_t send_piece(const Body::Piece& piece, std::size_t size_max) override;
  void send_end(std::string_view trailer_lines) override;
  void abort() override;
  bool wants_more() const override;
  void resume_body() override;
  void exchange_done() override;
  void become_tunnel(std::span<const std::string_view> lines) override;
  std::string_view ja4() const override;
  std::string_view protocol() const override { return "2.0"; }

 private:
  void on_timer(Timer& timer) override;
  void refuse(int status, std::string_view why);
  void reset(std::uint32_t error);
  void take_window();
  void provide();
  std::size_t queued() const { return out_.size(); }
  Loop& loop() { return client_.loop(); }

  ClientH2& client_;
  const std::int32_t id_;
  Timer timer_;
  Exchange* exchange_ = nullptr;

  // The request, while its head arrives.
  std::string method_, target_, authority_, fields_, cookie_;
  std::size_t head_bytes_ = 0;
  bool has_length_ = false;
  bool begun_ = false;  // what still comes of fields is trailers
  bool waits_ = false;
  bool at_fault_ = false;
  std::string head_;  // as HTTP/1.1; the exchange's views point into it until it adopts them
  std::string trailers_;
  bool body_open_ = false;      // more of the request's body is to come
  std::size_t unconsumed_ = 0;  // received, and not given back to the client's window

  // The response.
  SendQueue out_;
  std::string reply_trailers_;
  bool head_sent_ = false;
  bool ended_ = false;
  bool finished_ = false;   // nghttp2 has all of the response
  bool too_large_ = false;  // the request's head
  bool deferred_ = false;   // nghttp2 waits for more body
  bool aborted_ = false;
  bool drained_ = false;  // the exchange is to be told that there is room
};

}  // namespace leeward::edge
