// The threads that inspect requests, beside the loops of the edge.
//
// Two queues: requests with up to kSmallBodyBytes of body, and those with larger or with packed
// ones. Half of the threads (at least one) take small requests only; the others take large ones
// first, and neither takes a place of the other. So large bodies never hold up small requests, and
// small ones never starve large ones.
//
// They run at nice + 15: a loop that shares its core with one must have it back the moment that
// something comes. EEVDF gives it to whom less than its share was given so far; beside a thread of
// a similar weight a loop that has just worked has had its share, and who looks next is the timer,
// up to 4 ms later. Beside other work the threads get little then, in small slices, so that they
// need not wait long for it, unless the process itself has a higher priority, as in
// packaging/systemd/leeward-edge.service.
//
// Bounds: requests that wait (queue_max in each queue), and bytes of bodies that are held back
// until a verdict (held_bytes_max); of each the clients of one network have a fair share
// (fair_share.h), so that none of them can turn away everybody else. A request that finds no room
// is turned away at once. One that leaves while it waits leaves its place at once too; an
// inspection that has begun cannot be stopped: its thread goes on to the end and nobody hears of
// it.
//
// Threads: everything may be called from any thread.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/log_budget.h"
#include "base/metrics.h"
#include "edge/fair_share.h"
#include "edge/waf.h"

namespace leeward::edge {

// One request at the engine: made and read by the exchange's loop, worked on by a thread of the
// pool. `request` is not changed any more once it was submitted.
class Inspection {
 public:
  Inspection(std::shared_ptr<const InspectionEngine> engine, InspectedRequest request)
      : request_(std::move(request)), engine_(std::move(engine)) {}
  // Of a response to that request.
  Inspection(std::shared_ptr<const InspectionEngine> engine, InspectedRequest request,
             InspectedResponse response)
      : request_(std::move(request)), response_(std::move(response)), engine_(std::move(engine)) {}

  const InspectedRequest& request() const { return request_; }
  // The verdict once the waiter was woken for it; null before.
  const WafVerdict* verdict() const;
  // The body, for the origin: moved out, or copied while a thread reads it. REQUIRES: the verdict
  // is there, or it was cancelled, or not submitted.
  std::string take_body();

 private:
  friend class WafPool;
  using Queue = std::list<std::shared_ptr<Inspection>>;
  enum class State { kNew, kWaiting, kRunning, kDone };
  std::size_t body_size() const {
    return response_ ? response_->body.size() : request_.body_inspected;
  }

  InspectedRequest request_;
  std::optional<InspectedResponse> response_;
  std::shared_ptr<const InspectionEngine> engine_;
  mutable std::mutex mutex_;  // of what follows
  State state_ = State::kNew;
  bool cancelled_ = false;
  Waiter waiter_;
  WafVerdict verdict_;

  // Of the pool's mutex:
  bool queued_ = false;
  Queue::iterator place_;  // while it is queued
};

// How a request that was to be inspected fared, for metrics and log.
enum class WafOutcome : std::uint8_t {
  kPass,
  kBlock,         // refused
  kChallenge,     // got the challenge instead of an answer
  kDetect,        // would have been refused, or challenged, in mode block
  kError,         // the engine could not tell
  kTimeout,       // no verdict in time
  kOverload,      // no room in the queue
  kBodyTooLarge,  // more than body_bytes_max, and body_limit_action is reject
};
constexpr std::size_t kWafOutcomes = 8;
std::string_view name(WafOutcome outcome);  // "pass", "block", …: label and text of the access log

class WafPool {
 public:
  static constexpr std::size_t kSmallBodyBytes = 16u << 10;

  // `workers`: threads, at least two; 0: one a core.
  WafPool(int workers, const Logger& logger);
  ~WafPool();  // waits for the inspections that have begun
  WafPool(const WafPool&) = delete;
  WafPool& operator=(const WafPool&) = delete;

  // Room for bytes of a body of that client's that is held back until its request was inspected;
  // false when there is none by `settings`. What was held is released, for the same client.
  bool hold(const ClientAddress& client, std::size_t bytes, const EdgeWaf& settings);
  void release(const ClientAddress& client, std::size_t bytes);
  // Whether more than half of what may be held is held.
  bool holds_much(const EdgeWaf& settings) const;

  // The verdict that the engine can give at once, on the caller's thread; nothing: submit() it.
  std::optional<WafVerdict> inspect_at_once(const Inspection& inspection);

  // False when the queue has no room by `settings`. Otherwise the waiter is woken once the verdict
  // is there, unless cancel() was called before.
  bool submit(std::shared_ptr<Inspection> inspection, Waiter waiter, const EdgeWaf& settings);
  // The waiter is not woken after this returns; an inspection that has not begun does not begin,
  // and its place in the queue is free. REQUIRES: it was submitted to no other pool.
  void cancel(Inspection& inspection);

  // Counts, and logs what is not kPass: ten lines a second, then only how many were left out.
  // `client`, `url` and the verdict's texts are escaped; secrets in `url` are masked, without a
  // mask none. A null verdict: there is none.
  void note(WafOutcome outcome, const InspectedRequest& request, const WafVerdict* verdict,
            const SecretMask* mask);
  // The same of a response.
  void note_response(WafOutcome outcome, const InspectedRequest& request, const WafVerdict* verdict,
                     const SecretMask* mask);
  std::string prometheus_text() const;

 private:
  static constexpr std::size_t kRulesCounted = 1000;  // rules with a counter of their own
  struct Queue {
    Inspection::Queue waiting;
    FairShare places;  // one for each of them
  };

  Queue& queue_of(const Inspection& inspection);
  void work(bool takes_large);
  std::shared_ptr<Inspection> next(bool takes_large);
  std::shared_ptr<Inspection> take_out(Inspection& inspection);  // under the lock
  void inspect(Inspection& inspection);

  const Logger logger_;
  mutable std::mutex mutex_;  // of what follows
  std::condition_variable small_, large_;
  Queue small_queue_, large_queue_;
  std::size_t busy_ = 0;
  bool stop_ = false;

  mutable std::mutex held_mutex_;  // of what follows
  FairShare held_bytes_;

  using Outcomes = std::array<std::atomic<std::uint64_t>, kWafOutcomes>;
  void note(Outcomes& outcomes, std::string_view what, WafOutcome outcome,
            const InspectedRequest& request, const WafVerdict* verdict, const SecretMask* mask);
  Outcomes outcomes_{}, response_outcomes_{};
  Histogram seconds_;  // an inspection's own time
  LogBudget log_budget_;
  mutable std::mutex notes_mutex_;                                   // of what follows
  using ByRule = std::map<std::string, std::uint64_t, std::less<>>;  // kRulesCounted at most
  static void count(ByRule& counts, const std::string& rule);
  ByRule blocks_, matches_;

  std::vector<std::thread> threads_;
};

}  // namespace leeward::edge
