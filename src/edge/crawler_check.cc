#include "edge/crawler_check.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>

namespace leeward::edge {

CrawlerCheck::CrawlerCheck(CrawlerLookups lookups) : lookups_(std::move(lookups)) {
  for (std::size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { work(); });
}

CrawlerCheck::~CrawlerCheck() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::optional<CrawlerState> CrawlerCheck::state_of(const ClientAddress& client,
                                                   std::string_view user_agent, BootTime now) {
  const auto engine = claimed_engine(user_agent);
  if (!engine) return std::nullopt;
  CrawlerCache::Found found;
  {
    std::lock_guard lock(mutex_);
    found = cache_.find(*engine, client, now);
    if (found.ask && !enqueue({*engine, client})) {
      cache_.postpone(*engine, client);
      postponed_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  requests_[static_cast<std::size_t>(found.state)].fetch_add(1, std::memory_order_relaxed);
  return found.state;
}

CrawlerCheck::Network CrawlerCheck::network_of(const ClientAddress& client) {
  Network network;
  std::memcpy(network.data(), subscriber_network(client).bytes, network.size());
  return network;
}

bool CrawlerCheck::enqueue(const Job& job) {
  if (queue_.size() >= kQueueMax) return false;
  std::size_t& waiting = waiting_[network_of(job.client)];
  if (waiting >= kNetworkMax) return false;
  ++waiting;
  queue_.push_back(job);
  work_.notify_one();
  return true;
}

void CrawlerCheck::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    const Job job = queue_.front();
    queue_.pop_front();
    lock.unlock();
    const CrawlerVerdict verdict = judge_crawler(job.engine, job.client, lookups_);
    answers_[static_cast<std::size_t>(verdict.state)].fetch_add(1, std::memory_order_relaxed);
    lock.lock();
    cache_.learn(job.engine, job.client, verdict, BootClock::now());
    if (const auto at = waiting_.find(network_of(job.client)); --at->second == 0)
      waiting_.erase(at);
  }
}

std::string CrawlerCheck::prometheus_text() const {
  std::string out;
  auto to = std::back_inserter(out);
  const auto family = [&](std::string_view name, std::string_view help, const auto& counts) {
    fmt::format_to(to, "# HELP {0} {1}\n# TYPE {0} counter\n", name, help);
    for (std::size_t i = 0; i < counts.size(); ++i)
      fmt::format_to(to, "{}{{state=\"{}\"}} {}\n", name, edge::name(static_cast<CrawlerState>(i)),
                     counts[i].load(std::memory_order_relaxed));
  };
  family("leeward_crawler_requests_total",
         "Inspected requests that claim to be a search engine's, by what is known of it.",
         requests_);
  family("leeward_crawler_lookups_total",
         "Addresses that DNS was asked about, by what came out; unverified: it could not say.",
         answers_);
  fmt::format_to(to,
                 "# HELP leeward_crawler_postponed_total Requests of unknown crawlers for which "
                 "there was no room to ask DNS.\n"
                 "# TYPE leeward_crawler_postponed_total counter\n"
                 "leeward_crawler_postponed_total {}\n",
                 postponed_.load(std::memory_order_relaxed));
  return out;
}

}  // namespace leeward::edge
