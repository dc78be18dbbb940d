#include "edge/waf_pool.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "base/scheduling.h"
#include "base/time.h"
#include "edge/secret_mask.h"

namespace leeward::edge {
namespace {

constexpr int kNice = 15;
constexpr Duration kTimeSlice = 200us;  // more than a loop's, which comes before it
constexpr std::size_t kLogTextMax = 512;

constexpr std::string_view kNames[kWafOutcomes] = {
    "pass", "block", "challenge", "detect", "error", "timeout", "overload", "body_too_large"};

// What the client wrote, so that it cannot write a line of its own.
std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kLogTextMax)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

std::string rules_of(const WafVerdict& verdict) {
  std::string out;
  for (const RuleMatch& match : verdict.matches) {
    if (!out.empty()) out += ", ";
    out.append(match.rule);
    if (!match.variable.empty()) out.append(" ").append(match.variable);
  }
  return printable(out);
}

// What the first of them matched, as far as it may be written.
std::string value_of(const WafVerdict& verdict) {
  for (const RuleMatch& match : verdict.matches)
    if (!match.variable.empty()) return printable(match.variable + " = " + match.value);
  return "";
}

std::string_view happened(WafOutcome outcome) {
  switch (outcome) {
    case WafOutcome::kError:
      return "could not be inspected";
    case WafOutcome::kDetect:
      return "would be refused in mode block";
    case WafOutcome::kChallenge:
      return "was challenged";
    default:
      return "was refused";
  }
}

unsigned count_of(int workers) {
  if (workers > 0) return static_cast<unsigned>(std::max(workers, 2));
  return std::max(2u, std::thread::hardware_concurrency());
}

}  // namespace

std::string_view name(WafOutcome outcome) { return kNames[static_cast<std::size_t>(outcome)]; }

const WafVerdict* Inspection::verdict() const {
  std::lock_guard lock(mutex_);
  return state_ == State::kDone ? &verdict_ : nullptr;
}

std::string Inspection::take_body() {
  std::lock_guard lock(mutex_);
  return state_ == State::kRunning ? request_.body : std::move(request_.body);
}

WafPool::WafPool(int workers, const Logger& logger) : logger_(logger.with("waf")) {
  const unsigned count = count_of(workers);
  for (unsigned i = 0; i < count; ++i)
    threads_.emplace_back([this, large = i < count / 2] { work(large); });
}

WafPool::~WafPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  small_.notify_all();
  large_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool WafPool::hold(const ClientAddress& client, std::size_t bytes, const EdgeWaf& settings) {
  if (bytes == 0) return true;  // most requests: not worth a lock
  std::lock_guard lock(held_mutex_);
  return held_bytes_.take(client, bytes, settings.held_bytes_max);
}

void WafPool::release(const ClientAddress& client, std::size_t bytes) {
  std::lock_guard lock(held_mutex_);
  held_bytes_.give_back(client, bytes);
}

bool WafPool::holds_much(const EdgeWaf& settings) const {
  std::lock_guard lock(held_mutex_);
  return held_bytes_.taken() > settings.held_bytes_max / 2;
}

std::optional<WafVerdict> WafPool::inspect_at_once(const Inspection& inspection) {
  const BootTime began = BootClock::now();
  auto verdict = inspection.response_ ? inspection.engine_->inspect_response_at_once(
                                            inspection.request_, *inspection.response_)
                                      : inspection.engine_->inspect_at_once(inspection.request_);
  if (verdict) seconds_.observe(seconds(BootClock::now() - began));
  return verdict;
}

WafPool::Queue& WafPool::queue_of(const Inspection& inspection) {
  const std::size_t small = inspection.request_.body_coded ? 0 : kSmallBodyBytes;
  return inspection.body_size() > small ? large_queue_ : small_queue_;
}

bool WafPool::submit(std::shared_ptr<Inspection> inspection, Waiter waiter,
                     const EdgeWaf& settings) {
  Inspection& submitted = *inspection;
  Queue& queue = queue_of(submitted);
  const bool large = &queue == &large_queue_;
  {
    std::lock_guard lock(mutex_);
    if (!queue.places.take(submitted.request_.client, 1, settings.queue_max)) return false;
    submitted.waiter_ = waiter;  // nobody else has it before it is in the queue
    submitted.state_ = Inspection::State::kWaiting;
    submitted.queued_ = true;
    submitted.place_ = queue.waiting.insert(queue.waiting.end(), std::move(inspection));
  }
  // Threads for large requests take small ones too, but those for small ones are asked first.
  if (!large) small_.notify_one();
  large_.notify_one();
  return true;
}

