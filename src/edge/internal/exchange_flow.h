// One request from its head to the end of its response: route, firewall, cache, parking, attempts
// at origins (retries, a hedge, failover to the other site), and the way of both bodies. A client's
// connection starts it; when the client leaves while the response is being stored, it goes on
// alone.
//
// exchange_flow.cc holds the way to and from the client, exchange_challenge.cc the question whether
// it works for its answer, exchange_waf.cc the inspection of what the client sends,
// exchange_origin.cc the attempts, exchange_response.cc the inspection of what an origin answers.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "edge/audit.h"
#include "edge/exchange.h"
#include "edge/http1.h"
#include "edge/internal/downstream.h"
#include "edge/internal/loop.h"
#include "edge/internal/origin_stream.h"
#include "edge/waf_pool.h"

namespace leeward::edge {

// A response that waits for its verdict: a copy of its head, and what has come of its body.
struct HeldResponse {
  explicit HeldResponse(const ResponseHead& from);
  HeldResponse(const HeldResponse&) = delete;
  HeldResponse& operator=(const HeldResponse&) = delete;

  ResponseHead head;  // of `texts`
  std::string texts;
  std::string body, trailers;
  bool ended = false;
  std::size_t held_bytes = 0;  // as the pool counts them
  std::shared_ptr<const Waf> waf;
  std::shared_ptr<Inspection> inspection;  // once it is under way
};

class Exchange final : public OriginUser, private Timer::Owner {
 public:
  explicit Exchange(Loop& loop, std::uint32_t slot) : loop_(loop), slot_(slot), timer_(*this) {}

  std::uint64_t token() const { return std::uint64_t{slot_} << 32 | generation_; }
  RequestHead& head() { return head_; }

  // From the client's side. `head_bytes`: what head() points into, valid during the call only.
  void start(Downstream& down, std::string_view head_bytes, const ClientAddress& client,
             bool secure, bool trusted);
  bool wants_body() const;
  void on_body(std::string_view bytes);
  void on_body_end(std::string_view trailers);
  void on_bad_body(const char* why);
  void on_body_timeout();
  void on_drained();
  void on_client_gone();

  // OriginUser; `slot` names the attempt.
  void on_origin_drained(std::size_t slot) override;
  bool on_origin_head(std::size_t slot, const ResponseHead& head) override;
  bool on_origin_body(std::size_t slot, std::string_view bytes) override;
  bool origin_may_send(std::size_t slot) const override;
  void on_origin_end(std::size_t slot, std::string_view trailers) override;
  void on_origin_fault(std::size_t slot, OriginFault fault, bool nothing_done) override;

  // From the loop.
  void on_release();  // parked no more
  void on_wake();     // the cache has something
  void begin_background(const Exchange& model, std::unique_ptr<Fill> fill);
  void reset();

 private:
  enum class State : std::uint8_t {
    kIdle,
    kCollect,    // the body comes in, to be inspected
    kInspect,    // the web application firewall reads the request
    kCacheWait,  // somebody else fetches what we want
    kParked,     // the writer moves
    kForward,    // one or two attempts, no response yet
    kHold,       // a response is here, and goes nowhere before it was inspected
    kRespond,    // a response's body is on its way
    kTunnel,
    kOver,
  };
  struct Attempt {
    OriginStream* stream = nullptr;
    std::size_t origin = 0;
    bool heard = false;      // OriginCore::heard or failed was called
    std::uint64_t sent = 0;  // of the request's body
    bool end_sent = false;   // the origin has all of it, since `asked`
    BootTime asked;
  };

  void on_timer(Timer& timer) override;

  // exchange_flow.cc
  void know_client();
  void route();
  std::string_view client_scheme() const;
  bool check_signature();  // false: refused
  void look_up();
  void forward();
  void park();
  void serve(CacheAnswer answer);
  bool pump_answer();
  void end_answer();
  void reply(int status, std::string_view text, Duration retry_after = {});
  void say(int status, std::string_view fields, std::string_view body,
           std::string_view type = "text/plain; charset=utf-8");
  void give_up(int status, std::string_view why);
  void adopt_head(std::string_view bytes);
  RequestView view() const;
  std::string_view path();  // as routes see it
  void finish();
  void count_and_log();
  void log_audit();
  void drop_body();

  // exchange_challenge.cc
  void pose_challenge();
  void take_answer();

  // exchange_waf.cc
  bool must_inspect(bool before_cache) const;
  void collect();
  void expect_body();
  void collect_body(std::size_t bytes);  // so many more are in body_
  void on_collect_timeout();
  bool hold(std::size_t bytes);
  void collected();
  InspectedRequest inspected_request();
  void on_inspected();
  void on_inspection_timeout();
  void judge(const WafVerdict& verdict);
  void keep_for_audit(const std::shared_ptr<const Waf>& waf, const WafVerdict& verdict,
                      const InspectedRequest* inspected);
  void not_inspected(WafOutcome outcome);
  void pass_inspection();
  void end_inspection();
  void refuse(int status, std::string_view text);

