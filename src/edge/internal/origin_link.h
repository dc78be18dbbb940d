// An HTTP/1.1 connection to an origin: sends one request at a time, reads one response, and goes
// back to its group's pool when both were whole. Anything that the origin says beyond its response
// makes the connection unusable: it can never be taken for the answer to the next request.
#pragma once

#include <string>

#include "edge/http1.h"
#include "edge/internal/loop.h"
#include "edge/internal/origin_socket.h"
#include "edge/internal/origin_stream.h"

namespace leeward::edge {

class OriginLink final : public Target, public OriginStream, private Timer::Owner {
 public:
  explicit OriginLink(Loop& loop) : loop_(loop), timer_(*this) {}

  // A new connection; a failure comes as on_origin_fault(). `exclusive`: for one request.
  void connect(std::shared_ptr<GroupState> group, std::size_t origin, std::string preamble,
               bool exclusive);
  // Begins a request on it, new or out of the pool.
  void begin(OriginUser& user, std::size_t slot);
  void close_idle();

  // OriginStream
  void send_head(const OriginRequest& request) override;
  void send_body(std::string_view bytes) override;
  void send_end(std::string_view trailer_lines) override;
  std::size_t queued() const override { return out_.size() - out_sent_; }
  void resume() override { loop_.defer(*this); }
  void abandon() override;

  // Target
  void on_events(std::uint32_t events) override;
  void on_deferred() override;

 private:
  enum class Phase : std::uint8_t { kConnecting, kIdle, kHead, kBody, kTunnel, kDead };

  void on_timer(Timer& timer) override;
  void establish();
  void flush();
  void read_more();
  // Takes what it can of `bytes`, returns how much.
  std::size_t advance(std::string_view bytes);
  std::size_t advance_head(std::string_view bytes);
  std::size_t advance_body(std::string_view bytes);
  void on_eof(bool error);
  void fault(OriginFault what);
  void finished(std::string_view trailers);
  void die();
  void arm(Duration d) { loop_.wheel().arm(timer_, loop_.now() + d); }
  const EdgeTimeouts& timeouts() const { return loop_.snapshot().config.timeouts; }

  Loop& loop_;
  OriginSocket socket_;
  Transport& io_ = socket_.io();
  Timer timer_;
  OriginUser* user_ = nullptr;
  std::size_t slot_ = 0;
  Phase phase_ = Phase::kDead;
  std::string in_, out_;
  std::size_t out_sent_ = 0;
  HeadScan scan_;
  ChunkedDecoder chunked_;
  Framing framing_ = Framing::kNone;
  std::uint64_t left_ = 0;
  bool to_head_ = false;
  bool chunks_ = false;  // the request's body is sent in chunks
  bool exclusive_ = false;
  bool readable_ = false, writable_ = false;
  bool reused_ = false;
  bool request_complete_ = false;
  bool anything_sent_ = false;  // of this request, into the socket
  bool anything_heard_ = false;
  bool keep_alive_ = true;
  bool shut_when_sent_ = false;
};

}  // namespace leeward::edge
