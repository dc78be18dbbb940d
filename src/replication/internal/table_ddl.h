// The definition of a table at the target, made from the source's SHOW CREATE TABLE. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "replication/internal/catalog.h"

namespace leeward::replication::internal {

struct TableDdl {
  std::string create;  // CREATE TABLE `schema`.`table` with its primary key and no other index
  // "ADD KEY …" for one ALTER TABLE once the rows are there: secondary indexes, then foreign keys.
  // An index that AUTO_INCREMENT needs is in `create`.
  std::vector<std::string> deferred;
  std::vector<std::string> notes;  // what was left out and why, for people
};

// Of elements as in `deferred`, those that a table's definition does not have. An ALTER TABLE makes
// all of them or none, but whether an earlier call's was made is only known from the table.
std::vector<std::string> missing_elements(const std::vector<std::string>& deferred,
                                          std::string_view show_create);

// `show_create` is the second column of SHOW CREATE TABLE, one element a line as MariaDB writes it.
// `keep_foreign_keys`: false when tables are renamed, because they would name the old ones.
// kCorrupt for a text of another form.
Result<TableDdl> target_ddl(const CarriedTable& table, std::string_view show_create,
                            bool keep_foreign_keys);

}  // namespace leeward::replication::internal
