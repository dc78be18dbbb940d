#include "app/rejoin_watch.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leeward::app {

void RejoinWatch::begin(BootTime now, bool reseed) {
  std::lock_guard lock(mutex_);
  state_ = State::kRunning;
  ++number_;
  reseed_ = reseed;
  at_ = {};
  began_ = ended_ = now;
  copying_since_ = copied_at_ = {};
  outcome_.clear();
  why_.clear();
}

void RejoinWatch::progress(BootTime now, const database::FollowProgress& progress) {
  std::lock_guard lock(mutex_);
  at_ = progress;
  if (progress.bytes == 0) return;
  if (copying_since_ == BootTime{}) copying_since_ = now;
  copied_at_ = now;
}

void RejoinWatch::end(BootTime now, const Result<database::FollowOutcome>& outcome) {
  std::lock_guard lock(mutex_);
  constexpr std::string_view kKinds[] = {"streaming", "rewound", "reseeded"};
  state_ = outcome ? State::kDone : State::kFailed;
  ended_ = now;
  if (outcome) outcome_ = kKinds[static_cast<std::size_t>(outcome->kind)];
  why_ = outcome ? outcome->why_reseeded : outcome.error().message;
}

bool RejoinWatch::running() const {
  std::lock_guard lock(mutex_);
  return state_ == State::kRunning;
}

std::string RejoinWatch::json(BootTime now) const {
  std::lock_guard lock(mutex_);
  constexpr std::string_view kStates[] = {"none", "running", "done", "failed"};
  bool running = state_ == State::kRunning;
  double copying = seconds(copied_at_ - copying_since_);
  double rate = copying > 0 ? static_cast<double>(at_.rows) / copying : 0;
  nlohmann::json json{{"number", number_},
                      {"state", kStates[static_cast<std::size_t>(state_)]},
                      {"reseed", reseed_},
                      {"phase", state_ == State::kNone ? "" : database::name(at_.phase)},
                      {"seconds", seconds((running ? now : ended_) - began_)},
                      {"transactions", at_.transactions},
                      {"bytes", at_.bytes},
                      {"rows", at_.rows},
                      {"rows_total", std::max(at_.rows_total, at_.rows)},
                      {"rows_per_second", rate},
                      {"seconds_left", nullptr},
                      {"outcome", outcome_.empty() ? nlohmann::json() : nlohmann::json(outcome_)},
                      {"why", why_}};
  bool estimated = running && rate > 0 && at_.rows_total > at_.rows;
  if (estimated) json["seconds_left"] = static_cast<double>(at_.rows_total - at_.rows) / rate;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace leeward::app
