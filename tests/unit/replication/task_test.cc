#include "replication/task.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "servers/servers.h"

namespace leeward::replication {
namespace {

constexpr char kEnds[] = R"(
source: { host: db1.test, user: leeward, password: env:SOURCE_PASSWORD }
target: { host: 10.0.0.2, port: 3307, user: leeward, password: file:secrets/target }
)";

std::vector<std::string> problems(const std::string& text) {
  std::vector<std::string> all;
  for (const auto& problem : load_task_text(text, "t.yaml", "/etc/leeward").problems)
    all.push_back(config::to_string(problem));
  return all;
}

std::vector<std::string> dms_problems(const std::string& json) {
  std::vector<std::string> all;
  for (const auto& problem : load_dms_mapping(json, "m.json").problems)
    all.push_back(config::to_string(problem));
  return all;
}

TEST(Task, FillsInWhatIsNotSaid) {
  auto loaded = load_task_text(std::string("task: orders\n") + kEnds, "t.yaml", "/etc/leeward");
  ASSERT_TRUE(loaded.task);
  const Task& task = *loaded.task;
  EXPECT_EQ(task.source.port, 3306);
  EXPECT_EQ(task.state_dir, "/etc/leeward/state/orders");
  EXPECT_GE(task.server_id, 1'000'000'000u);
  EXPECT_TRUE(task.mapping.carries("shop", "orders"));
}

TEST(Task, MapsTablesColumnsAndRows) {
  auto loaded = load_task_text(std::string("task: orders\n") + kEnds + R"(
tables: { include: ["shop.*", "crm.customer_?"], exclude: ["shop.tmp_*"] }
rename:
  schemas: { crm: customers }
  tables: { shop.orders: sales.orders_v2 }
  columns: { shop.orders.total: amount }
columns: { exclude: ["*.*.secret"] }
rows: { shop.orders: "region = 'eu' and total >= 10" }
)",
                               "t.yaml", "/");
  ASSERT_TRUE(loaded.task) << config::to_string(loaded.problems.at(0));
  const Mapping& mapping = loaded.task->mapping;
  EXPECT_TRUE(mapping.carries("crm", "customer_1"));
  EXPECT_FALSE(mapping.carries("crm", "customer_10"));
  EXPECT_FALSE(mapping.carries("crm", "customerX1"));
  EXPECT_FALSE(mapping.carries("shop", "tmp_a"));
  auto route = mapping.route("shop", "orders", {"id", "total", "region", "Secret"});
  ASSERT_TRUE(route);
  EXPECT_EQ(route->schema, "sales");
  EXPECT_EQ(route->table, "orders_v2");
  EXPECT_EQ(route->column("total"), "amount");
  EXPECT_EQ(route->column("Secret"), std::nullopt);
  EXPECT_EQ(route->filters.size(), 1u);
  EXPECT_EQ(mapping.route_schema("crm"), "customers");
}

TEST(Task, ReportsEveryMistakeAtOnceWithItsPlace) {
  auto all = problems(R"(task: Orders
server_id: no
source: { host: db1.test, user: leeward, password: hunter2, tls: verify }
target: { host: db2.test, usr: leeward, password: env:TARGET }
tables: { include: [shop] }
rows: { shop.orders: "region == 'eu'" }
throtle: { megabytes_a_second: 10 }
)");
  EXPECT_EQ(all, (std::vector<std::string>{
                     "t.yaml:1:7: task: 'Orders' is not a valid name; write a lower-case letter, "
                     "then letters, digits and hyphens, 32 at most",
                     "t.yaml:2:12: server_id: 'no' is not a whole number",
                     "t.yaml:3:52: password: this is not a valid secret; write file:PATH or "
                     "env:NAME; the secret itself never stands in this file",
                     "t.yaml:4:27: unknown key 'usr' in target; did you mean 'user'?",
                     "t.yaml:5:21: include: 'shop' is not a valid pattern of tables; write "
                     "SCHEMA.TABLE; * stands for any text and ? for one character",
                     "t.yaml:6:22: shop.orders: a number, or text in single quotes, is missing "
                     "here (at character 9 of the filter)",
                     "t.yaml:7:1: unknown key 'throtle'; did you mean 'throttle'?"}));
}

TEST(Task, RefusesWhatDoesNotFitTogether) {
  EXPECT_EQ(problems(R"(task: orders
source: { host: db1.test, user: leeward, password: env:A, tls: verify }
target: { host: db1.test, user: leeward, password: env:B }
tables: { include: ["shop.*"] }
conflicts: { bidirectional: true, policy: last_writer }
)"),
            (std::vector<std::string>{
                "t.yaml:2:64: source.tls is verify, so tls_authority must name the authority's "
                "file",
                "t.yaml:3:17: source and target are the same server",
                "t.yaml:5:43: last_writer needs conflicts.last_writer_column"}));
}

TEST(Task, TakesADmsMappingFromAFileBesideIt) {
  testing::TempDirectory directory;
  ASSERT_TRUE(write_file_durably(directory.path() + "/map.json", R"({"rules": [
    {"rule-type": "selection", "rule-id": "1", "rule-name": "1", "rule-action": "include",
     "object-locator": {"schema-name": "shop", "table-name": "%"}}]})"));
  std::string text = std::string("task: orders\n") + kEnds + "table_mappings: map.json\n";
  auto loaded = load_task_text(text, "t.yaml", directory.path());
  ASSERT_TRUE(loaded.task);
  EXPECT_TRUE(loaded.task->mapping.carries("shop", "orders"));
  EXPECT_FALSE(loaded.task->mapping.carries("blog", "posts"));
  auto both = load_task_text(text + "tables: { include: [\"a.b\"] }\n", "t.yaml", directory.path());
  ASSERT_EQ(both.problems.size(), 1u);
  EXPECT_EQ(both.problems[0].message, "'tables' and 'table_mappings' exclude each other");
}

