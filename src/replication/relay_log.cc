#include "replication/relay_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "replication/internal/segment.h"

namespace leeward::replication {
namespace {

constexpr std::string_view kPrefix = "relay.";
constexpr std::size_t kPendingBytes = 1u << 20;
constexpr std::size_t kSizeOffset = 9;  // in the common header

std::optional<std::uint64_t> offset_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::uint64_t offset = 0;
  const char* end = name.data() + name.size();
  auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, offset);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return offset;
}

Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(os_error(errno, "relay log: write " + path));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Status sync_directory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0)
    return fail(os_error(errno, "relay log: sync directory " + path));
  return {};
}

// The same event with room for a checksum counted in its size; the checksum itself is to follow.
std::string with_checksum_size(std::string_view bytes, std::uint64_t size) {
  std::string event(bytes);
  auto grown = static_cast<std::uint32_t>(size + mysql::kEventChecksumBytes);
  for (std::size_t i = 0; i < 4; ++i) event[kSizeOffset + i] = static_cast<char>(grown >> 8 * i);
  return event;
}

std::string checksum_bytes(std::uint32_t sum) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(sum >> 8 * i);
  return bytes;
}

}  // namespace

RelayLog::RelayLog(RelayOptions options, mysql::StreamPosition start)
    : options_(std::move(options)), tracker_(std::move(start)) {
  received_ = durable_ = {tracker_.position(), {}};
}

RelayLog::~RelayLog() = default;

std::string RelayLog::path(std::uint64_t offset) const {
  return fmt::format("{}/{}{:020}", options_.directory, kPrefix, offset);
}

Result<std::unique_ptr<RelayLog>> RelayLog::open(RelayOptions options,
                                                 mysql::StreamPosition start) {
  if (options.segment_bytes == 0 || options.total_bytes_max / 4 < options.segment_bytes)
    return fail(Code::kInvalid, "relay log: {} bytes are less than four segments of {}",
                options.total_bytes_max, options.segment_bytes);
  if (auto made = make_directories(options.directory); !made) return fail(std::move(made.error()));
  std::unique_ptr<RelayLog> log(new RelayLog(std::move(options), std::move(start)));
  auto lock = lock_file(log->options_.directory + "/lock");
  if (!lock) return fail(std::move(lock.error()).wrap("relay log"));
  log->lock_ = std::move(*lock);
  if (auto recovered = log->recover(); !recovered) return fail(std::move(recovered.error()));
  return log;
}

Status RelayLog::recover() {
  std::error_code wrong;
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory, wrong))
    if (auto offset = offset_of(entry.path().filename()))
      segments_[*offset] = {*offset, entry.file_size(wrong), {}};
  if (wrong) return fail(Code::kIo, "relay log: read {}: {}", options_.directory, wrong.message());
  while (!segments_.empty()) {
    auto kept = recover_last();
    if (!kept) return fail(std::move(kept.error()));
    if (*kept) break;
  }
  std::uint64_t expected = segments_.empty() ? 0 : segments_.begin()->first;
  for (auto& [offset, segment] : segments_) {
    if (offset != expected)
      return fail(Code::kCorrupt, "relay log: segment {} should begin at {}; seed the target again",
                  path(offset), expected);
    expected = offset + segment.bytes;
    auto reader = internal::SegmentReader::open(path(offset));
    if (!reader) return fail(std::move(reader.error()).wrap("relay log"));
    segment.start = (*reader)->start();
  }
  return {};
}

