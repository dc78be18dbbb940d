// A client's HTTP/2 connection (RFC 9113): nghttp2 frames it, each of its streams is the client's
// side of one Exchange.
//
// A request's fields are written down as an HTTP/1.1 head and read by the strict parser of
// edge/http1.h, so that nothing that HTTP/2 can carry and HTTP/1.1 cannot (line breaks in values,
// odd names, a second framing) reaches an origin in disguise.
//
// Bounds: kStreamsMax streams at once; a head as large as limits.head_bytes_max; kWindow of a
// request's body that its exchange does not take yet, and limits.buffer_bytes of its response. A
// client that makes work without asking for anything (RST_STREAM after each request as in
// CVE-2023-44487, PING, SETTINGS, empty frames) has a budget that refills with time; at its end the
// connection is closed with ENHANCE_YOUR_CALM. HEADERS that go on and on in CONTINUATION frames end
// at the same bound as any other head.
#pragma once

#include <nghttp2/nghttp2.h>

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "edge/internal/client.h"
#include "edge/internal/downstream.h"
#include "edge/internal/send_queue.h"
#include "edge/internal/timer_wheel.h"

namespace leeward::edge {

class Exchange;
class StreamH2;

class ClientH2 final : public Client, private Timer::Owner {
 public:
  static constexpr std::uint32_t kStreamsMax = 128;
  static constexpr std::int32_t kWindow = 256 << 10;          // of a stream
  static constexpr std::int32_t kConnectionWindow = 4 << 20;  // of all streams together
  // What a connection may do for nothing; who has not been answered yet has less of it.
  static constexpr double kIdleFramesMax = 400, kIdleFramesAtFirst = 150, kIdleFramesPerSecond = 50;

  explicit ClientH2(Loop& loop);
  ~ClientH2() override;

  // Takes over a connection whose first bytes, all that was read so far, are the client's preface
  // or its beginning. Many of them wait for a turn: connections may be opened to flood us.
  void open(Transport&& io, const ListenerSpec& listener, const ClientAddress& address,
            std::string_view first_bytes);
  void begin_drain() override;

  // Target
  void on_events(std::uint32_t events) override;
  void on_deferred() override;
  void on_turn() override;

  // For its streams:
  Loop& loop() { return loop_; }
  nghttp2_session* session() { return session_.get(); }
  const ClientAddress& address() const { return address_; }
  bool secure() const { return io_.ssl() != nullptr; }
  std::string_view ja4() const;  // empty without TLS
  bool trusted() const { return listener_->trusted; }
  void stir() { loop_.defer(*this); }  // there may be something to send

 private:
  struct SessionDeleter {
    void operator()(nghttp2_session* s) const { nghttp2_session_del(s); }
  };
  struct Callbacks;  // nghttp2's, as members

  void on_timer(Timer& timer) override;
  void begin_turn();
  void receive(std::string_view bytes);
  void read_more();
  void settle_streams();
  void send_pending();
  void arm();
  void spend_on_idle_frame(double cost = 1);
  StreamH2* find(std::int32_t id);
  std::uint32_t closed_error(const nghttp2_frame_hd& frame);
  void remember_reset(std::int32_t stream);
  void close_softly();
  void end(std::uint32_t error);  // GOAWAY, and close once it is sent
  void die();

  Loop& loop_;
  Transport io_;
  Timer timer_;
  const ListenerSpec* listener_ = nullptr;
  ClientAddress address_;
  std::unique_ptr<nghttp2_session, SessionDeleter> session_;
  std::unordered_map<std::int32_t, std::unique_ptr<StreamH2>> streams_;
  std::string early_;  // of the first bytes, those that wait for a turn
  SendQueue out_;      // serialized frames
  bool readable_ = false, writable_ = false;
  bool eof_ = false, broken_ = false, dead_ = false;
  bool closing_ = false;  // the last words are sent; what still comes is thrown away
  bool draining_ = false;
  bool told_ = false;            // by a GOAWAY that ends the connection
  bool ready_ = false;           // the client's SETTINGS came
  bool in_head_ = false;         // a block of fields began and has not ended
  BootTime head_since_;          // when that was, or the connection was opened
  std::size_t head_octets_ = 0;  // of it so far, within kPieceBytes
  std::size_t read_left_ = 0;    // octets and requests that this connection may still
  std::size_t starts_left_ = 0;  // take in the loop's round, so that others have theirs
  bool turn_taken_ = false;      // and it has asked for the next round
  std::size_t discarded_ = 0;    // after our last words
  std::int32_t highest_ = 0;     // stream that the client has begun
  // Streams that we reset lately: what was under way on them is ignored (RFC 9113 §5.1). On every
  // other stream that has ended, frames are an error.
  static constexpr std::size_t kResetsKept = 256;
  std::deque<std::int32_t> reset_by_us_;
  // Numbers that the client has left out, from the first up to the second: using one later is an
  // error of another kind than using one again. Of those before, only the latter is said.
  static constexpr std::size_t kPassedOverKept = 64;
  std::deque<std::pair<std::int32_t, std::int32_t>> passed_over_;
  double idle_frames_left_ = kIdleFramesAtFirst;
  BootTime idle_frames_at_;
  BootTime progress_;  // the last byte that went out, or the last time nothing waited to
};

}  // namespace leeward::edge