std::shared_ptr<Inspection> WafPool::take_out(Inspection& inspection) {
  Queue& queue = queue_of(inspection);
  std::shared_ptr<Inspection> owner = std::move(*inspection.place_);
  queue.waiting.erase(inspection.place_);
  queue.places.give_back(inspection.request_.client, 1);
  inspection.queued_ = false;
  return owner;
}

void WafPool::cancel(Inspection& inspection) {
  {
    std::lock_guard lock(inspection.mutex_);
    inspection.cancelled_ = true;
    if (inspection.state_ != Inspection::State::kWaiting) return;
  }
  std::lock_guard lock(mutex_);
  if (inspection.queued_) take_out(inspection);  // the caller has it too, so it does not end here
}

void WafPool::work(bool takes_large) {
  const auto self = static_cast<id_t>(gettid());  // of a thread, on Linux
  setpriority(PRIO_PROCESS, self, std::min(getpriority(PRIO_PROCESS, self) + kNice, 19));
  static_cast<void>(set_time_slice(kTimeSlice));  // where it may not, it has the usual one
  while (std::shared_ptr<Inspection> inspection = next(takes_large)) {
    inspect(*inspection);
    inspection.reset();
    std::lock_guard lock(mutex_);
    --busy_;
  }
}

// Null: the pool ends. What has not begun by then is waited for by nobody.
std::shared_ptr<Inspection> WafPool::next(bool takes_large) {
  std::unique_lock lock(mutex_);
  (takes_large ? large_ : small_).wait(lock, [&] {
    return stop_ || !small_queue_.waiting.empty() || (takes_large && !large_queue_.waiting.empty());
  });
  if (stop_) return nullptr;
  Queue& queue = takes_large && !large_queue_.waiting.empty() ? large_queue_ : small_queue_;
  ++busy_;
  return take_out(*queue.waiting.front());
}

void WafPool::inspect(Inspection& inspection) {
  {
    std::lock_guard lock(inspection.mutex_);
    if (inspection.cancelled_) return;
    inspection.state_ = Inspection::State::kRunning;
  }
  const BootTime began = BootClock::now();
  WafVerdict verdict = inspection.response_ ? inspection.engine_->inspect_response(
                                                  inspection.request_, *inspection.response_)
                                            : inspection.engine_->inspect(inspection.request_);
  seconds_.observe(seconds(BootClock::now() - began));
  std::lock_guard lock(inspection.mutex_);
  inspection.verdict_ = std::move(verdict);
  inspection.state_ = Inspection::State::kDone;
  // Under the lock: after cancel() the loop may be gone.
  if (!inspection.cancelled_) inspection.waiter_.loop->wake(inspection.waiter_.token);
}

// ---- what people and Prometheus see

void WafPool::count(ByRule& counts, const std::string& rule) {
  const auto found = counts.find(rule);
  if (found != counts.end())
    ++found->second;
  else
    ++counts[counts.size() < kRulesCounted ? rule : "other"];
}

void WafPool::note(WafOutcome outcome, const InspectedRequest& request, const WafVerdict* verdict,
                   const SecretMask* mask) {
  note(outcomes_, "request", outcome, request, verdict, mask);
}

void WafPool::note_response(WafOutcome outcome, const InspectedRequest& request,
                            const WafVerdict* verdict, const SecretMask* mask) {
  note(response_outcomes_, "response", outcome, request, verdict, mask);
}

