// An HTTP/1.1 connection to an origin: connects, sends one request at a time, reads one response,
// and goes back to its group's pool when both were whole. Anything that the origin says beyond its
// response makes the connection unusable: it can never be taken for the answer to the next request.
#pragma once

#include <string>

#include "edge/http1.h"
#include "edge/internal/exchange_flow.h"
#include "edge/internal/loop.h"
#include "edge/internal/transport.h"

namespace leeward::edge {

class OriginLink final : public Target, private Timer::Owner {
 public:
  explicit OriginLink(Loop& loop) : loop_(loop), timer_(*this) {}

  // A new connection; a failure comes as on_origin_fault().
  void connect(std::shared_ptr<GroupState> group, std::size_t origin);
  // Begins a request on it, new or out of the pool.
  void begin(Exchange& exchange, std::size_t slot, bool to_head);
  void write(std::string_view bytes);  // queued; leaves at the end of the event
  std::string& out() { return out_; }  // to compose into, before wrote()
  void wrote() { loop_.defer(*this); }
  std::size_t queued() const { return out_.size() - out_sent_; }
  void request_sent() { request_complete_ = true; }  // what is queued is all of it
  void half_close();                                 // tunnel: the client ended its side
  void resume() { loop_.defer(*this); }              // the exchange takes body again
  // The exchange is not interested any more; closes.
  void abandon();
  bool usable() const { return phase_ == Phase::kIdle; }
  void close_idle();

  void on_events(std::uint32_t events) override;
  void on_deferred() override;

 private:
  enum class Phase : std::uint8_t { kConnecting, kIdle, kHead, kBody, kTunnel, kDead };

  void on_timer(Timer& timer) override;
  void connected();
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
  Transport io_;
  Timer timer_;
  std::shared_ptr<GroupState> group_;
  std::size_t origin_ = 0;
  Exchange* exchange_ = nullptr;
  std::size_t slot_ = 0;
  Phase phase_ = Phase::kDead;
  std::string in_, out_;
  std::size_t out_sent_ = 0;
  HeadScan scan_;
  ChunkedDecoder chunked_;
  Framing framing_ = Framing::kNone;
  std::uint64_t left_ = 0;
  bool to_head_ = false;
  bool readable_ = false, writable_ = false;
  bool reused_ = false;
  bool request_complete_ = false;
  bool anything_sent_ = false;  // of this request, into the socket
  bool anything_heard_ = false;
  bool keep_alive_ = true;
  bool shut_when_sent_ = false;
};

}  // namespace leeward::edge
