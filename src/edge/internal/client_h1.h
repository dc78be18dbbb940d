// A client's HTTP/1.1 connection: reads requests one after the other, hands each to an Exchange,
// and writes what the exchange sends. Pipelined requests wait in the socket and in `in_`, at most
// one head's worth.
#pragma once

#include <string>

#include "edge/http1.h"
#include "edge/internal/client.h"
#include "edge/internal/downstream.h"
#include "edge/internal/loop.h"
#include "edge/internal/transport.h"

namespace leeward::edge {

class TlsServer;

class ClientH1 final : public Client, public Downstream, private Timer::Owner {
 public:
  explicit ClientH1(Loop& loop) : loop_(loop), timer_(*this) {}

  // Takes an accepted connection; the listener outlives it. `tls`: null without.
  void open(UniqueFd fd, const ListenerSpec& listener, const ClientAddress& address,
            std::shared_ptr<const TlsServer> tls);
  void begin_drain() override;
  const ClientAddress& address() const { return address_; }
  bool secure() const { return io_.ssl() != nullptr; }
  bool trusted() const { return listener_->trusted; }

  // Target
  void on_events(std::uint32_t events) override;
  void on_deferred() override;
  void on_turn() override;

  // Downstream
  void send_interim(int status, std::string_view lines) override;
  void send_head(const ReplyHead& head) override;
  void send_body(std::string_view bytes) override;
  std::size_t send_piece(const Body::Piece& piece, std::size_t size_max) override;
  void send_end(std::string_view trailer_lines) override;
  void abort() override;
  bool wants_more() const override;
  void resume_body() override { loop_.defer(*this); }
  void exchange_done() override;
  void become_tunnel(std::span<const std::string_view> lines) override;
  std::string_view ja4() const override;
  std::string_view protocol() const override { return minor_version_ == 0 ? "1.0" : "1.1"; }

 private:
  enum class Phase : std::uint8_t {
    kProxyHeader,
    kHead,     // of the next request, or idle
    kBody,     // the exchange runs, more of its body is to come
    kWaiting,  // the exchange runs, its body is complete
    kTunnel,
    kClosing,  // last words are sent; what still comes is thrown away
    kDead,
  };

  void on_timer(Timer& timer) override;
  void read_more();
  bool hand_over_to_h2(std::string_view bytes);
  bool wants_read() const;
  // Takes what it can of `bytes`, returns how much.
  std::size_t advance(std::string_view bytes);
  std::size_t advance_head(std::string_view bytes);
  std::size_t advance_body(std::string_view bytes);
  void refuse(int status, const char* why);
  void after_exchange();
  void flush();
  bool write_queue();
  bool note_write(const Transport::Moved& moved);
  void close_softly();
  void die();
  void arm(Duration d) { loop_.wheel().arm(timer_, loop_.now() + d); }
  void set_phase(Phase phase);
  void need_out();

  Loop& loop_;
  Transport io_;
  Timer timer_;
  const ListenerSpec* listener_ = nullptr;
  ClientAddress address_;
  Phase phase_ = Phase::kDead;
  Exchange* exchange_ = nullptr;
  HeadScan scan_;
  std::string in_;   // received and not taken yet
  std::string out_;  // to be sent, from out_sent_ on
  std::size_t out_sent_ = 0;
  std::uint64_t body_left_ = 0;  // of the request, with a length
  ChunkedDecoder chunked_;
  Framing framing_ = Framing::kNone;  // of the request
  std::uint8_t minor_version_ = 1;
  bool readable_ = false;
  bool writable_ = false;
  bool eof_ = false;
  bool broken_ = false;
  bool keep_alive_ = true;
  bool reply_chunked_ = false;
  bool reply_begun_ = false;
  bool first_ = true;          // nothing was taken from the client yet
  bool close_after_ = false;   // the response ends with the connection
  bool cut_off_ = false;       // such a response has no end: the client must not take it for whole
  bool stalled_ = false;       // out_ could not be written at once
  bool turn_taken_ = false;    // the loop's next round is asked for
  std::size_t read_left_ = 0;  // octets that may still be read in this one
  std::size_t discarded_ = 0;
};

}  // namespace leeward::edge
