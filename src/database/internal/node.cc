#include "database/internal/node.h"

#include <mariadb/mysqld_error.h>

#include <charconv>

#include "replication/native.h"

namespace leeward::database::internal {
namespace {

template <typename Number>
Number number_or_zero(const mysql::Cell& cell) {
  Number number{};
  if (cell) std::from_chars(cell->data(), cell->data() + cell->size(), number);
  return number;
}

}  // namespace

Result<std::optional<std::vector<EpochRow>>> read_epochs(mysql::SqlConnection& sql,
                                                         BootTime deadline) {
  auto rows = sql.query(
      "SELECT epoch, site, promoted_gtid, term, complete FROM leeward.epoch "
      "ORDER BY epoch, term",
      deadline);
  if (!rows) {
    if (sql.last_error() == ER_NO_SUCH_TABLE || sql.last_error() == ER_BAD_DB_ERROR)
      return std::nullopt;
    return fail(std::move(rows.error()));
  }
  std::vector<EpochRow> epochs;
  for (const auto& row : rows->rows) {
    auto promoted = mysql::parse_gtid_position(row[2].value_or(""));
    if (!promoted) return fail(std::move(promoted.error()));
    epochs.push_back({Epoch{number_or_zero<std::uint64_t>(row[0])}, row[1].value_or(""), *promoted,
                      Term{number_or_zero<std::uint64_t>(row[3])}, row[4] == "1"});
  }
  return epochs;
}

Result<History> read_history(mysql::SqlConnection& sql, BootTime deadline) {
  History history;
  auto epochs = read_epochs(sql, deadline);
  if (!epochs) return fail(std::move(epochs.error()));
  history.member = epochs->has_value();
  if (history.member) history.epochs = std::move(**epochs);
  auto position = replication::read_own_position(sql, deadline);
  if (!position) return fail(std::move(position.error()));
  history.position = std::move(*position);
  auto rows = sql.query("SELECT @@server_id AS id, @@gtid_binlog_state AS state", deadline);
  if (!rows) return fail(std::move(rows.error()));
  history.server = number_or_zero<std::uint32_t>(rows->cell(0, "id"));
  auto state = mysql::parse_gtids(rows->cell(0, "state").value_or(""));
  if (!state) return fail(std::move(state.error()));
  history.state = std::move(*state);
  return history;
}

ReplicationPolicy between_nodes(ReplicationPolicy of_sites) {
  of_sites.mode = ReplicationMode::kLossless;
  return of_sites;
}

}  // namespace leeward::database::internal