// Cuts the last segment behind its last whole transaction and goes on there. False when it has
// none: it was begun before a crash, and is removed.
Result<bool> RelayLog::recover_last() {
  Segment& last = segments_.rbegin()->second;
  std::string name = path(last.offset);
  mysql::StreamTracker tracker;
  std::uint64_t whole = 0;
  std::string reason = "it ends inside a transaction";
  std::string format_event;
  if (auto reader = internal::SegmentReader::open(name)) {
    tracker = mysql::StreamTracker((*reader)->start());
    std::uint64_t limit = (*reader)->file_bytes();
    for (;;) {
      auto event = (*reader)->next(limit);
      if (!event && event.error().code == Code::kIo) return fail(std::move(event.error()));
      auto place = event && *event ? tracker.take(**event) : mysql::Place::kOutside;
      if (!event || !*event || !place) {
        if (!event) reason = event.error().message;
        if (!place) reason = place.error().message;
        break;
      }
      if (*place == mysql::Place::kEnd || *place == mysql::Place::kWhole) whole = (*reader)->at();
    }
    auto format = mysql::parse_event_head((*reader)->format());
    if (!format) return fail(std::move(format.error()));
    format_ = internal::format_key(*format);
    format_event =
        internal::make_event(format->type, format->server, format->time, 0, format->body);
  } else if (reader.error().code == Code::kCorrupt) {
    reason = reader.error().message;
  } else {
    return fail(std::move(reader.error()).wrap("relay log"));
  }
  if (whole < last.bytes)
    cut_ =
        fmt::format("{} bytes behind byte {} of {}: {}", last.bytes - whole, whole, name, reason);
  if (whole == 0) {
    if (::unlink(name.c_str()) != 0) return fail(os_error(errno, "relay log: remove " + name));
    segments_.erase(last.offset);
    format_.clear();
    return false;
  }
  file_.reset(::open(name.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!file_.valid()) return fail(os_error(errno, "relay log: open " + name));
  if (::ftruncate(file_.get(), static_cast<off_t>(whole)) != 0 || ::fsync(file_.get()) != 0)
    return fail(os_error(errno, "relay log: cut " + name));
  tracker.withdraw();
  tracker_ = std::move(tracker);
  last.bytes = whole;
  segment_ = last.offset;
  format_event_ = std::move(format_event);
  end_ = whole_ = written_ = last.offset + whole;
  received_ = durable_ = {tracker_.position(), {end_}};
  return true;
}

Status RelayLog::begin_segment(const mysql::Event& format) {
  if (file_.valid())
    if (auto synced = sync(); !synced) return fail(std::move(synced.error()));
  std::uint64_t offset = end_;
  std::string name = path(offset);
  std::string head = internal::segment_head(format, tracker_.position());
  UniqueFd file(::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!file.valid()) return fail(os_error(errno, "relay log: create " + name));
  Status written = write_all(file.get(), head, name);
  if (written && ::fsync(file.get()) != 0)
    written = fail(os_error(errno, "relay log: sync " + name));
  if (written) written = sync_directory(options_.directory);
  if (!written) {
    ::unlink(name.c_str());
    return written;
  }
  file_ = std::move(file);
  segment_ = offset;
  format_ = internal::format_key(format);
  format_event_ = internal::make_event(format.type, format.server, format.time, 0, format.body);
  end_ += head.size();
  whole_ = written_ = end_;
  std::lock_guard lock(mutex_);
  if (!segments_.empty())
    segments_.rbegin()->second.bytes = offset - segments_.rbegin()->second.offset;
  segments_[offset] = {offset, 0, tracker_.position()};
  received_ = durable_ = {tracker_.position(), {end_}};
  return {};
}

Status RelayLog::append(const mysql::Received& received) {
  if (failed_)
    return fail(Code::kConflict, "relay log: withdraw what was appended before going on");
  std::uint64_t before = written_;
  Status done = append_part(received);
  failed_ = !done;
  if (done && written_ != before) {
    std::lock_guard lock(mutex_);
    received_ = {tracker_.position(), {whole_}};
  }
  return done;
}

Status RelayLog::append_part(const mysql::Received& received) {
  const mysql::Event& event = received.event;
  bool one_piece = received.first && received.last;
  if (one_piece) {
    bool noted = event.artificial() || event.type == mysql::EventType::kHeartbeat ||
                 event.type == mysql::EventType::kHeartbeatV2;
    bool written_down = !noted && event.type != mysql::EventType::kFormatDescription;
    // Before the tracker moves on: a segment begins with the position in front of the event.
    if (written_down)
      if (auto ready = ready_segment(); !ready) return ready;
    auto place = tracker_.take(event);
    if (!place) return fail(std::move(place.error()));
    if (*place == mysql::Place::kWithdrawn)
      if (auto cut = cut_to(whole_); !cut) return cut;
    if (event.type == mysql::EventType::kFormatDescription) return take_format(event);
    if (noted) return {};
    Status written = received.checksummed ? buffer(received.part) : buffer_with_checksum(received);
    if (written && !tracker_.inside()) whole_ = end_;
    return written;
  }
  if (received.first) {
    if (auto ready = ready_segment(); !ready) return ready;
    summed_ = 0;
  }
  if (received.checksummed) {
    if (auto written = buffer(received.part); !written) return written;
  } else {
    std::string_view part = received.part;
    std::string head;
    if (received.first) part = head = with_checksum_size(part, received.size);
    summed_ = mysql::crc32(part, summed_);
    if (auto written = buffer(part); !written) return written;
    if (received.last)
      if (auto written = buffer(checksum_bytes(summed_)); !written) return written;
  }
  if (!received.last) return {};
  auto place = tracker_.take(event);
  if (!place) return fail(std::move(place.error()));
  if (!tracker_.inside()) whole_ = end_;
  return {};
}

Status RelayLog::take_format(const mysql::Event& event) {
  // A source sends one at each new log and at each connection; most say the same.
  if (file_.valid() && internal::format_key(event) == format_) return {};
  return begin_segment(event);
}

// The segment for the next event: a new one if the present one is large enough and no transaction
// is open.
Status RelayLog::ready_segment() {
  if (!file_.valid())
    return fail(Code::kCorrupt, "relay log: the stream begins without a format description");
  if (tracker_.inside() || end_ - segment_ < options_.segment_bytes) return {};
  auto format = mysql::parse_event(format_event_, true);
  if (!format) return fail(std::move(format.error()));
  return begin_segment(*format);
}

Status RelayLog::buffer_with_checksum(const mysql::Received& received) {
  std::string event = with_checksum_size(received.part, received.size);
  return buffer(event + checksum_bytes(mysql::crc32(event)));
}

Status RelayLog::buffer(std::string_view bytes) {
  end_ += bytes.size();
  if (bytes.size() >= kPendingBytes) {
    if (auto flushed = flush(); !flushed) return flushed;
    if (auto written = write_all(file_.get(), bytes, options_.directory); !written) return written;
    written_ += bytes.size();
    return {};
  }
  pending_ += bytes;
  return pending_.size() < kPendingBytes ? Status() : flush();
}

Status RelayLog::flush() {
  if (pending_.empty()) return {};
  if (auto written = write_all(file_.get(), pending_, options_.directory); !written) return written;
  written_ += pending_.size();
  pending_.clear();
  return {};
}

Result<RelayPosition> RelayLog::sync() {
  if (failed_)
    return fail(Code::kConflict, "relay log: withdraw what was appended before going on");
  failed_ = true;  // until done
  if (auto flushed = flush(); !flushed) return fail(std::move(flushed.error()));
  if (file_.valid() && synced_ != end_ && ::fdatasync(file_.get()) != 0)
    return fail(os_error(errno, "relay log: sync " + options_.directory));
  failed_ = false;
  synced_ = end_;
  std::lock_guard lock(mutex_);
  received_ = durable_ = {tracker_.position(), {whole_}};
  changed_.notify_all();
  return durable_;
}

Status RelayLog::cut_to(std::uint64_t offset) {
  if (offset >= written_) {
    pending_.resize(static_cast<std::size_t>(offset - written_));
  } else {
    pending_.clear();
    if (::ftruncate(file_.get(), static_cast<off_t>(offset - segment_)) != 0)
      return fail(os_error(errno, "relay log: cut " + path(segment_)));
    written_ = offset;
    synced_ = std::min(synced_, offset);
  }
  end_ = whole_ = offset;
  return {};
}

Status RelayLog::withdraw() {
  std::uint64_t keep = whole_;
  if (failed_) {
    // What was written since the last good sync may or may not be on disk.
    std::lock_guard lock(mutex_);
    keep = durable_.offset.value;
    tracker_ = mysql::StreamTracker(durable_.stream);
    received_ = durable_;
    // A write that failed in the middle has left bytes behind written_.
    written_ = std::max(written_, keep + 1);
  } else {
    tracker_.withdraw();
  }
  if (file_.valid())
    if (auto cut = cut_to(keep); !cut) return cut;
  failed_ = false;
  std::lock_guard lock(mutex_);
  received_ = {tracker_.position(), {whole_}};
  return {};
}

RelayPosition RelayLog::received() const {
  std::lock_guard lock(mutex_);
  return received_;
}

RelayPosition RelayLog::durable() const {
  std::lock_guard lock(mutex_);
  return durable_;
}

std::uint64_t RelayLog::bytes() const {
  std::lock_guard lock(mutex_);
  return segments_.empty() ? 0 : received_.offset.value - segments_.begin()->first;
}

bool RelayLog::wait_for_room(BootTime deadline) {
  if (tracker_.inside()) return true;
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline,
                             [&] { return end_ - applied_ < options_.total_bytes_max; });
}

Status RelayLog::purge(RelayOffset applied) {
  std::vector<std::uint64_t> old;
  {
    std::lock_guard lock(mutex_);
    applied_ = std::max(applied_, std::min(applied.value, durable_.offset.value));
    while (segments_.size() > 1 && std::next(segments_.begin())->first <= applied_) {
      old.push_back(segments_.begin()->first);
      segments_.erase(segments_.begin());
    }
    changed_.notify_all();
  }
  for (std::uint64_t offset : old)
    if (::unlink(path(offset).c_str()) != 0 && errno != ENOENT)
      return fail(os_error(errno, "relay log: remove " + path(offset)));
  return {};
}

}  // namespace leeward::replication
