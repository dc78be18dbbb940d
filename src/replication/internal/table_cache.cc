#include "replication/internal/table_cache.h"

#include "mysql/table_map.h"
#include "replication/internal/replay_event.h"

namespace leeward::replication::internal {
namespace {

// Text that is not ASCII is kept as bytes: what it means is for the column at the target to say.
mysql::DecoderContext plain_context() {
  constexpr std::uint32_t kBinary = 63;
  return {
      [](std::uint32_t collation) {
        return collation == kBinary ? mysql::TextKind::kOpaque : mysql::TextKind::kAscii;
      },
      [](std::string_view, std::string_view, std::string_view) { return mysql::Disguise::kNone; }};
}

// UUID and INET columns look like BINARY in the log; the target's columns tell them apart.
void disguise(RoutedTable& routed) {
  for (mysql::Column& column : routed.table.columns) {
    auto name = routed.route.column(column.name);
    for (const TargetColumn& target : routed.target_columns) {
      if (!name || target.name != *name) continue;
      if (target.data_type == "uuid") column.disguise = mysql::Disguise::kUuid;
      if (target.data_type == "inet4") column.disguise = mysql::Disguise::kInet4;
      if (target.data_type == "inet6") column.disguise = mysql::Disguise::kInet6;
    }
  }
}

}  // namespace

Status TableCache::announce(const mysql::Event& event) {
  std::uint64_t id = table_id(event.body);
  auto found = tables_.find(id);
  if (found != tables_.end() && found->second.body == event.body) return {};
  if (tables_.size() >= kTablesMax) tables_.clear();  // announced again in each transaction
  auto made = make(event);
  if (!made) return fail(std::move(made.error()));
  tables_[id] = Entry{std::string(event.body), std::move(*made)};
  return {};
}

std::shared_ptr<const RoutedTable> TableCache::find(std::uint64_t id) const {
  auto found = tables_.find(id);
  return found == tables_.end() ? nullptr : found->second.table;
}

Result<std::shared_ptr<const RoutedTable>> TableCache::make(const mysql::Event& event) {
  auto named = mysql::parse_table_map(event.body, plain_context());
  if (!named) return fail(Code::kCorrupt, "binary log: malformed table map");
  auto routed = std::make_shared<RoutedTable>();
  routed->id = named->id;
  routed->table = std::move(named->table);
  auto route = mapping_.route(routed->table);
  if (!route) return routed;
  routed->route = std::move(*route);

  auto target = describe_(routed->route.schema, routed->route.table);
  if (!target) return fail(std::move(target.error()));
  if (!target->exists)
    return fail(Code::kNotFound,
                "target has no table {}.{}, which {}.{} of the source goes to; create it there, or "
                "exclude it from the task",
                routed->route.schema, routed->route.table, routed->table.schema,
                routed->table.name);
  routed->target_columns = std::move(target->columns);
  routed->target_key = target->primary_key;
  routed->path = Path::kReplay;
  if (!routed->route.same_columns())
    routed->why_sql = "columns or rows are chosen";
  else if (routed->target_columns.size() != routed->table.columns.size())
    routed->why_sql = "the target's table has other columns";
  else
    routed->why_sql = why_sql_;
  if (!routed->why_sql.empty()) {
    if (!routed->table.named)
      return fail(Code::kRefused,
                  "source does not log the column names of {}.{}, and {}: set "
                  "binlog_row_metadata=FULL there",
                  routed->table.schema, routed->table.name, routed->why_sql);
    routed->path = Path::kSql;
    auto filter = bind_filters(routed->route, source_columns(routed->table));
    if (!filter) return fail(std::move(filter.error()));
    routed->filter = std::move(*filter);
    disguise(*routed);
    // Ordinal numbers are the target's; a row image has the source's.
    if (routed->target_columns.size() == routed->table.columns.size())
      routed->keys = std::move(target->keys);
    return routed;
  }
  routed->keys = std::move(target->keys);
  routed->map = replay_table_map(event.bytes, routed->route.schema, routed->route.table);
  return routed;
}

}  // namespace leeward::replication::internal
