#include "replication/internal/seed_objects.h"

#include <optional>

namespace leeward::replication::internal {
namespace {

using mysql::quote_name;
using mysql::SqlConnection;

constexpr unsigned kTableExists = 1050, kRoutineExists = 1304, kEventExists = 1537;

BootTime soon() { return BootClock::now() + std::chrono::seconds(30); }

struct Object {
  std::string kind;  // as in SHOW CREATE: "VIEW"
  std::string schema, name;
  std::string sql_mode, definition;
  std::string failure;
};

constexpr char kList[] =
    "SELECT routine_type, routine_schema, routine_name FROM information_schema.routines "
    "WHERE routine_type IN ('PROCEDURE','FUNCTION') UNION ALL "
    "SELECT 'VIEW', table_schema, table_name FROM information_schema.views UNION ALL "
    "SELECT 'EVENT', event_schema, event_name FROM information_schema.events";

// SHOW CREATE has the definition in a column called "Create View" and so on.
std::string shown(const mysql::SqlRows& rows, const std::string& kind) {
  std::string column = "Create " + kind;
  for (std::size_t i = 8; i < column.size(); ++i)
    column[i] = static_cast<char>(column[i] - 'A' + 'a');
  return rows.cell(0, column).value_or("");
}

Result<std::vector<Object>> read_objects(SqlConnection& source, const Mapping& mapping,
                                         std::vector<std::string>& notes) {
  auto list = source.query(kList, soon());
  if (!list) return fail(std::move(list.error()));
  std::vector<Object> objects;
  for (const auto& row : list->rows) {
    Object object{row[0].value_or(""), row[1].value_or(""), row[2].value_or(""), "", "", ""};
    if (!mapping.route_schema(object.schema)) continue;
    auto text = source.query(fmt::format("SHOW CREATE {} {}.{}", object.kind,
                                         quote_name(object.schema), quote_name(object.name)),
                             soon());
    if (!text && !source.usable()) return fail(std::move(text.error()));
    if (text) object.definition = shown(*text, object.kind);
    if (text) object.sql_mode = text->cell(0, "sql_mode").value_or("");
    if (object.definition.empty())  // not told without the privilege
      notes.push_back(fmt::format("{} {}.{}: not copied, the account may not see its definition",
                                  object.kind, object.schema, object.name));
    else
      objects.push_back(std::move(object));
  }
  return objects;
}

// True when it is there afterwards.
bool make(SqlConnection& target, Object& object) {
  std::string definition =
      object.kind == "EVENT" ? disabled_event(object.definition) : object.definition;
  for (const std::string& statement : {"SET SESSION sql_mode=" + target.quote(object.sql_mode),
                                       "USE " + quote_name(object.schema), definition}) {
    auto done = target.execute(statement, soon());
    if (done) continue;
    unsigned error = target.last_error();
    if (error == kTableExists || error == kRoutineExists || error == kEventExists) return true;
    object.failure = done.error().message;
    return false;
  }
  return true;
}

}  // namespace

std::string disabled_event(std::string definition) {
  constexpr std::string_view kEnabled = " ENABLE";
  auto completion = definition.find(" ON COMPLETION ");
  auto status =
      completion == std::string::npos ? completion : definition.find(kEnabled, completion);
  if (status != std::string::npos) definition.replace(status, kEnabled.size(), " DISABLE ON SLAVE");
  return definition;
}

Result<std::vector<std::string>> copy_objects(const mysql::SqlTarget& source,
                                              const mysql::SqlTarget& target,
                                              const Mapping& mapping) {
  std::vector<std::string> notes;
  auto from = SqlConnection::open(source, soon());
  if (!from) return fail(std::move(from.error()));
  auto to = SqlConnection::open(target, soon());
  if (!to) return fail(std::move(to.error()));
  (void)to->execute("SET SESSION sql_log_bin=0", soon());  // where the account may
  auto objects = read_objects(*from, mapping, notes);
  if (!objects) return fail(std::move(objects.error()));
  if (!objects->empty() && !mapping.renames.empty())
    return std::vector<std::string>{
        "views, routines and events are not copied, because names change"};
  // A view needs the views and functions that it names: whoever fails tries again after the others.
  std::vector<Object> left = std::move(*objects);
  for (bool progress = true; progress && !left.empty();) {
    std::vector<Object> failed;
    for (Object& object : left) {
      if (make(*to, object)) continue;
      if (!to->usable()) return fail(Code::kUnavailable, "{}", object.failure);
      failed.push_back(std::move(object));
    }
    progress = failed.size() < left.size();
    left = std::move(failed);
  }
  for (const Object& object : left)
    notes.push_back(fmt::format("{} {}.{}: not copied: {}", object.kind, object.schema, object.name,
                                object.failure));
  return notes;
}

}  // namespace leeward::replication::internal
