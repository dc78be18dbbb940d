// Global transaction ids of MySQL 5.6 and later, uuid:number, and sets of them. Pure values; the
// text is that of @@gtid_executed, the bytes those of COM_BINLOG_DUMP_GTID and PREVIOUS_GTIDS.
// Tagged GTIDs (MySQL 8.3) are refused where they appear: kInvalid in text, kCorrupt in bytes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::mysql {

using Uuid = std::array<std::uint8_t, 16>;
std::string to_string(const Uuid& uuid);  // "3e11fa47-71ca-11e1-9e33-c80aa9429562"

struct MysqlGtid {
  Uuid source{};
  std::uint64_t number = 0;  // from 1
  auto operator<=>(const MysqlGtid&) const = default;
};
std::string to_string(const MysqlGtid& gtid);  // "3e11fa47-…:23"

class GtidSet {
 public:
  struct Interval {
    std::uint64_t first = 0;
    std::uint64_t last = 0;  // inclusive
    bool operator==(const Interval&) const = default;
  };
  // At most this many intervals in all: a source has few; more is an attack or a mistake.
  static constexpr std::size_t kIntervalsMax = 65'536;

  bool empty() const { return sources_.empty(); }
  void add(const MysqlGtid& gtid);
  void add(const GtidSet& other);
  bool contains(const MysqlGtid& gtid) const;
  bool contains(const GtidSet& other) const;
  const std::map<Uuid, std::vector<Interval>>& sources() const { return sources_; }
  bool operator==(const GtidSet&) const = default;

 private:
  friend Result<GtidSet> parse_gtid_set(std::string_view text);
  friend Result<GtidSet> decode_gtid_set(std::string_view bytes);
  bool add(const Uuid& source, Interval interval);  // false when there would be too many

  std::map<Uuid, std::vector<Interval>> sources_;  // sorted, disjoint, not adjacent
};

std::string to_string(const GtidSet& set);  // "uuid:1-5:7,uuid:1"; empty for the empty set
Result<GtidSet> parse_gtid_set(std::string_view text);  // spaces and newlines as the server prints
std::string encode_gtid_set(const GtidSet& set);
Result<GtidSet> decode_gtid_set(std::string_view bytes);

}  // namespace leeward::mysql
