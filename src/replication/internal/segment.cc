#include "replication/internal/segment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace leeward::replication::internal {
namespace {

constexpr std::string_view kMagic =
    "\xfe"
    "bin";
constexpr std::size_t kReadBytes = 1u << 20;
// Behind the version and the server's name: the time of creation.
constexpr std::size_t kCreatedOffset = 2 + 50, kCreatedBytes = 4;

std::string little(std::uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> 8 * i);
  return bytes;
}

bool belongs_to_head(const mysql::Event& event) {
  return event.artificial() &&
         (event.type == mysql::EventType::kRotate || event.type == mysql::EventType::kGtidList ||
          event.type == mysql::EventType::kPreviousGtids);
}

}  // namespace

std::string make_event(mysql::EventType type, std::uint32_t server, std::uint32_t time,
                       std::uint16_t flags, std::string_view body) {
  std::string event = little(time, 4);
  event += static_cast<char>(type);
  event += little(server, 4);
  event += little(mysql::kEventHeaderBytes + body.size() + mysql::kEventChecksumBytes, 4);
  event += little(0, 4);
  event += little(flags, 2);
  event += body;
  event += little(mysql::crc32(event), mysql::kEventChecksumBytes);
  return event;
}

std::string format_key(const mysql::Event& format) {
  std::string key(format.body);
  key.replace(kCreatedOffset, kCreatedBytes, kCreatedBytes, '\0');
  key.back() = 1;  // checksum algorithm: CRC32
  return key;
}

std::string segment_head(const mysql::Event& format, const mysql::StreamPosition& start) {
  using mysql::EventType;
  std::string head(kMagic);
  std::string body(format.body);
  body.back() = 1;
  head += make_event(EventType::kFormatDescription, format.server, format.time, 0, body);
  auto add = [&](EventType type, std::uint16_t more_flags, const std::string& text) {
    auto flags = static_cast<std::uint16_t>(mysql::kEventArtificial | more_flags);
    head += make_event(type, format.server, 0, flags, text);
  };
  if (!start.log.file.empty())
    add(EventType::kRotate, 0, little(start.log.offset, 8) + start.log.file);
  if (!start.gtids.domains.empty()) {
    std::string list = little(start.gtids.domains.size(), 4);
    for (const auto& [domain, gtid] : start.gtids.domains)
      list += little(domain, 4) + little(gtid.server, 4) + little(gtid.sequence, 8);
    add(EventType::kGtidList, 0, list);
  }
  if (!start.executed.empty())
    add(EventType::kPreviousGtids, mysql::kEventIgnorable, encode_gtid_set(start.executed));
  return head;
}

Result<std::unique_ptr<SegmentReader>> SegmentReader::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail(os_error(errno, "open " + path));
  std::unique_ptr<SegmentReader> reader(new SegmentReader(path, std::move(fd)));
  if (auto head = reader->read_head(); !head) return fail(std::move(head.error()));
  return reader;
}

std::uint64_t SegmentReader::file_bytes() const {
  struct stat status {};
  return ::fstat(fd_.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

Status SegmentReader::read_head() {
  std::uint64_t limit = file_bytes();
  auto magic = peek(kMagic.size(), limit);
  if (!magic) return fail(std::move(magic.error()));
  if (*magic != kMagic) return fail(Code::kCorrupt, "{} is no segment of a relay log", path_);
  at_ = kMagic.size();
  auto format = next(limit);
  if (!format) return fail(std::move(format.error()));
  if (!*format || (*format)->type != mysql::EventType::kFormatDescription)
    return fail(Code::kCorrupt, "{} has no format description", path_);
  auto known = mysql::parse_format_description(**format);
  if (!known) return fail(std::move(known.error()).wrap(path_));
  if (!known->checksums) return fail(Code::kCorrupt, "{} has no checksums", path_);
  format_ = (*format)->bytes;
  for (;;) {
    std::uint64_t before = at_;
    auto event = next(limit);
    // What is torn behind the head is found again by who reads on.
    if (!event || !*event || !belongs_to_head(**event)) {
      at_ = before;
      return {};
    }
    if ((*event)->type == mysql::EventType::kRotate) {
      auto log = mysql::parse_rotate(**event);
      if (!log) return fail(std::move(log.error()).wrap(path_));
      start_.log = std::move(*log);
    } else if ((*event)->type == mysql::EventType::kGtidList) {
      auto gtids = mysql::parse_gtid_list(**event);
      if (!gtids) return fail(std::move(gtids.error()).wrap(path_));
      start_.gtids = std::move(*gtids);
    } else {
      auto executed = mysql::parse_previous_gtids(**event);
      if (!executed) return fail(std::move(executed.error()).wrap(path_));
      start_.executed = std::move(*executed);
    }
  }
}

Result<std::string_view> SegmentReader::peek(std::size_t size, std::uint64_t limit) {
  std::uint64_t there = limit > at_ ? limit - at_ : 0;
  size = static_cast<std::size_t>(std::min<std::uint64_t>(size, there));
  std::uint64_t buffer_end = buffer_at_ + buffer_.size();
  if (at_ < buffer_at_ || at_ + size > buffer_end) {
    std::size_t keep =
        at_ >= buffer_at_ && at_ < buffer_end ? static_cast<std::size_t>(buffer_end - at_) : 0;
    buffer_.erase(0, buffer_.size() - keep);
    buffer_at_ = at_;
    std::size_t wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(std::max(size, kReadBytes), there));
    if (buffer_.capacity() > 4 * kReadBytes && wanted <= kReadBytes) buffer_.shrink_to_fit();
    while (buffer_.size() < wanted) {
      std::size_t had = buffer_.size();
      buffer_.resize(wanted);
      ssize_t count = ::pread(fd_.get(), buffer_.data() + had, wanted - had,
                              static_cast<off_t>(buffer_at_ + had));
      int wrong = count < 0 ? errno : 0;
      buffer_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
      if (wrong == EINTR) continue;
      if (wrong != 0) return fail(os_error(wrong, "read " + path_));
      if (count == 0)
        return fail(Code::kCorrupt, "{} ends at byte {}, before {}", path_, buffer_at_ + had,
                    limit);
    }
  }
  return std::string_view(buffer_).substr(static_cast<std::size_t>(at_ - buffer_at_), size);
}

Result<std::optional<mysql::Event>> SegmentReader::next(std::uint64_t limit) {
  auto torn = [&] { return fail(Code::kCorrupt, "{}, byte {}: an event is cut off", path_, at_); };
  auto head = peek(mysql::kEventHeaderBytes, limit);
  if (!head) return fail(std::move(head.error()));
  if (head->empty()) return std::nullopt;
  if (head->size() < mysql::kEventHeaderBytes) return torn();
  std::uint32_t size = mysql::event_size(*head);
  if (size > limit - at_) return torn();
  auto bytes = peek(size, limit);
  if (!bytes) return fail(std::move(bytes.error()));
  auto event = mysql::parse_event(*bytes, true);
  if (!event) return fail(std::move(event.error()).wrap(fmt::format("{}, byte {}", path_, at_)));
  at_ += size;
  return std::optional(*event);
}

}  // namespace leeward::replication::internal
