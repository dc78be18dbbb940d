#include "replication/internal/batch.h"

#include <algorithm>

#include "replication/internal/replay_event.h"

namespace leeward::replication::internal {
namespace {

// Flags that the target takes from the first rows event of a group for all of it.
constexpr std::uint16_t kSessionFlags =
    kNoForeignKeyChecks | kRelaxedUniqueChecks | kNoCheckConstraints;

}  // namespace

void ReplayBuilder::add(const std::shared_ptr<const RoutedTable>& table, std::string_view event,
                        std::uint32_t server) {
  std::uint16_t flags = rows_flags(event) & kSessionFlags;
  bool known = std::find(tables_.begin(), tables_.end(), table.get()) != tables_.end();
  bool id_taken = !known && std::any_of(tables_.begin(), tables_.end(),
                                        [&](const auto* other) { return other->id == table->id; });
  if (!rows_.empty() &&
      (flags != flags_ || id_taken || maps_.size() + rows_.size() >= group_bytes_max_)) {
    close_group();
    known = false;
  }
  flags_ = flags;
  if (!known) {
    std::size_t at = maps_.size();
    maps_ += table->map;
    set_server(maps_.data() + at, server);
    tables_.push_back(table.get());
    keep_.push_back(table);
  }
  last_rows_ = rows_.size();
  rows_ += event;
  set_size(rows_.data() + last_rows_, event.size());
  set_rows_flags(rows_.data() + last_rows_,
                 static_cast<std::uint16_t>(rows_flags(event) & ~kStatementEnd));
}

void ReplayBuilder::close_group() {
  if (rows_.empty()) return;
  std::string_view last = std::string_view(rows_).substr(last_rows_);
  set_rows_flags(rows_.data() + last_rows_,
                 static_cast<std::uint16_t>(rows_flags(last) | kStatementEnd));
  done_ += maps_;
  done_ += rows_;
  maps_.clear();
  rows_.clear();
  tables_.clear();
  keep_.clear();
}

std::string ReplayBuilder::take() {
  close_group();
  return std::exchange(done_, {});
}

}  // namespace leeward::replication::internal
