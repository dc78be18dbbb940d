#include "replication/seed_state.h"

#include <algorithm>

#include "replication/row_filter.h"

namespace leeward::replication {
namespace {

// <0, 0, >0 for keys of integers.
int compare_keys(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (int order = compare_numbers(a[i], b[i]).value_or(0); order != 0) return order;
  return 0;
}

// Positions of one source are comparable domain by domain; a domain that one lacks is before it.
mysql::GtidPosition earlier(const mysql::GtidPosition& a, const mysql::GtidPosition& b) {
  mysql::GtidPosition least;
  for (const auto& [domain, gtid] : a.domains) {
    auto other = b.domains.find(domain);
    if (other == b.domains.end()) continue;
    least.domains[domain] = std::min(
        gtid, other->second, [](const auto& x, const auto& y) { return x.sequence < y.sequence; });
  }
  return least;
}

}  // namespace

bool contains(const mysql::GtidPosition& position, const mysql::Gtid& gtid) {
  auto found = position.domains.find(gtid.domain);
  return found != position.domains.end() && gtid.sequence <= found->second.sequence;
}

bool SeedState::over(const mysql::Gtid& gtid) const { return !contains(until, gtid); }

bool SeedState::cascades(std::string_view schema, std::string_view table) const {
  auto found = tables.find(std::pair(std::string(schema), std::string(table)));
  return found != tables.end() && found->second.cascades;
}

bool SeedState::concerns(std::string_view schema, std::string_view table) const {
  return std::any_of(tables.begin(), tables.end(), [&](const auto& each) {
    return each.first.first == schema && (table.empty() || each.first.second == table);
  });
}

Handover SeedState::handover(std::string_view schema, std::string_view table,
                             const std::vector<std::string>& key, const mysql::Gtid& gtid) const {
  if (over(gtid)) return Handover::kApply;
  auto found = tables.find(std::pair(std::string(schema), std::string(table)));
  if (found == tables.end() || found->second.chunks.empty()) return Handover::kApply;
  const auto& chunks = found->second.chunks;
  if (found->second.integer_key || chunks.size() == 1) {
    auto chunk = std::lower_bound(chunks.begin(), chunks.end(), key,
                                  [](const SeedChunk& c, const std::vector<std::string>& k) {
                                    return !c.upper.empty() && compare_keys(c.upper, k) < 0;
                                  });
    if (chunks.size() == 1) chunk = chunks.begin();
    if (chunk == chunks.end()) return Handover::kApply;
    return contains(chunk->at, gtid) ? Handover::kSkip : Handover::kApply;
  }
  bool in_all = true, in_none = true;
  for (const SeedChunk& chunk : chunks) (contains(chunk.at, gtid) ? in_none : in_all) = false;
  return in_all ? Handover::kSkip : in_none ? Handover::kApply : Handover::kMerge;
}

SeedState make_seed_state(std::map<std::pair<std::string, std::string>, SeededTable> tables) {
  SeedState state;
  state.tables = std::move(tables);
  bool first = true;
  for (const auto& [name, table] : state.tables)
    for (const SeedChunk& chunk : table.chunks) {
      state.from = first ? chunk.at : earlier(state.from, chunk.at);
      state.until = mysql::later(state.until, chunk.at);
      first = false;
    }
  return state;
}

}  // namespace leeward::replication