TEST(DmsMapping, ReadsSelectionFiltersAndTransformations) {
  auto loaded = load_dms_mapping(R"({"rules": [
    {"rule-type": "selection", "rule-id": "1", "rule-name": "all", "rule-action": "include",
     "object-locator": {"schema-name": "shop", "table-name": "order_items%"}},
    {"rule-type": "selection", "rule-id": 2, "rule-name": "x", "rule-action": "explicit",
     "object-locator": {"schema-name": "shop", "table-name": "sales"},
     "filters": [{"filter-type": "source", "column-name": "id", "filter-conditions": [
        {"filter-operator": "between", "start-value": "5", "end-value": "7"},
        {"filter-operator": "eq", "value": 42}]},
       {"filter-type": "source", "column-name": "note", "filter-conditions": [
        {"filter-operator": "notnull"}]}]},
    {"rule-type": "selection", "rule-id": "3", "rule-name": "y", "rule-action": "exclude",
     "object-locator": {"schema-name": "%", "table-name": "%[_]old"}},
    {"rule-type": "transformation", "rule-id": "4", "rule-name": "4", "rule-target": "schema",
     "rule-action": "rename", "object-locator": {"schema-name": "shop"}, "value": "store"},
    {"rule-type": "transformation", "rule-id": "5", "rule-name": "5", "rule-target": "table",
     "rule-action": "add-prefix", "object-locator": {"schema-name": "shop", "table-name": "%"},
     "value": "s_"},
    {"rule-type": "transformation", "rule-id": "6", "rule-name": "6", "rule-target": "column",
     "rule-action": "convert-uppercase",
     "object-locator": {"schema-name": "shop", "table-name": "%", "column-name": "i%"}},
    {"rule-type": "transformation", "rule-id": "7", "rule-name": "7", "rule-target": "column",
     "rule-action": "remove-column",
     "object-locator": {"schema-name": "shop", "table-name": "%", "column-name": "hidden"}}
  ]})",
                                 "m.json");
  ASSERT_TRUE(loaded.problems.empty()) << config::to_string(loaded.problems[0]);
  const Mapping& mapping = loaded.mapping;
  EXPECT_TRUE(mapping.carries("shop", "order_items2"));
  EXPECT_FALSE(mapping.carries("shop", "order_items_old"));
  EXPECT_TRUE(mapping.carries("shop", "order_itemsXold"));
  auto route = mapping.route("shop", "sales", {"id", "note", "hidden"});
  ASSERT_TRUE(route);
  EXPECT_EQ(route->schema + "." + route->table, "store.s_sales");
  EXPECT_EQ(route->column("id"), "ID");
  EXPECT_EQ(route->column("hidden"), std::nullopt);
  auto filter = bind_filters(
      *route,
      {{"id", ColumnKind::kNumber}, {"note", ColumnKind::kText}, {"hidden", ColumnKind::kText}});
  ASSERT_TRUE(filter && *filter);
  EXPECT_TRUE(passes(**filter, {"6.0", "n", ""}));
  EXPECT_TRUE(passes(**filter, {"42", "n", ""}));
  EXPECT_FALSE(passes(**filter, {"8", "n", ""}));
  EXPECT_FALSE(passes(**filter, {"42", std::nullopt, ""}));
}

TEST(DmsMapping, NamesTheRuleThatItDoesNotUnderstand) {
  EXPECT_EQ(
      dms_problems(R"({"rules": [
  {"rule-type": "selection", "rule-id": "1", "rule-name": "1", "rule-action": "include",
   "object-locator": {"schema-name": "a", "table-name": "b", "table-type": "view"}},
  {"rule-type": "table-settings", "rule-id": "2", "rule-name": "2"},
  {"rule-type": "transformation", "rule-id": "3", "rule-name": "3", "rule-target": "column",
   "rule-action": "change-data-type", "object-locator": {"schema-name": "a", "table-name": "b"}},
  {"rule-type": "selection", "rule-id": "4", "rule-name": "4", "rule-action": "include",
   "object-locator": {"schema-name": "a", "table-name": "b"},
   "filters": [{"filter-type": "source", "column-name": "c",
                "filter-conditions": [{"filter-operator": "likes", "value": "x"}]}]}
]})"),
      (std::vector<std::string>{
          "m.json:3:76: rule-id 1: table-type 'view' is not supported: only tables are "
          "carried",
          "m.json:4:3: rule-id 2: rule-type 'table-settings' is not supported; write one of: "
          "selection, transformation",
          "m.json:6:19: rule-id 3: rule-action 'change-data-type' is not supported; write one "
          "of: rename, convert-lowercase, convert-uppercase, add-prefix, remove-prefix, "
          "replace-prefix, add-suffix, remove-suffix, replace-suffix, remove-column, "
          "include-column",
          "m.json:10:59: rule-id 4: filter-operator 'likes' is not known; write one of: eq, "
          "noteq, gte, ste, lte, gt, lt, between, notbetween, null, notnull"}));
  EXPECT_EQ(dms_problems("{\"rules\":\n  [,]}"),
            (std::vector<std::string>{"m.json:2:4: this is not valid JSON"}));
  EXPECT_EQ(dms_problems("{\"rules\": []}"),
            (std::vector<std::string>{
                "m.json:1:11: no selection rule includes a table, so nothing would be carried"}));
}

}  // namespace
}  // namespace leeward::replication
