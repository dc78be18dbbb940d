#include "replication/internal/table_ddl.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace leeward::replication::internal {
namespace {

// The names in backquotes in `line`, in order, unescaped.
std::vector<std::string> names_in(std::string_view line) {
  std::vector<std::string> names;
  bool text = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\'') text = !text;
    if (text || line[i] != '`') continue;
    std::string name;
    for (++i; i < line.size(); ++i) {
      if (line[i] != '`')
        name += line[i];
      else if (i + 1 < line.size() && line[i + 1] == '`')
        name += line[i++];
      else
        break;
    }
    names.push_back(std::move(name));
  }
  return names;
}

// `line` with every quoted column name as it is called at the target.
std::string renamed(std::string line, const CarriedTable& table) {
  if (table.route.renamed_columns.empty()) return line;
  std::string out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '`') {
      out += line[i];
      continue;
    }
    std::size_t end = line.find('`', i + 1);
    if (end == std::string::npos) return out + line.substr(i);
    std::string name = line.substr(i + 1, end - i - 1);
    auto found = table.route.renamed_columns.find(name);
    out += mysql::quote_name(found == table.route.renamed_columns.end() ? name : found->second);
    i = end;
  }
  return out;
}

bool uses_dropped(const CarriedTable& table, std::string_view line) {
  auto names = names_in(line);
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return table.route.dropped_columns.contains(name);
  });
}

// The column that an index line begins its list with: KEY `name` (`column`,…).
std::string first_column(std::string_view line) {
  auto list = line.find(" (");
  if (list == std::string_view::npos) return "";
  auto names = names_in(line.substr(list));
  return names.empty() ? "" : names[0];
}

bool is_index(std::string_view line) {
  static constexpr std::string_view kKinds[] = {"KEY ", "UNIQUE KEY ", "FULLTEXT KEY ",
                                                "SPATIAL KEY "};
  return std::any_of(std::begin(kKinds), std::end(kKinds),
                     [&](std::string_view kind) { return line.starts_with(kind); });
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines(1);
  for (char c : text) {
    if (c == '\n')
      lines.emplace_back();
    else
      lines.back() += c;
  }
  return lines;
}

// One element of a definition, without its indentation and the comma that follows it.
std::string element(std::string line) {
  line.erase(0, std::min<std::size_t>(2, line.size()));
  if (line.ends_with(',')) line.pop_back();
  return line;
}

}  // namespace

std::vector<std::string> missing_elements(const std::vector<std::string>& deferred,
                                          std::string_view show_create) {
  std::set<std::string> there;
  for (std::string& line : lines_of(show_create)) there.insert("ADD " + element(std::move(line)));
  std::vector<std::string> missing;
  for (const std::string& each : deferred)
    if (!there.contains(each)) missing.push_back(each);
  return missing;
}

Result<TableDdl> target_ddl(const CarriedTable& table, std::string_view show_create,
                            bool keep_foreign_keys) {
  std::vector<std::string> lines = lines_of(show_create);
  std::size_t last = lines.size();
  for (std::size_t i = 1; i < lines.size(); ++i)
    if (lines[i].starts_with(")")) last = i;
  if (!lines[0].starts_with("CREATE TABLE `") || last == lines.size())
    return fail(Code::kCorrupt, "the definition of {} is not of the form that MariaDB prints",
                table.label());
  TableDdl ddl;
  std::string counted;  // the AUTO_INCREMENT column, which must lead an index
  std::vector<std::string> kept, foreign;
  for (std::size_t i = 1; i < last; ++i) {
    std::string line = element(lines[i]);
    bool column = line.starts_with("`");
    if (column && table.route.dropped_columns.contains(names_in(line)[0])) continue;
    if (column && line.find(" AUTO_INCREMENT") != std::string::npos) counted = names_in(line)[0];
    bool reference = line.starts_with("CONSTRAINT ") && line.find(" FOREIGN KEY ") != line.npos;
    if (!column && !reference && uses_dropped(table, line)) {
      ddl.notes.push_back(fmt::format("{}: left out, because of a column that is not carried: {}",
                                      table.label(), line));
      continue;
    }
    if (reference && (!keep_foreign_keys || uses_dropped(table, line))) {
      ddl.notes.push_back(
          fmt::format("{}: foreign key left out, because names change: {}", table.label(), line));
      continue;
    }
    std::string out = renamed(line, table);
    bool leads = !counted.empty() && first_column(line) == counted;
    bool primary_leads =
        !table.primary_key.empty() && table.columns[table.primary_key[0]].name == counted;
    if (reference)
      foreign.push_back("ADD " + out);
    else if (is_index(line) && !(leads && !primary_leads))
      ddl.deferred.push_back("ADD " + out);
    else
      kept.push_back(out);
  }
  ddl.deferred.insert(ddl.deferred.end(), foreign.begin(), foreign.end());
  ddl.create =
      fmt::format("CREATE TABLE {} (\n  {}\n", table.target_name(), fmt::join(kept, ",\n  "));
  for (std::size_t i = last; i < lines.size(); ++i) ddl.create += lines[i] + "\n";
  return ddl;
}

}  // namespace leeward::replication::internal
