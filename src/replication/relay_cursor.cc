#include <algorithm>

#include "replication/internal/segment.h"
#include "replication/relay_log.h"

namespace leeward::replication {

class RelayCursor::Impl {
 public:
  Impl(RelayLog& log, std::uint64_t segment, mysql::StreamPosition start)
      : log_(log), segment_(segment), tracker_(std::move(start)) {}

  // Transactions to leave out: those that begin before `from_`, or that `after_` includes.
  std::uint64_t from_ = 0;
  mysql::StreamPosition after_;

  Result<std::optional<RelayEvent>> next(BootTime deadline) {
    for (;;) {
      auto event = read(deadline);
      if (!event) return fail(std::move(event.error()));
      if (!*event) return std::nullopt;
      RelayEvent& found = **event;
      std::uint64_t log_before = tracker_.position().log.offset;
      auto place = tracker_.take(found.event);
      if (!place) return fail(std::move(place.error()).wrap("relay log"));
      if (!tracker_.inside()) whole_ = found.end;
      if (*place == mysql::Place::kOutside || *place == mysql::Place::kWithdrawn) continue;
      if (*place == mysql::Place::kBegin || *place == mysql::Place::kWhole)
        skipping_ = found.begin.value < from_ || seen(log_before);
      found.place = *place;
      if (!skipping_) return event;
    }
  }

  RelayPosition position() const { return {tracker_.position(), whole_}; }
  const std::string& format() const { return reader_->format(); }
  const mysql::TransactionId& transaction() const { return tracker_.transaction(); }

 private:
  // Whether `after_` includes the transaction that has just begun, at `log_offset` of the source's
  // log.
  bool seen(std::uint64_t log_offset) const {
    if (includes(after_, tracker_.transaction())) return true;
    bool by_log =
        after_.gtids.domains.empty() && after_.executed.empty() && !after_.log.file.empty();
    return by_log && mysql::LogPosition{tracker_.position().log.file, log_offset} < after_.log;
  }

  // The next event of any kind that is durable and belongs to what is whole.
  Result<std::optional<RelayEvent>> read(BootTime deadline) {
    for (;;) {
      std::uint64_t limit = 0;
      std::optional<std::uint64_t> following;
      {
        std::unique_lock lock(log_.mutex_);
        bool ready = log_.changed_.wait_until(lock, deadline, [&] {
          return !log_.segments_.empty() && log_.durable_.offset.value > at();
        });
        if (!ready) return std::nullopt;
        auto next = log_.segments_.upper_bound(segment_);
        if (next != log_.segments_.end()) following = next->first;
        limit = following ? *following : log_.durable_.offset.value;
      }
      if (!reader_) {
        auto reader = internal::SegmentReader::open(log_.path(segment_));
        if (!reader) return fail(std::move(reader.error()).wrap("relay log"));
        reader_ = std::move(*reader);
        continue;
      }
      std::uint64_t begin = at();
      if (following && begin == *following) {
        segment_ = *following;
        reader_.reset();
        continue;
      }
      auto event = reader_->next(limit - segment_);
      if (!event) return fail(std::move(event.error()).wrap("relay log"));
      if (!*event) continue;
      return RelayEvent{**event, mysql::Place::kInside, RelayOffset{begin}, RelayOffset{at()}};
    }
  }

  std::uint64_t at() const { return segment_ + (reader_ ? reader_->at() : 0); }

  RelayLog& log_;
  std::uint64_t segment_;
  std::unique_ptr<internal::SegmentReader> reader_;
  mysql::StreamTracker tracker_;
  RelayOffset whole_;
  bool skipping_ = false;
};

RelayCursor::RelayCursor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RelayCursor::~RelayCursor() = default;

Result<std::optional<RelayEvent>> RelayCursor::next(BootTime deadline) {
  return impl_->next(deadline);
}
const std::string& RelayCursor::format() const { return impl_->format(); }
const mysql::TransactionId& RelayCursor::transaction() const { return impl_->transaction(); }
RelayPosition RelayCursor::position() const { return impl_->position(); }

Result<std::unique_ptr<RelayCursor>> RelayLog::read_from(RelayOffset offset) {
  std::lock_guard lock(mutex_);
  std::uint64_t first = segments_.empty() ? 0 : segments_.begin()->first;
  if (offset.value < first || offset.value > durable_.offset.value)
    return fail(Code::kNotFound, "relay log {}: offset {} is not in it; it has {} to {}",
                options_.directory, offset.value, first, durable_.offset.value);
  std::uint64_t segment = 0;
  mysql::StreamPosition start = durable_.stream;
  if (!segments_.empty()) {
    auto found = std::prev(segments_.upper_bound(offset.value));
    segment = found->first;
    start = found->second.start;
  }
  auto impl = std::make_unique<RelayCursor::Impl>(*this, segment, std::move(start));
  impl->from_ = offset.value;
  return std::unique_ptr<RelayCursor>(new RelayCursor(std::move(impl)));
}

Result<std::unique_ptr<RelayCursor>> RelayLog::read_after(const mysql::StreamPosition& position) {
  // Who has seen nothing misses nothing where nothing with a GTID lies before.
  auto seen = [&](const mysql::StreamPosition& start) {
    return includes(position, start) || (position == mysql::StreamPosition{} &&
                                         start.gtids.domains.empty() && start.executed.empty());
  };
  std::lock_guard lock(mutex_);
  std::uint64_t segment = 0;
  mysql::StreamPosition start = durable_.stream;
  if (!segments_.empty()) {
    auto found = std::find_if(segments_.rbegin(), segments_.rend(),
                              [&](const auto& entry) { return seen(entry.second.start); });
    const Segment& from = found == segments_.rend() ? segments_.begin()->second : found->second;
    segment = from.offset;
    start = from.start;
  }
  if (!seen(start))
    return fail(Code::kNotFound,
                "relay log {}: it begins after {}, and the target stands at {}: what is between is "
                "no longer here; seed the target again",
                options_.directory, to_string(start), to_string(position));
  auto impl = std::make_unique<RelayCursor::Impl>(*this, segment, std::move(start));
  impl->after_ = position;
  return std::unique_ptr<RelayCursor>(new RelayCursor(std::move(impl)));
}

}  // namespace leeward::replication
