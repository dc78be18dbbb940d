// The tables of the stream: their maps as they were announced, where they go, and the keys by which
// rows of concurrent transactions can get in each other's way. One scheduler's thread owns a cache.
//
// Keys are read from the target, once a table and again after DDL. They only make the order better:
// what they miss (a collation that calls different bytes equal, a key that was added behind our
// back) is caught by the target's own locks and checks, and then applied in strict order
// (apply_pool.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/event.h"
#include "mysql/table.h"
#include "replication/mapping.h"

namespace leeward::replication::internal {

// A key of a table, or one end of a foreign key, as indices into the columns of a row image.
struct KeyColumns {
  std::uint64_t seed = 0;  // same for both ends of a foreign key
  std::vector<std::size_t> columns;
  bool reads = false;  // the referencing end: the row must be there, but is not changed
};

// A column of the target's table.
struct TargetColumn {
  std::string name;
  std::string data_type;  // information_schema.columns.data_type: "uuid"
  std::string charset;    // of text; empty: none
  bool generated = false;
};

enum class Path : std::uint8_t {
  kSkip,    // not carried
  kReplay,  // rows as they are
  kSql,     // rows as statements
};

struct RoutedTable {
  std::uint64_t id = 0;  // of the table map
  mysql::Table table;    // as at the source
  TableRoute route;
  Path path = Path::kSkip;
  std::string map;               // for kReplay: with the target's names
  std::vector<KeyColumns> keys;  // empty: any two changes of the table are in each other's way
  std::optional<RowFilter> filter;
  std::vector<TargetColumn> target_columns;  // in order
  std::vector<std::size_t> target_key;       // primary key, indices into target_columns
  std::string why_sql;                       // for people
};

// Keys of a table at the target by ordinal number (0 first); asked once a table.
struct TargetTable {
  bool exists = false;
  std::vector<TargetColumn> columns;
  std::vector<KeyColumns> keys;
  std::vector<std::size_t> primary_key;
};
using DescribeTarget =
    std::function<Result<TargetTable>(const std::string& schema, const std::string& table)>;

class TableCache {
 public:
  // `why_sql`: why no table may be replayed; empty: those that can be are.
  TableCache(const Mapping& mapping, DescribeTarget describe, std::string why_sql)
      : mapping_(mapping), describe_(std::move(describe)), why_sql_(std::move(why_sql)) {}

  // Takes a table map event without checksum; the tables of rows events are looked up by id.
  Status announce(const mysql::Event& event);
  // Null for an id that was not announced.
  std::shared_ptr<const RoutedTable> find(std::uint64_t id) const;
  // Another reason from now on; forgets everything.
  void set_why_sql(std::string why) {
    why_sql_ = std::move(why);
    clear();
  }
  // Forgets everything: after DDL, or when the source's server was started again.
  void clear() { tables_.clear(); }

 private:
  static constexpr std::size_t kTablesMax = 10'000;  // then it starts anew
  struct Entry {
    std::string body;
    std::shared_ptr<const RoutedTable> table;
  };
  Result<std::shared_ptr<const RoutedTable>> make(const mysql::Event& event);

  const Mapping& mapping_;
  const DescribeTarget describe_;
  std::string why_sql_;
  std::map<std::uint64_t, Entry> tables_;
};

}  // namespace leeward::replication::internal
