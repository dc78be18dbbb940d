#include "edge/internal/warmer.h"

#include <algorithm>
#include <utility>

#include "edge/http1.h"
#include "edge/internal/exchange_flow.h"

namespace leeward::edge {

// One request at a time, as a client that takes everything at once.
class Warmer::Visit final : public Target, public Downstream {
 public:
  Visit(Warmer& warmer, Loop& loop) : warmer_(warmer), loop_(loop) {}

  bool idle() const { return exchange_ == nullptr; }

  // False: not a URL that could be asked for.
  bool begin(std::string_view url) {
    const bool https = url.starts_with("https://");
    if (!https && !url.starts_with("http://")) return false;
    url.remove_prefix(https ? 8 : 7);
    const std::size_t slash = std::min(url.find('/'), url.size());
    head_.assign("GET ").append(slash < url.size() ? url.substr(slash) : "/");
    head_.append(" HTTP/1.1\r\nHost: ").append(url.substr(0, slash));
    head_.append("\r\nUser-Agent: leeward-warm\r\n\r\n");
    Exchange& exchange = loop_.take_exchange();
    HeadScan scan;
    const Outcome outcome =
        parse_request(head_, loop_.snapshot().head_limits, scan, exchange.head());
    if (outcome.kind != Outcome::Kind::kDone || outcome.consumed != head_.size()) {
      loop_.give_exchange(exchange);
      return false;
    }
    exchange_ = &exchange;
    status_ = 0;
    aborted_ = false;
    exchange.start(*this, head_, {}, https, false);
    return true;
  }

  // Target
  void on_events(std::uint32_t) override {}
  void on_deferred() override {
    if (exchange_ != nullptr) {
      if (aborted_) std::exchange(exchange_, nullptr)->on_client_gone();
      if (exchange_ != nullptr) return;
    }
    (aborted_ || status_ >= 500 ? warmer_.failed_ : warmer_.warmed_) += 1;
    warmer_.next(*this);
  }

  // Downstream
  void send_interim(int, std::string_view) override {}
  void send_head(const ReplyHead& head) override { status_ = head.status; }
  void send_body(std::string_view) override {}
  std::size_t send_piece(const Body::Piece& piece, std::size_t size_max) override {
    return std::min(piece.size, size_max);
  }
  void send_end(std::string_view) override {}
  void abort() override {
    aborted_ = true;
    loop_.defer(*this);
  }
  bool wants_more() const override { return !aborted_; }
  void resume_body() override {}
  void exchange_done() override {
    exchange_ = nullptr;
    loop_.defer(*this);
  }
  void become_tunnel(std::span<const std::string_view>) override { abort(); }
  std::string_view ja4() const override { return {}; }
  std::string_view protocol() const override { return "1.1"; }

 private:
  Warmer& warmer_;
  Loop& loop_;
  std::string head_;
  Exchange* exchange_ = nullptr;
  int status_ = 0;
  bool aborted_ = false;
};

Warmer::Warmer(Loop& loop) : loop_(loop) {}
Warmer::~Warmer() = default;

std::size_t Warmer::add(const std::vector<std::string>& urls) {
  const std::size_t taken = std::min(urls.size(), kQueueMax - std::min(kQueueMax, queue_.size()));
  queue_.insert(queue_.end(), urls.begin(), urls.begin() + static_cast<std::ptrdiff_t>(taken));
  while (visits_.size() < kAtOnce) visits_.push_back(std::make_unique<Visit>(*this, loop_));
  for (auto& visit : visits_)
    if (visit->idle()) next(*visit);
  return taken;
}

void Warmer::next(Visit& visit) {
  while (!queue_.empty() && !loop_.draining()) {
    const std::string url = std::move(queue_.front());
    queue_.pop_front();
    if (visit.begin(url)) return;
    ++failed_;
  }
}

WarmProgress Warmer::progress() const {
  WarmProgress p{.waiting = queue_.size(), .under_way = 0, .warmed = warmed_, .failed = failed_};
  for (const auto& visit : visits_) p.under_way += visit->idle() ? 0 : 1;
  return p;
}

}  // namespace leeward::edge
