// An HTTP/2 connection to an origin (RFC 9113): nghttp2 frames it, each of its streams is one
// request. Connections of a group that are open take what there is room for; when all are full, one
// more is opened.
//
// A request that the origin has not begun with (its stream is above the last one of a GOAWAY, or
// was refused, §8.7) is told as such and goes elsewhere, whatever it is. After a GOAWAY, and when a
// stream got no answer in time, a connection takes no new streams and closes after its last one.
//
// Bounds: kStreamsMax streams, or fewer where the origin says so; a head and trailers as large as
// limits.head_bytes_max; kWindow of a response's body that its user does not take yet. What one
// slow user does not take holds up nobody else: the connection's window is given back at once.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "edge/internal/loop.h"
#include "edge/internal/origin_socket.h"
#include "edge/internal/origin_stream.h"
#include "edge/internal/send_queue.h"
#include "edge/internal/timer_wheel.h"

namespace leeward::edge {

class OriginStreamH2;

class OriginH2 final : public Target, private Timer::Owner {
 public:
  static constexpr std::size_t kStreamsMax = 100;
  static constexpr std::int32_t kWindow = 256 << 10;          // of a stream
  static constexpr std::int32_t kConnectionWindow = 4 << 20;  // of all streams together

  explicit OriginH2(Loop& loop);
  ~OriginH2() override;

  // `exclusive`: for one stream.
  void connect(std::shared_ptr<GroupState> group, std::size_t origin, std::string preamble,
               bool exclusive);
  bool has_room() const;
  OriginStream& open(OriginUser& user, std::size_t slot);
  void retire();  // takes no new streams, and closes after the last one

  // Target
  void on_events(std::uint32_t events) override;
  void on_deferred() override;

  // For its streams:
  Loop& loop() { return loop_; }
  nghttp2_session* session() { return session_.get(); }
  bool secure() const { return socket_.io().ssl() != nullptr; }
  void stir() { loop_.defer(*this); }  // there may be something to send
  void settle_later(OriginStreamH2& stream);
  void prove() { proven_ = true; }
  bool proven() const { return proven_; }  // a response came

 private:
  struct SessionDeleter {
    void operator()(nghttp2_session* s) const { nghttp2_session_del(s); }
  };
  struct Callbacks;  // nghttp2's, as members

  void on_timer(Timer& timer) override;
  void establish();
  void receive(std::string_view bytes);
  void read_more();
  void send_pending();
  void close_if_over();
  void arm();
  void refuse_what_is_too_much();
  std::size_t streams_max() const;
  void die(OriginFault why);

  Loop& loop_;
  OriginSocket socket_;
  Transport& io_ = socket_.io();
  Timer timer_;
  std::unordered_map<OriginStreamH2*, std::unique_ptr<OriginStreamH2>> streams_;
  std::vector<OriginStreamH2*> unsettled_;
  std::unique_ptr<nghttp2_session, SessionDeleter> session_;
  SendQueue out_;  // serialized frames
  bool readable_ = false, writable_ = false;
  bool open_ = false;  // the socket can be used
  bool broken_ = false, dead_ = false;
  bool bad_reply_ = false;  // what came is not HTTP/2
  bool ready_ = false;      // its SETTINGS came
  bool retired_ = false;
  bool proven_ = false;
  bool going_away_ = false;  // the origin said so
};

}  // namespace leeward::edge
