#include "mysql/gtid_set.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>

#include "mysql/bytes.h"

namespace leeward::mysql {
namespace {

// The server's own limit: numbers are signed, and the end of an interval is one behind its last.
constexpr std::uint64_t kNumberMax = INT64_MAX - 1;

std::optional<Uuid> parse_uuid(std::string_view text) {
  constexpr std::size_t kTextBytes = 36;
  if (text.size() != kTextBytes) return std::nullopt;
  Uuid uuid;
  std::size_t at = 0;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      if (text[at++] != '-') return std::nullopt;
    auto end = text.data() + at + 2;
    if (auto [stop, error] = std::from_chars(text.data() + at, end, uuid[i], 16);
        error != std::errc{} || stop != end)
      return std::nullopt;
    at += 2;
  }
  return uuid;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// "5" or "5-9".
std::optional<GtidSet::Interval> parse_interval(std::string_view text) {
  GtidSet::Interval interval;
  const char* end = text.data() + text.size();
  auto [dash, error] = std::from_chars(text.data(), end, interval.first);
  if (error != std::errc{}) return std::nullopt;
  interval.last = interval.first;
  if (dash != end) {
    if (*dash != '-') return std::nullopt;
    auto [stop, wrong] = std::from_chars(dash + 1, end, interval.last);
    if (wrong != std::errc{} || stop != end) return std::nullopt;
  }
  if (interval.first == 0 || interval.last < interval.first || interval.last > kNumberMax)
    return std::nullopt;
  return interval;
}

void append_little(std::string& bytes, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> 8 * i);
}

}  // namespace

std::string to_string(const Uuid& uuid) {
  std::string text;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", uuid[i]);
  }
  return text;
}

std::string to_string(const MysqlGtid& gtid) {
  return fmt::format("{}:{}", to_string(gtid.source), gtid.number);
}

bool GtidSet::add(const Uuid& source, Interval interval) {
  auto& intervals = sources_[source];
  // The usual case: the next transaction of a source extends its last interval.
  if (!intervals.empty() && intervals.back().last + 1 == interval.first) {
    intervals.back().last = interval.last;
    return true;
  }
  // All that overlap or touch melt into one.
  auto first = std::find_if(intervals.begin(), intervals.end(), [&](const Interval& other) {
    return other.last + 1 >= interval.first;
  });
  auto last = first;
  for (; last != intervals.end() && last->first <= interval.last + 1; ++last) {
    interval.first = std::min(interval.first, last->first);
    interval.last = std::max(interval.last, last->last);
  }
  intervals.insert(intervals.erase(first, last), interval);
  std::size_t count =
      std::accumulate(sources_.begin(), sources_.end(), std::size_t{0},
                      [](std::size_t sum, const auto& entry) { return sum + entry.second.size(); });
  return count <= kIntervalsMax;
}

void GtidSet::add(const MysqlGtid& gtid) { add(gtid.source, Interval{gtid.number, gtid.number}); }

void GtidSet::add(const GtidSet& other) {
  for (const auto& [source, intervals] : other.sources_)
    for (const Interval& interval : intervals) add(source, interval);
}

bool GtidSet::contains(const MysqlGtid& gtid) const {
  auto found = sources_.find(gtid.source);
  if (found == sources_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Interval& interval) {
    return interval.first <= gtid.number && gtid.number <= interval.last;
  });
}

bool GtidSet::contains(const GtidSet& other) const {
  for (const auto& [source, wanted] : other.sources_) {
    auto found = sources_.find(source);
    if (found == sources_.end()) return false;
    for (const Interval& interval : wanted)
      if (std::none_of(found->second.begin(), found->second.end(), [&](const Interval& mine) {
            return mine.first <= interval.first && interval.last <= mine.last;
          }))
        return false;
  }
  return true;
}

std::string to_string(const GtidSet& set) {
  std::string text;
  for (const auto& [source, intervals] : set.sources()) {
    if (!text.empty()) text += ',';
    text += to_string(source);
    for (const auto& [first, last] : intervals)
      text += first == last ? fmt::format(":{}", first) : fmt::format(":{}-{}", first, last);
  }
  return text;
}

Result<GtidSet> parse_gtid_set(std::string_view text) {
  GtidSet set;
  auto refused = [&](std::string_view part) {
    return fail(Code::kInvalid, "'{}' is not a set of MySQL GTIDs (uuid:first-last,…)",
                part.substr(0, 80));
  };
  std::string_view rest = trimmed(text);
  while (!rest.empty()) {
    std::size_t comma = rest.find(',');
    std::string_view part = trimmed(rest.substr(0, comma));
    std::size_t colon = part.find(':');
    auto source = parse_uuid(trimmed(part.substr(0, colon)));
    if (!source || colon == std::string_view::npos) return refused(part);
    while (colon != std::string_view::npos) {
      std::size_t next = part.find(':', colon + 1);
      std::string_view interval = part.substr(colon + 1, next - colon - 1);
      auto parsed = parse_interval(trimmed(interval));
      if (!parsed || !set.add(*source, *parsed)) return refused(part);
      colon = next;
    }
    if (comma == std::string_view::npos) break;
    rest = trimmed(rest.substr(comma + 1));
  }
  return set;
}

std::string encode_gtid_set(const GtidSet& set) {
  std::string bytes;
  append_little(bytes, set.sources().size());
  for (const auto& [source, intervals] : set.sources()) {
    bytes.append(source.begin(), source.end());
    append_little(bytes, intervals.size());
    for (const auto& [first, last] : intervals) {
      append_little(bytes, first);
      append_little(bytes, last + 1);
    }
  }
  return bytes;
}

Result<GtidSet> decode_gtid_set(std::string_view bytes) {
  GtidSet set;
  Bytes reader(bytes);
  auto refused = [] { return fail(Code::kCorrupt, "malformed or tagged set of MySQL GTIDs"); };
  std::uint64_t sources = reader.little(8);
  // The highest byte of the count is the format; 1 has tags.
  for (std::uint64_t i = 0; i < sources; ++i) {
    Uuid source{};
    std::string_view raw = reader.take(source.size());
    std::uint64_t intervals = reader.little(8);
    if (!reader.ok() || intervals > reader.left() / 16) return refused();
    std::copy(raw.begin(), raw.end(), source.begin());
    for (std::uint64_t k = 0; k < intervals; ++k) {
      std::uint64_t first = reader.little(8);
      std::uint64_t behind = reader.little(8);
      if (first == 0 || behind <= first || behind - 1 > kNumberMax) return refused();
      if (!set.add(source, {first, behind - 1})) return refused();
    }
  }
  if (!reader.ok() || reader.left() > 0) return refused();
  return set;
}

}  // namespace leeward::mysql
