// One loop of the edge: a thread with an epoll instance, its own listening sockets, clients, origin
// connections, timers and opinion of the origins. Everything below runs on that thread except what
// is marked.
//
// Descriptors are registered once, edge-triggered; each object remembers whether its socket may be
// readable or writable. Work that an event causes elsewhere (flushing a client, starting an origin
// connection) is deferred to the end of the event, so that no object is called from inside itself.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "edge/edge.h"
#include "edge/internal/access_log.h"
#include "edge/internal/snapshot.h"
#include "edge/internal/stats.h"
#include "edge/internal/timer_wheel.h"

namespace leeward::edge {

class Client;
class Transport;
class Exchange;
class OriginH2;
class OriginLink;
class Loop;
class TlsClient;
class TlsSession;
class Warmer;

// What epoll events and deferred work point at. Objects are freed at the end of a round only, so
// that a late event of the same round finds them, closed.
class Target {
 public:
  virtual ~Target() = default;
  virtual void on_events(std::uint32_t events) = 0;
  virtual void on_deferred() = 0;
  virtual void on_turn() {}  // what Loop::take_turns() promised

 private:
  friend class Loop;
  bool deferred_ = false;
};

// What a loop has of one origin.
struct OriginState {
  std::vector<OriginLink*> idle;       // the warmest last
  std::vector<OriginH2*> multiplexed;  // that may take streams
  std::shared_ptr<TlsSession> session;
  BootTime reported_at;  // a failure of TLS, to the log
};

// A group of origins as one loop sees it; outlives its place in the configuration while it is used.
struct GroupState {
  explicit GroupState(std::shared_ptr<const Snapshot> s, std::size_t index);
  const GroupSpec& spec() const { return snapshot->groups[at].spec; }

  std::shared_ptr<const Snapshot> snapshot;
  std::size_t at;
  OriginCore core;
  std::vector<OriginState> origins;
  std::shared_ptr<const TlsClient> tls;  // null: none
  std::shared_ptr<GroupStats> stats;
  bool retired = false;  // no longer in the configuration: connections are not kept

  // What is open is closed once it is idle.
  void close_idle();
  // From now on by the certificates that were loaded last.
  void use(const std::shared_ptr<const TlsClient>& loaded);
};

// What all loops of an edge share; all of it is immutable or safe for any thread.
struct Shared {
  EdgeOptions options;
  AccessLog* access_log = nullptr;  // null: none
  AccessLog* audit_log = nullptr;   // null: none
};

// A place among the requests that wait for the writer, and the room for their bytes: given back
// when this ends, so that no way out of waiting can keep it.
class ParkingPlace {
 public:
  ParkingPlace(Loop& loop, std::size_t bytes);
  ~ParkingPlace();
  ParkingPlace(const ParkingPlace&) = delete;
  ParkingPlace& operator=(const ParkingPlace&) = delete;

 private:
  Loop& loop_;
  const std::size_t bytes_;
};

class Loop final : public Wakeup {
 public:
  static constexpr std::size_t kScratchBytes = 64u << 10;

  Loop(const Shared& shared, unsigned index, std::shared_ptr<const Snapshot> snapshot);
  ~Loop() override;  // REQUIRES: join() was called, or start() never

  // Before start(): listens on the address of each listener, by the sockets in `inherited` (those
  // of a listener at its index) or else by a new one; port 0 is replaced in `addresses`.
  Status listen(std::vector<SocketAddress>& addresses,
                std::vector<std::vector<UniqueFd>> inherited = {});
  void start();
  // Any thread.
  void join();
  void run(const std::function<void()>& work);  // on the loop's thread; waits for it
  void wake(std::uint64_t token) override;

  // Through run():
  void adopt(std::shared_ptr<const Snapshot> snapshot);
  void set_state(const WriterState& state);
  void check(std::size_t group, std::size_t origin, bool passed, bool up);
  void begin_drain();
  std::size_t clients() const { return clients_.size(); }
  void add_sockets(std::vector<int>& to) const;
  const std::vector<std::shared_ptr<GroupState>>& groups() const { return groups_; }

