// Verifies crawlers by DNS (crawlers.h) beside the requests: a request is told what is known, and
// never waits; what is not known is asked on threads of its own, once for all requests.
//
// Bounds: kQueueMax addresses wait to be asked about, kNetworkMax of them of one network (/24,
// /64), so that whoever claims from many addresses does not keep others from being verified; what
// finds no room stays unverified until its next request.
//
// Threads: everything may be called from any thread.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "edge/crawlers.h"

namespace leeward::edge {

class CrawlerCheck {
 public:
  static constexpr std::size_t kThreads = 2;
  static constexpr std::size_t kQueueMax = 256;
  static constexpr std::size_t kNetworkMax = 8;

  // `lookups` are called on several threads at a time, and may block.
  explicit CrawlerCheck(CrawlerLookups lookups);
  ~CrawlerCheck();  // waits for the questions that are under way
  CrawlerCheck(const CrawlerCheck&) = delete;
  CrawlerCheck& operator=(const CrawlerCheck&) = delete;

  // Nothing: it claims to be no engine's crawler.
  std::optional<CrawlerState> state_of(const ClientAddress& client, std::string_view user_agent,
                                       BootTime now);
  std::string prometheus_text() const;

 private:
  struct Job {
    SearchEngine engine;
    ClientAddress client;
  };
  using Network = std::array<std::uint8_t, 16>;
  static Network network_of(const ClientAddress& client);
  bool enqueue(const Job& job);  // under the lock
  void work();

  const CrawlerLookups lookups_;
  std::atomic<bool> stop_{false};
  using Counts = std::array<std::atomic<std::uint64_t>, kCrawlerStates.size()>;
  Counts requests_{}, answers_{};
  std::atomic<std::uint64_t> postponed_{0};
  std::mutex mutex_;  // of what follows
  std::condition_variable work_;
  CrawlerCache cache_;
  std::deque<Job> queue_;
  std::map<Network, std::size_t> waiting_;  // of queue_, and those that are asked about now
  std::vector<std::thread> threads_;
};

}  // namespace leeward::edge
