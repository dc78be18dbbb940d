// A task file comes from people: whatever it holds, loading ends with a task or with problems, and
// a filter that was read can be bound and asked.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "replication/task.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  // A directory that does not exist, so that table_mappings reads nothing.
  auto loaded = replication::load_task_text(text, "task.yaml", "/nonexistent");
  LEEWARD_CHECK(loaded.task.has_value() == loaded.problems.empty());
  if (loaded.task) {
    LEEWARD_CHECK(loaded.task->server_id != 0);
    (void)loaded.task->mapping.route("shop", "orders", {"id", "total"});
  }
  if (auto filter = replication::parse_filter(text)) {
    auto bound = replication::RowFilter::bind(
        *filter, {{"a", replication::ColumnKind::kNumber}, {"b", replication::ColumnKind::kText}});
    if (bound) {
      (void)bound->matches([](std::size_t) { return std::optional<std::string_view>("1"); });
      LEEWARD_CHECK(!bound->sql([](std::string_view t) { return std::string(t); }).empty());
    }
  }
  return 0;
}
