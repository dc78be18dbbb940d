// Global transaction ids of MariaDB: domain-server-sequence, and positions made of them. Pure
// values; the text forms are those of @@gtid_binlog_pos and @@gtid_binlog_state.
//
// Leeward keeps one replication domain, 0 (precheck refuses another), so that a Position
// (model/status.h) is the sequence number in that domain. Other domains are carried along, never
// compared.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/status.h"

namespace leeward::mysql {

struct Gtid {
  std::uint32_t domain = 0;
  std::uint32_t server = 0;
  std::uint64_t sequence = 0;
  auto operator<=>(const Gtid&) const = default;
};
std::string to_string(const Gtid& gtid);  // "0-1-42"

// Comma-separated list, in the given order; empty text is an empty list. kInvalid otherwise.
// At most 4096 ids: a longer list is not a position that a server would report.
Result<std::vector<Gtid>> parse_gtids(std::string_view text);

// A point in a history: the last transaction of each domain.
struct GtidPosition {
  std::map<std::uint32_t, Gtid> domains;

  Position position() const;     // sequence in domain 0, 0 when there is none
  std::uint32_t server() const;  // who wrote that transaction, 0 when there is none
  bool operator==(const GtidPosition&) const = default;
};
std::string to_string(const GtidPosition& position);  // "0-1-42,7-1-3"; empty for the start
Result<GtidPosition> parse_gtid_position(std::string_view text);

// The further of two positions of one and the same server, domain by domain.
GtidPosition later(const GtidPosition& a, const GtidPosition& b);

}  // namespace leeward::mysql
