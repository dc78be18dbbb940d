// Requests that the edge asks itself, so that its cache holds the answers before clients ask: each
// goes through route, cache and origins as a client's would, and its response is thrown away.
//
// Lives on one loop's thread. Bounds: kAtOnce requests run, kQueueMax wait; what comes above is not
// taken.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "edge/internal/downstream.h"
#include "edge/internal/loop.h"

namespace leeward::edge {

class Warmer {
 public:
  static constexpr std::size_t kAtOnce = 8;
  static constexpr std::size_t kQueueMax = 100'000;

  explicit Warmer(Loop& loop);
  ~Warmer();

  // "http://host/path" or "https://host/path"; returns how many were taken. What is no URL counts
  // as failed.
  std::size_t add(const std::vector<std::string>& urls);
  WarmProgress progress() const;

 private:
  class Visit;
  void next(Visit& visit);

  Loop& loop_;
  std::deque<std::string> queue_;
  std::vector<std::unique_ptr<Visit>> visits_;  // kAtOnce of them, made when first needed
  std::uint64_t warmed_ = 0, failed_ = 0;
};

}  // namespace leeward::edge
