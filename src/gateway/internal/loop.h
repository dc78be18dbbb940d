// The gateway's one thread: an epoll loop over listeners, clients and server connections. All of it
// runs on that thread except start(), run(), and what is marked. loop.cc holds the thread and the
// modes, loop_session.cc what happens to one session.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/file.h"
#include "gateway/gateway.h"
#include "gateway/internal/buffer.h"
#include "gateway/internal/lease_gate.h"
#include "gateway/internal/secret.h"
#include "gateway/internal/session_core.h"

namespace leeward::gateway {

struct Session;

// What an epoll event points at.
struct Watch {
  enum class Kind : std::uint8_t {
    kWake,
    kLeaseTimer,
    kListener,
    kPeerListener,
    kClient,
    kBackend
  };
  Kind kind;
  Session* session = nullptr;
  std::uint64_t born = 0;    // round of the loop in which the descriptor was added
  std::uint32_t events = 0;  // registered with epoll; 0: not registered
};

// One client and, at times, its server connection.
struct Session {
  bool peer = false;  // came through the peer listener
  UniqueFd client;
  UniqueFd backend;
  Watch client_watch{Watch::Kind::kClient};
  Watch backend_watch{Watch::Kind::kBackend};
  Buffer from_client;
  Buffer from_backend;
  std::string to_backend;           // the gateway's own words, sent before from_client
  std::optional<SessionCore> core;  // MariaDB only

  bool connected = false;    // the connection to the server stands
  bool local = false;        // bytes to and from it need the lease
  std::uint64_t target = 0;  // Loop::target_ for which it was made
  bool client_eof = false;
  bool backend_eof = false;
  bool backend_shut = false;

  // Work waits for a server since then; bounded by hold_timeout.
  std::optional<BootTime> waiting_since;
  BootTime connect_deadline{};
  BootTime next_attempt{};
  Duration backoff{};
  // Finishing at a server that is no target any more.
  std::optional<BootTime> linger_until;
  BootTime last_byte{};  // to or from the server

  // Last words are sent, then the client has until `close_at` to read them and go.
  bool closing = false;
  bool client_shut = false;
  BootTime close_at{};
  std::string last_words;
  bool dead = false;
};

class Loop {
 public:
  explicit Loop(Options options);
  ~Loop();
  Status start();
  // Any thread: runs `work` on the loop's thread and waits for it.
  void run(const std::function<void()>& work);
  LeaseGate& gate() { return gate_; }  // any thread
  Endpoint listen_endpoint() const { return listen_endpoint_; }
  Endpoint peer_listen_endpoint() const { return peer_endpoint_; }

  // On the loop's thread, through run():
  void refuse(std::string reason);
  void hold();
  void give_up_lease();
  void serve_local(Epoch epoch, BootTime deadline) {
    serve_local(epoch, deadline, options_.local_database);
  }
  void serve_local(Epoch epoch, BootTime deadline, const Endpoint& database);
  void serve_remote(const Endpoint& peer);
  bool drained() const;
  void end_transactions(std::string_view reason);
  Stats stats() const;

 private:
  struct Metrics;

  // loop.cc
  void main();
  void dispatch(Watch& watch, std::uint32_t events);
  void run_posted();
  void accept_clients(int listener, bool peer);
  void shed_client(int listener);
  void admit(UniqueFd fd, bool peer);
  void retarget(GatewayMode mode, const Endpoint& endpoint);
  void retarget_session(Session& s);
  void release_peer(Session& s);
  void check_lease();
  void fence();
  void arm_lease_timer();
  void tick();
  void tick_session(Session& s, BootTime now);
  void bury();
  bool busy(const Session& s) const;
  std::string refusal() const;

  // loop_session.cc
  void on_client(Session& s, std::uint32_t events);
  void on_backend(Session& s, std::uint32_t events);
  void pump(Session& s);
  bool examine_backend(Session& s);
  bool examine_client(Session& s);
  bool examine_plain_client(Session& s);
  bool flush(Session& s);
  bool flush_backend(Session& s);
  bool flush_client(Session& s);
  void flush_closing(Session& s);
  bool after_eof(Session& s);
  bool may_pass(const Session& s);
  bool may_start(const Session& s) const;
  void connect(Session& s);
  void backend_connected(Session& s);
  void backend_lost(Session& s);
  void backend_refused(Session& s);
  void retry_later(Session& s, Duration at_least);
  void not_executed(Session& s);
  void leave(Session& s);
  void drop_backend(Session& s);
  void begin_wait(Session& s);
  void end_wait(Session& s);
  void fail_session(Session& s, std::uint16_t code, std::string_view state, std::string_view text);
  void close_softly(Session& s);
  void close_moved(Session& s, std::string_view why);
  void destroy(Session& s);
  void watch(Watch& w, int fd, std::uint32_t events);
  void update_interest(Session& s);

  Options options_;
  LeaseGate gate_;
  std::unique_ptr<SecretVault> vault_;
  std::size_t clients_max_ = 0;

  UniqueFd epoll_, wake_, timer_, listener_, peer_listener_, spare_;
  Watch wake_watch_{Watch::Kind::kWake}, timer_watch_{Watch::Kind::kLeaseTimer},
      listener_watch_{Watch::Kind::kListener}, peer_watch_{Watch::Kind::kPeerListener};
  Endpoint listen_endpoint_, peer_endpoint_;
  std::uint64_t round_ = 1;

  GatewayMode mode_ = GatewayMode::kRefuse;
  std::string reason_ = "it has just started";
  Endpoint target_endpoint_;
  bool target_local_ = false;
  std::uint64_t target_ = 0;  // grows when sessions have to go to another server

  std::unordered_map<Session*, std::unique_ptr<Session>> sessions_;
  std::unordered_set<Session*> timed_;  // something about them depends on the time
  std::vector<Session*> graves_;
  Stats totals_;
  std::unique_ptr<Metrics> metrics_;

  std::mutex posted_mutex_;
  std::condition_variable posted_done_;
  std::deque<const std::function<void()>*> posted_;
  std::uint64_t posted_count_ = 0, done_count_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace leeward::gateway
