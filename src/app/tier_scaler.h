// The autoscaler of a site's agent: takes each scaling tier's metrics, lets its core decide, tells
// the supervisor, and remembers. It works while its site serves; on the standby it only learns what
// the other site needs.
//
// It answers on the agent's port
//   agents, edges  GET /v1/instances?after=VERSION&wait_ms=N   long poll: which instances are
//   ready,
//                  whether functions are, and what each tier needed at most in the last 24 hours
//   operators      GET /v1/scale; GET /v1/scale/history?tier=NAME&limit=N
//                  POST /v1/scale/set {tier, min, max, for_s} or {tier, clear: true}
//                  POST /v1/scale/protect {tier, number, on}
//
// Memory: STATE/scaling.json, written when a number changes and every minute; what was decided is
// in STATE/log/scaling.log too, a line each. A file that cannot be read is told of and begun anew:
// nothing that safety rests on is in it.
//
// On the loop's thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/context.h"
#include "app/tier_samples.h"
#include "compute/autoscaler_core.h"
#include "compute/instance_log.h"
#include "compute/supervisor.h"
#include "net/http.h"

namespace leeward::app {

class TierScaler {
 public:
  static constexpr std::size_t kHistoryMax = 500;  // decisions of a tier that say something new
  static constexpr std::size_t kWaitersMax = 64;   // long polls; one more is answered at once

  // All must outlive it.
  TierScaler(net::EventLoop& loop, net::HttpClient& http, const Context& context,
             compute::Supervisor& supervisor, Registry& registry);
  ~TierScaler();
  TierScaler(const TierScaler&) = delete;
  TierScaler& operator=(const TierScaler&) = delete;

  // Whether this site serves, and at which epoch the writer is. To be called before the supervisor
  // learns it, so that a cold tier starts with the right number.
  void follow(bool serving, Epoch epoch);
  // An instance's state may have changed: answers who waits for that.
  void instances_changed();

  static bool answers(const net::HttpRequest& request);  // its paths
  void handle(net::HttpRequest request, net::Responder respond);

 private:
  struct TierState {
    explicit TierState(const Tier& t, net::HttpClient& http, const Context& context);
    const Tier& tier;
    compute::AutoscalerCore core;
    TierSamples samples;
    std::deque<std::string> history;  // JSON, oldest first
    std::string last_text;            // of the newest, without its numbers' changes
    std::optional<int> peer_peak;
    bool sampling = false;
    net::TimerId timer;
    Gauge* desired = nullptr;
    Gauge* predicted = nullptr;
  };
  struct Waiter {
    std::uint64_t after = 0;
    BootTime until;
    net::Responder respond;
  };

  TierState* find(std::string_view tier);
  void load();
  void save();
  void arm(TierState& t, Duration delay);
  void sample(TierState& t);
  void decide(TierState& t, const std::vector<std::optional<double>>& samples);
  void record(TierState& t, const compute::Decision& decision);
  void apply(TierState& t);
  void ask_peers();
  void learn(const std::string& body);
  std::string ready_set() const;  // JSON without the version
  void answer_waiters(bool all);
  void get_instances(const net::HttpRequest& request, net::Responder respond);
  void get_scale(const net::HttpRequest& request, const net::Responder& respond);
  void post_set(const net::HttpRequest& request, const net::Responder& respond);
  void post_protect(const net::HttpRequest& request, const net::Responder& respond);

  net::EventLoop& loop_;
  net::HttpClient& http_;
  const Context& context_;
  compute::Supervisor& supervisor_;
  Logger logger_;
  SystemClock clock_;
  std::string path_;
  compute::CappedLog log_;
  std::vector<std::unique_ptr<TierState>> tiers_;
  bool serving_ = false;
  Epoch epoch_;  // at which this site last began to serve
  net::TimerId peer_timer_;
  net::TimerId save_timer_;
  std::string life_;  // of this agent's process: versions of another one do not compare
  std::string published_;
  std::uint64_t version_ = 0;
  std::vector<Waiter> waiters_;
  net::TimerId waiter_timer_;
};

}  // namespace leeward::app
