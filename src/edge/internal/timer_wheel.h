// Timers of one loop: arming, moving and disarming cost a few instructions, so that every
// connection can have one. Two wheels of 512 slots: 4 ms and 2 s a slot; what lies further away
// waits in the last slot of the second and is sorted in again. A timer that is moved to a later
// time stays where it is until its old time comes. Fires up to one slot late, never early.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/time.h"

namespace leeward::edge {

class TimerWheel;

// A place in a slot's ring.
class TimerLink {
 protected:
  friend class TimerWheel;
  void unlink() {
    if (next_ == nullptr) return;
    next_->previous_ = previous_;
    previous_->next_ = next_;
    next_ = previous_ = nullptr;
  }
  TimerLink* next_ = nullptr;
  TimerLink* previous_ = nullptr;
};

// Embedded in its owner, which is told by on_timer(); unlinks itself when destroyed.
class Timer : private TimerLink {
 public:
  class Owner {
   public:
    virtual void on_timer(Timer& timer) = 0;

   protected:
    ~Owner() = default;
  };

  explicit Timer(Owner& owner) : owner_(&owner) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { unlink(); }

  bool armed() const { return armed_; }
  BootTime deadline() const { return deadline_; }
  void disarm() { armed_ = false; }  // stays linked; its slot forgets it

 private:
  friend class TimerWheel;
  Owner* owner_;
  BootTime deadline_{};
  std::int64_t slot_time_ = 0;  // in ticks: when its slot comes
  bool armed_ = false;
};

class TimerWheel {
 public:
  static constexpr Duration kTick = 4ms;

  explicit TimerWheel(BootTime now) : start_(now) {
    for (auto* wheel : {&near_, &far_})
      for (TimerLink& head : *wheel) head.next_ = head.previous_ = &head;
  }
  ~TimerWheel() {
    for (auto* wheel : {&near_, &far_})
      for (TimerLink& head : *wheel)
        while (head.next_ != &head) head.next_->unlink();
  }

  void arm(Timer& timer, BootTime deadline) {
    timer.deadline_ = deadline;
    timer.armed_ = true;
    const std::int64_t tick = tick_of(deadline);
    if (timer.next_ != nullptr && timer.slot_time_ <= tick) return;
    timer.unlink();
    link(timer, tick);
  }

  // Fires everything that is due. Timers may be armed and disarmed meanwhile.
  void advance(BootTime now) {
    const std::int64_t until = (now - start_) / kTick;
    while (current_ < until) {
      ++current_;
      if (current_ % kSlots == 0)
        empty(far_[static_cast<std::size_t>(current_ / kSlots) % kSlots], now);
      empty(near_[static_cast<std::size_t>(current_) % kSlots], now);
    }
  }

 private:
  static constexpr std::size_t kSlots = 512;

  std::int64_t tick_of(BootTime t) const { return (t - start_ + kTick - Duration(1)) / kTick; }

  void link(Timer& timer, std::int64_t tick) {
    const auto slots = static_cast<std::int64_t>(kSlots);
    tick = std::max(tick, current_ + 1);
    TimerLink* head = nullptr;
    if (tick - current_ < slots) {
      head = &near_[static_cast<std::size_t>(tick) % kSlots];
    } else {
      const std::int64_t round = std::min(tick / slots, current_ / slots + slots - 1);
      tick = round * slots;
      head = &far_[static_cast<std::size_t>(round) % kSlots];
    }
    timer.slot_time_ = tick;
    timer.next_ = head;
    timer.previous_ = head->previous_;
    head->previous_->next_ = &timer;
    head->previous_ = &timer;
  }

  void empty(TimerLink& head, BootTime now) {
    // Only what is here now: a timer that fires may be armed again, into this slot of the next
    // round.
    TimerLink mine;
    mine.next_ = mine.previous_ = &mine;
    if (head.next_ != &head) {
      mine.next_ = head.next_;
      mine.previous_ = head.previous_;
      mine.next_->previous_ = mine.previous_->next_ = &mine;
      head.next_ = head.previous_ = &head;
    }
    while (mine.next_ != &mine) {
      auto& timer = static_cast<Timer&>(*mine.next_);
      timer.unlink();
      if (!timer.armed_) continue;
      if (timer.deadline_ > now) {
        link(timer, tick_of(timer.deadline_));
        continue;
      }
      timer.armed_ = false;
      timer.owner_->on_timer(timer);
    }
  }

  BootTime start_;
  std::int64_t current_ = 0;
  std::array<TimerLink, kSlots> near_;
  std::array<TimerLink, kSlots> far_;
};

}  // namespace leeward::edge