  // For the objects of the loop:
  BootTime now() const { return now_; }
  // Whether what is dear may still be done in this round: those that are behind have not waited
  // long.
  bool round_is_young() const;
  Now both() const;
  const Snapshot& snapshot() const { return *snapshot_; }
  const std::shared_ptr<const Snapshot>& shared_snapshot() const { return snapshot_; }
  const std::shared_ptr<GroupState>& group(std::size_t index) const { return groups_[index]; }
  const Shared& shared() const { return shared_; }
  const WriterState& state() const { return state_; }
  bool draining() const { return draining_; }
  TimerWheel& wheel() { return wheel_; }
  std::uint64_t random() { return random_(); }
  LoopStats& stats() { return stats_; }
  std::string& access_line() { return access_line_; }
  void log_access() { shared_.access_log->append(index_, access_line_); }
  void log_audit(std::string_view line) {
    if (shared_.audit_log != nullptr) shared_.audit_log->append(index_, line);
  }

  void watch(int fd, Target& target);        // edge-triggered, for reading and writing
  void watch_again(int fd, Target& target);  // another target for a watched descriptor
  void defer(Target& target);
  // For who has had enough of this round and could go on: on_turn() comes in one of the next, after
  // everybody else's events; the longer all turns take, the fewer fit in a round. Once for each
  // call.
  void take_turns(Target& target) { turns_.push_back(&target); }
  char* scratch() { return scratch_.get(); }
  ResponseHead& response_head() { return response_head_; }
  std::string& lines() { return lines_; }
  void append_date(std::string& lines);  // a Date line (RFC 9110 §6.6.1); written once a second
  // Empty strings with some capacity, and back; so that idle connections hold none.
  std::string take_buffer();
  void give_buffer(std::string& buffer);

  Exchange& take_exchange();
  void give_exchange(Exchange& exchange);
  Exchange* find(std::uint64_t token) const;
  void client_gone(Client& client);
  // The connection of `from`, which is over, goes on as HTTP/2.
  void speak_h2(Client& from, Transport&& io, const ListenerSpec& listener,
                const ClientAddress& address, std::string_view first_bytes);
  OriginLink& new_link();
  OriginH2& new_h2_link();
  void link_gone(Target& link);

  Warmer& warmer() { return *warmer_; }
  // See Edge::probe.
  void probe(std::size_t group, std::size_t origin, ProbeQuestion question,
             std::function<void(Result<ProbeReply>)> done);

  // Null when there is no room. Until the place is given back, on_release() may come.
  std::unique_ptr<ParkingPlace> park(Exchange& exchange, std::size_t bytes);

 private:
  friend class ParkingPlace;
  struct Listener;
  void main();
  bool accept_from(Listener& listener);  // true: more may wait
  bool shed(Listener& listener);         // false: nobody waited
  void run_posted();
  void run_woken();
  void run_deferred();
  void run_turns();
  void bury();
  void apply_ranks(GroupState& group) const;
  void release_parked();

  const Shared& shared_;
  unsigned index_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::vector<std::shared_ptr<GroupState>> groups_;
  WriterState state_;
  BootTime now_;
  TimerWheel wheel_;
  std::mt19937_64 random_;
  LoopStats stats_;

  UniqueFd epoll_, wake_, spare_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  bool draining_ = false;
  std::unique_ptr<char[]> scratch_;
  ResponseHead response_head_;
  std::string lines_;
  std::string date_line_;
  std::int64_t date_second_ = 0;
  std::string access_line_;
  std::vector<std::string> buffers_;

  std::unordered_map<Client*, std::unique_ptr<Client>> clients_;
  std::unordered_map<Target*, std::unique_ptr<Target>> links_;  // to origins
  std::vector<std::unique_ptr<Target>> graves_;
  std::vector<std::unique_ptr<Exchange>> exchanges_;  // by slot
  std::vector<Exchange*> free_exchanges_;
  std::vector<Target*> deferred_;
  std::deque<Target*> turns_;

  std::unique_ptr<Warmer> warmer_;

  std::deque<std::uint64_t>
      parked_;  // tokens, the longest waiting first; outdated ones are skipped
  std::size_t parked_count_ = 0;
  std::size_t parked_bytes_ = 0;
  bool releasing_ = false;

  std::mutex mutex_;
  std::condition_variable done_;
  std::deque<const std::function<void()>*> posted_;
  std::uint64_t posted_count_ = 0, done_count_ = 0;
  std::vector<std::uint64_t> woken_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace leeward::edge
