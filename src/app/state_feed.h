// Follows the service record by long poll, for agents and DNS servers. When control cannot be
// reached it tries again, and its owner goes on with the last known record.
#pragma once

#include <functional>
#include <string>

#include "app/context.h"
#include "model/record.h"
#include "net/http.h"

namespace leeward::app {

class StateFeed {
 public:
  // `on_record` runs on the loop after each answer, changed or not: an answer is also a sign of
  // life of control. `dns_epoch` (may be empty) is the epoch that this site's DNS server answers
  // with; it goes along with each poll. All must outlive the feed.
  StateFeed(net::EventLoop& loop, net::HttpClient& http, const Context& context,
            std::function<void(const ServiceRecord&)> on_record,
            std::function<Epoch()> dns_epoch = {});
  ~StateFeed();
  StateFeed(const StateFeed&) = delete;
  StateFeed& operator=(const StateFeed&) = delete;

  bool connected() const { return connected_; }

 private:
  void poll();
  void received(Result<net::HttpResponse> response);
  void again(Duration delay);

  static constexpr Duration kWait = 1s;  // also how often control's life is noticed
  static constexpr Duration kTimeout = 2s;
  static constexpr Duration kRetry = 100ms;

  net::EventLoop& loop_;
  net::HttpClient& http_;
  const Context& context_;
  Logger logger_;
  std::function<void(const ServiceRecord&)> on_record_;
  std::function<Epoch()> dns_epoch_;
  std::uint64_t version_ = 0;
  bool connected_ = false;
  bool said_lost_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace leeward::app
