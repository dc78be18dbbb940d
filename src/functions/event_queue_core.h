// Asynchronous invocations: accepted once, tried until they succeed, are too old, or have failed
// too often.
//
// As AWS does it: an error of the function is tried again after one minute, then after two, at most
// retries_max times; a throttled or failed service is tried again with growing pauses (1 s doubling
// to 5 min) for as long as the event is younger than age_max, without counting as a try. What is
// given up goes to the failure destination. At-least-once: after a crash of the host an event that
// was under way runs again.
//
//   accept ──▶ kept ──▶ (due ──▶ finished)… ──▶ its end
//      └─────▶ withdraw
//
// Pure. Bounds: events known, and events under way at once; beyond the first, accept() says no and
// the caller is throttled.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/strong.h"
#include "base/time.h"

namespace leeward::functions {

using EventId = Strong<struct EventTag, std::uint64_t>;

struct EventRule {
  std::uint32_t retries_max = 2;
  Duration age_max = std::chrono::hours(6);
};

enum class EventOutcome : std::uint8_t { kSucceeded, kFunctionError, kNotRun };

enum class EventEnd : std::uint8_t { kSuccess, kRetriesExhausted, kEventAgeExceeded };

struct EventVerdict {
  std::optional<EventEnd> end;  // nullopt: it will be tried again
  std::uint32_t tries = 0;      // that ran
};

class EventQueueCore {
 public:
  EventQueueCore(std::size_t events_max, std::size_t running_max)
      : events_max_(events_max), running_max_(running_max) {}

  // False at the bound. It runs when it has been kept, which whoever accepts it sees to.
  [[nodiscard]] bool accept(BootTime now, EventId id, const EventRule& rule);
  // It is on disk, or could not be put there and is forgotten. REQUIRES: accepted, neither yet.
  void kept(BootTime now, EventId id);
  void withdraw(EventId id);
  // Events to invoke now, oldest due first, within running_max; each must be reported by
  // finished().
  [[nodiscard]] std::vector<EventId> due(BootTime now);
  [[nodiscard]] EventVerdict finished(BootTime now, EventId id, EventOutcome outcome);
  // When due() has something again, unless everything that is due waits for one to finish.
  std::optional<BootTime> deadline() const;
  std::size_t size() const { return events_.size(); }
  std::size_t running() const { return running_; }

 private:
  struct Event {
    EventRule rule;
    BootTime accepted;
    std::uint32_t tries = 0, pauses = 0;
  };
  std::size_t events_max_, running_max_;
  std::map<EventId, Event> events_;
  std::set<std::pair<BootTime, EventId>> waiting_;
  std::size_t running_ = 0;
};

}  // namespace leeward::functions