  // exchange_response.cc
  bool must_hold(const ResponseHead& head) const;
  bool hold_response(std::size_t slot, const ResponseHead& head);
  bool hold_body(std::string_view bytes);
  void hold_end(std::string_view trailers);
  bool inspect_response(bool by_stream);
  void on_response_inspected();
  void on_hold_timeout();
  bool judge_response(const WafVerdict& verdict, bool by_stream);
  bool response_not_inspected(WafOutcome outcome, bool by_stream);
  bool release_response(bool by_stream);
  std::unique_ptr<HeldResponse> take_held();
  void end_hold();
  void drop_response(int status, std::string_view text);
  InspectedRequest described_request() const;

  // exchange_origin.cc
  void let_go(std::size_t slot);  // an attempt whose stream ends by itself
  void response_ended(std::string_view trailers);
  bool attempt(std::size_t slot, bool hedge);
  void send_request(std::size_t slot);
  void append_fields(std::string& out) const;
  void append_forwarded(std::string& out) const;
  void send_request_body(std::size_t slot);
  void cancel(std::size_t slot, bool lost_hedge);
  bool may_retry(bool nothing_done) const;
  bool respond(std::size_t slot, const ResponseHead& head);
  void relay_head(const ResponseHead& head, std::string_view cache_lines);
  bool relay_interim(const ResponseHead& head);
  std::optional<std::size_t> sticky_origin() const;
  bool other_origin_exists() const;
  OriginCore::Mask forbidden_origins() const;
  OriginCore& core() { return group_->core; }
  bool safe_to_repeat() const;

  Loop& loop_;
  std::uint32_t slot_;
  std::uint32_t generation_ = 1;
  Timer timer_;
  State state_ = State::kIdle;
  Downstream* down_ = nullptr;

  RequestHead head_;
  std::string head_bytes_;  // once adopted
  bool adopted_ = false;
  std::string_view given_head_;
  HostText host_;
  std::string path_storage_;
  ClientAddress client_;       // as another edge, or a trusted proxy, tells it
  ClientAddress peer_;         // whose connection it is
  std::string_view protocol_;  // "1.1"; static text
  std::string ja4_;            // empty: not by TLS
  bool secure_ = false;
  bool trusted_ = false;
  bool from_edge_ = false;            // of the platform
  std::string_view scheme_ = "http";  // as the client spoke; static text
  std::shared_ptr<const Snapshot> snapshot_;
  const RouteSpec* route_ = nullptr;
  RouteStats* stats_ = nullptr;
  BootTime began_;

  // Request body: what may still be needed, from offset body_base_ on.
  std::string body_;
  std::uint64_t body_base_ = 0;
  std::uint64_t body_received_ = 0;
  bool body_ended_ = false;
  std::string body_trailers_;
  bool replayable_ = true;

  // Attempts.
  std::shared_ptr<GroupState> group_;
  std::array<Attempt, 2> attempts_;
  OriginCore::Mask tried_ = 0;
  int attempts_made_ = 0;
  bool hedged_ = false;
  std::size_t winner_ = 0;
  std::size_t last_origin_ = 0;
  bool origin_used_ = false;
  BootTime origin_began_;
  Duration origin_time_{};
  std::uint64_t key_ = 0;

  // Response.
  int status_ = 0;  // sent to the client; 0: none yet
  std::uint64_t bytes_out_ = 0;
  bool origin_done_ = true;

  // Cache.
  std::unique_ptr<Fill> fill_;
  bool storing_ = false;
  bool fill_paused_ = false;
  bool serving_ = false;
  CacheAnswer answer_;
  std::string_view pass_reason_;
  bool cache_gave_up_ = false;
  std::string firewall_rule_;  // or what is wrong with the signature

  // Inspection.
  std::shared_ptr<const Waf> waf_;  // while it goes on
  std::shared_ptr<Inspection> inspection_;
  std::size_t held_bytes_ = 0;        // of the body, as the pool counts them
  std::uint64_t collected_then_ = 0;  // of body_received_, when timer_ was armed
  std::unique_ptr<HeldResponse> held_;
  bool outside_stream_ = false;  // what ends a stream is not called by it
  bool inspected_ = false;
  bool continued_ = false;        // 100 (Continue) was sent, by us
  std::string_view waf_outcome_;  // static text; empty: was not inspected
  std::string waf_rule_, waf_location_;
  std::shared_ptr<const Waf> audit_waf_;  // whose audit policy is asked at the end
  std::unique_ptr<AuditEntry> audit_;     // null: not to be written

  std::unique_ptr<ParkingPlace> place_;  // while it waits for the writer
};

}  // namespace leeward::edge
