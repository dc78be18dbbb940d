// Reads the rules of an AWS DMS table mapping into a Mapping; see load_dms_mapping in task.h.
//
// Understood, with the meaning of AWS's "Using table mapping to specify task settings":
//   selection       include, exclude, explicit; filters (type source) with eq, noteq, gte, ste,
//   lte,
//                   gt, lt, between, notbetween, null, notnull: conditions of one filter or-ed,
//                   filters and-ed; several rules for the same table with filters are or-ed
//   transformation  of schema, table, column: rename, convert-lowercase, convert-uppercase,
//                   add-, remove- and replace-prefix and -suffix; of column also remove-column and
//                   include-column
// `%` stands for any text and `_` for one character, `[_]` for the underscore itself. load-order is
// accepted and has no effect. Everything else is a problem.
#pragma once

#include "config/reader.h"
#include "replication/mapping.h"

namespace leeward::replication::internal {

class DmsReader {
 public:
  DmsReader(config::Reader& reader, Mapping& mapping) : r_(reader), mapping_(mapping) {}
  void read(const config::Place& root);

 private:
  using Entries = std::map<std::string, config::Place>;
  struct Locator {
    std::string schema, table, column;  // as written
  };

  void rule(const config::Place& place);
  void selection(const config::Place& place);
  void transformation(const config::Place& place);
  void name_change(const config::Place& place, const Entries& entries, const std::string& action,
                   NameOf of, RenameRule rule);
  std::optional<Locator> locator(const config::Place& rule, const Entries& entries, bool column);
  FilterPtr filters(const config::Place& place);
  FilterPtr filter(const config::Place& place);
  FilterPtr condition(const config::Place& place, const std::string& column);
  std::optional<std::string> text(const config::Place& parent, const Entries& entries,
                                  const std::string& key, bool required = true);
  // Reports at `place`, with the rule-id in front.
  void wrong(const config::Place& place, const std::string& message);

  config::Reader& r_;
  Mapping& mapping_;
  std::string id_;                                                       // of the rule being read
  std::map<std::pair<std::string, std::string>, std::size_t> filtered_;  // locator → filters[i]
};

}  // namespace leeward::replication::internal