void WafPool::note(Outcomes& outcomes, std::string_view what, WafOutcome outcome,
                   const InspectedRequest& request, const WafVerdict* verdict,
                   const SecretMask* mask) {
  outcomes[static_cast<std::size_t>(outcome)].fetch_add(1, std::memory_order_relaxed);
  if (outcome == WafOutcome::kPass && (verdict == nullptr || verdict->matches.empty())) return;
  std::lock_guard lock(notes_mutex_);
  if (verdict != nullptr) {
    if (verdict->kind == WafVerdict::Kind::kBlock) count(blocks_, verdict->decisive.rule);
    for (const RuleMatch& match : verdict->matches) count(matches_, match.rule);
  }
  if (outcome == WafOutcome::kPass) return;
  const LogBudget::Grant log = log_budget_.take(BootClock::now());
  if (log.left_out > 0)
    logger_.warn("more requests of the kind were not logged; the access log has them",
                 {{"count", log.left_out}});
  if (!log.granted) return;
  const std::string client = to_string(request.client);
  const std::string url =
      printable(request.host + (mask != nullptr ? mask->target(request.target) : request.target));
  if (verdict == nullptr) {
    logger_.warn(fmt::format("a {} was not inspected", what),
                 {{"why", name(outcome)}, {"client", client}, {"url", url}});
    return;
  }
  logger_.warn(fmt::format("a {} {}", what, happened(outcome)),
               {{"rule", printable(verdict->decisive.rule)},
                {"message", printable(verdict->decisive.message)},
                {"matched", rules_of(*verdict)},
                {"value", value_of(*verdict)},
                {"client", client},
                {"url", url}});
}

std::string WafPool::prometheus_text() const {
  std::string out =
      "# HELP leeward_waf_requests_total Requests for the web application firewall, by outcome.\n"
      "# TYPE leeward_waf_requests_total counter\n";
  auto to = std::back_inserter(out);
  for (std::size_t i = 0; i < kWafOutcomes; ++i)
    fmt::format_to(to, "leeward_waf_requests_total{{outcome=\"{}\"}} {}\n", kNames[i],
                   outcomes_[i].load(std::memory_order_relaxed));
  out.append(
      "# HELP leeward_waf_responses_total Responses for the web application firewall, by outcome.\n"
      "# TYPE leeward_waf_responses_total counter\n");
  for (std::size_t i = 0; i < kWafOutcomes; ++i)
    fmt::format_to(to, "leeward_waf_responses_total{{outcome=\"{}\"}} {}\n", kNames[i],
                   response_outcomes_[i].load(std::memory_order_relaxed));
  out.append(
      "# HELP leeward_waf_rule_blocks_total Requests that a rule refused or, in mode detect, would "
      "have.\n# TYPE leeward_waf_rule_blocks_total counter\n");
  {
    std::lock_guard lock(notes_mutex_);
    for (const auto& [rule, count] : blocks_)
      fmt::format_to(to, "leeward_waf_rule_blocks_total{{rule=\"{}\"}} {}\n", rule, count);
    out.append(
        "# HELP leeward_waf_rule_matches_total Requests that a rule had something to tell of.\n"
        "# TYPE leeward_waf_rule_matches_total counter\n");
    for (const auto& [rule, count] : matches_)
      fmt::format_to(to, "leeward_waf_rule_matches_total{{rule=\"{}\"}} {}\n", rule, count);
  }
  std::size_t waiting = 0, busy = 0;
  {
    std::lock_guard lock(mutex_);
    waiting = small_queue_.waiting.size() + large_queue_.waiting.size();
    busy = busy_;
  }
  std::size_t held = 0;
  {
    std::lock_guard lock(held_mutex_);
    held = held_bytes_.taken();
  }
  auto gauge = [&](std::string_view name, std::string_view help, std::size_t value) {
    fmt::format_to(to, "# HELP {} {}\n# TYPE {} gauge\n{} {}\n", name, help, name, name, value);
  };
  gauge("leeward_waf_queue", "Requests that wait for inspection.", waiting);
  gauge("leeward_waf_held_bytes", "Bytes of bodies held back until a verdict.", held);
  gauge("leeward_waf_busy", "Threads that inspect.", busy);
  out.append(
      "# HELP leeward_waf_seconds Time at the engine, without waiting.\n"
      "# TYPE leeward_waf_seconds histogram\n");
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < Histogram::kBucketCount; ++i) {
    sum += seconds_.bucket(i);
    fmt::format_to(
        to, "leeward_waf_seconds_bucket{{le=\"{}\"}} {}\n",
        i + 1 < Histogram::kBucketCount ? fmt::format("{}", Histogram::kBounds[i]) : "+Inf", sum);
  }
  fmt::format_to(to, "leeward_waf_seconds_sum {}\nleeward_waf_seconds_count {}\n", seconds_.sum(),
                 sum);
  return out;
}

}  // namespace leeward::edge
