#include "functions/event_queue_core.h"

#include <algorithm>

#include "base/check.h"

namespace leeward::functions {
namespace {

constexpr Duration kPauseFirst = 1s;
constexpr Duration kPauseMax = std::chrono::minutes(5);
constexpr Duration kRetryPauses[] = {std::chrono::minutes(1), std::chrono::minutes(2)};

}  // namespace

bool EventQueueCore::accept(BootTime now, EventId id, const EventRule& rule) {
  if (events_.size() >= events_max_) return false;
  events_[id] = Event{rule, now, 0, 0};
  return true;
}

void EventQueueCore::kept(BootTime now, EventId id) {
  LEEWARD_CHECK(events_.contains(id));
  waiting_.emplace(now, id);
}

void EventQueueCore::withdraw(EventId id) { events_.erase(id); }

std::vector<EventId> EventQueueCore::due(BootTime now) {
  std::vector<EventId> ids;
  while (running_ < running_max_ && !waiting_.empty() && waiting_.begin()->first <= now) {
    ids.push_back(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    ++running_;
  }
  return ids;
}

EventVerdict EventQueueCore::finished(BootTime now, EventId id, EventOutcome outcome) {
  auto found = events_.find(id);
  LEEWARD_CHECK(found != events_.end() && running_ > 0);
  --running_;
  Event& event = found->second;
  std::optional<EventEnd> end;
  Duration pause{0};
  if (outcome == EventOutcome::kNotRun) {
    pause = std::min<Duration>(kPauseMax, kPauseFirst * (1LL << std::min(event.pauses++, 10u)));
  } else {
    ++event.tries;
    if (outcome == EventOutcome::kSucceeded)
      end = EventEnd::kSuccess;
    else if (event.tries > event.rule.retries_max)
      end = EventEnd::kRetriesExhausted;
    else
      pause = kRetryPauses[std::min<std::size_t>(event.tries, std::size(kRetryPauses)) - 1];
  }
  if (!end && now + pause >= event.accepted + event.rule.age_max) end = EventEnd::kEventAgeExceeded;
  const EventVerdict verdict{end, event.tries};
  if (end)
    events_.erase(found);
  else
    waiting_.emplace(now + pause, id);
  return verdict;
}

std::optional<BootTime> EventQueueCore::deadline() const {
  if (waiting_.empty() || running_ >= running_max_) return std::nullopt;
  return waiting_.begin()->first;
}

}  // namespace leeward::functions
