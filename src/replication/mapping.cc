#include "replication/mapping.h"

#include <algorithm>

#include "mysql/column_type.h"

namespace leeward::replication {
namespace {

constexpr std::string_view kOwnSchemas[] = {"mysql", "sys", "information_schema",
                                            "performance_schema", "leeward"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string lowercase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), lower);
  return text;
}

bool applies(const TableRule& rule, std::string_view schema, std::string_view table) {
  return matches(rule.schema, schema) && matches(rule.table, table);
}

bool any(const std::vector<TableRule>& rules, std::string_view schema, std::string_view table) {
  return std::any_of(rules.begin(), rules.end(),
                     [&](const TableRule& rule) { return applies(rule, schema, table); });
}

bool own_schema(std::string_view schema) {
  return std::find(std::begin(kOwnSchemas), std::end(kOwnSchemas), schema) != std::end(kOwnSchemas);
}

bool column_matches(std::string_view pattern, const std::string& column) {
  return matches(lowercase(std::string(pattern)), lowercase(column));
}

// Whether a column survives the rules that drop it and those that keep only some.
bool dropped(const std::vector<ColumnRule>& rules, std::string_view schema, std::string_view table,
             const std::string& column) {
  bool only_some = false, kept = false;
  for (const ColumnRule& rule : rules) {
    if (!applies(rule.match, schema, table)) continue;
    bool hit = column_matches(rule.column, column);
    if (rule.drop && hit) return true;
    if (rule.drop) continue;
    only_some = true;
    kept = kept || hit;
  }
  return only_some && !kept;
}

ColumnKind kind_of(const mysql::Column& column) {
  if (column.disguise != mysql::Disguise::kNone) return ColumnKind::kOther;
  switch (static_cast<mysql::ColumnType>(column.type)) {
    using Type = mysql::ColumnType;
    case Type::kTiny:
    case Type::kShort:
    case Type::kInt24:
    case Type::kLong:
    case Type::kLongLong:
    case Type::kDecimal:
    case Type::kDouble:
      return ColumnKind::kNumber;
    case Type::kDate:
    case Type::kNewDate:
    case Type::kTime2:
    case Type::kDatetime2:
    case Type::kTimestamp2:
    case Type::kEnum:
      return ColumnKind::kText;
    case Type::kVarchar:
    case Type::kVarString:
    case Type::kString:
    case Type::kVarcharCompressed:
    case Type::kBlobCompressed:
    case Type::kTinyBlob:
    case Type::kMediumBlob:
    case Type::kLongBlob:
    case Type::kBlob:
      return column.text == mysql::TextKind::kOpaque ? ColumnKind::kOther : ColumnKind::kText;
    default:
      return ColumnKind::kOther;
  }
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) {
  // The usual two fingers: after a `%`, remember where to come back to when what follows fails.
  constexpr std::size_t kNone = std::string_view::npos;
  std::size_t p = 0, t = 0, resume_pattern = kNone, resume_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '%') {
      resume_pattern = ++p;
      resume_text = t;
      continue;
    }
    if (p < pattern.size()) {
      bool escaped = pattern[p] == '\\' && p + 1 < pattern.size();
      std::size_t at = escaped ? p + 1 : p;
      if (pattern[at] == text[t] || (!escaped && pattern[p] == '?')) {
        p = at + 1;
        ++t;
        continue;
      }
    }
    if (resume_pattern == kNone) return false;
    p = resume_pattern;
    t = ++resume_text;
  }
  while (p < pattern.size() && pattern[p] == '%') ++p;
  return p == pattern.size();
}

std::string literal_pattern(std::string_view name) {
  std::string pattern;
  for (char c : name) {
    if (c == '%' || c == '?' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern;
}

std::string changed(const NameChange& change, std::string name) {
  using Action = NameChange::Action;
  auto without_prefix = [&](const std::string& prefix) {
    return name.starts_with(prefix) ? std::optional(name.substr(prefix.size())) : std::nullopt;
  };
  auto without_suffix = [&](const std::string& suffix) {
    return name.ends_with(suffix) ? std::optional(name.substr(0, name.size() - suffix.size()))
                                  : std::nullopt;
  };
  switch (change.action) {
    case Action::kRename:
      return change.value;
    case Action::kLowercase:
      return lowercase(std::move(name));
    case Action::kUppercase:
      std::transform(name.begin(), name.end(), name.begin(), upper);
      return name;
    case Action::kAddPrefix:
      return change.value + name;
    case Action::kAddSuffix:
      return name + change.value;
    case Action::kRemovePrefix:
      return without_prefix(change.value).value_or(name);
    case Action::kRemoveSuffix:
      return without_suffix(change.value).value_or(name);
    case Action::kReplacePrefix: {
      auto rest = without_prefix(change.old);
      return rest ? change.value + *rest : name;
    }
    case Action::kReplaceSuffix: {
      auto rest = without_suffix(change.old);
      return rest ? *rest + change.value : name;
    }
  }
  return name;
}

std::optional<std::string> TableRoute::column(const std::string& source) const {
  if (dropped_columns.contains(source)) return std::nullopt;
  auto found = renamed_columns.find(source);
  return found == renamed_columns.end() ? source : found->second;
}

bool Mapping::carries(std::string_view schema, std::string_view table) const {
  if (own_schema(schema) || any(exclude, schema, table)) return false;
  return include.empty() || any(include, schema, table);
}

std::optional<TableRoute> Mapping::route(std::string_view schema, std::string_view table,
                                         const std::vector<std::string>& source_columns) const {
  if (!carries(schema, table)) return std::nullopt;
  TableRoute route{std::string(schema), std::string(table), {}, {}, {}};
  std::map<std::string, std::string> names;
  for (const std::string& column : source_columns) {
    if (dropped(columns, schema, table, column))
      route.dropped_columns.insert(column);
    else
      names.emplace(column, column);
  }
  for (const RenameRule& rule : renames) {
    if (!applies(rule.match, schema, table)) continue;
    if (rule.of == NameOf::kSchema) route.schema = changed(rule.change, route.schema);
    if (rule.of == NameOf::kTable) route.table = changed(rule.change, route.table);
    if (rule.of != NameOf::kColumn) continue;
    for (auto& [source, target] : names)
      if (column_matches(rule.column, source)) target = changed(rule.change, target);
  }
  for (const auto& [source, target] : names)
    if (source != target) route.renamed_columns.emplace(source, target);
  for (const FilterRule& rule : filters)
    if (applies(rule.match, schema, table)) route.filters.push_back(rule.filter);
  return route;
}

std::optional<TableRoute> Mapping::route(const mysql::Table& table) const {
  std::vector<std::string> names;
  for (const mysql::Column& column : table.columns) names.push_back(column.name);
  return route(table.schema, table.name, names);
}

std::optional<std::string> Mapping::route_schema(std::string_view schema) const {
  if (own_schema(schema)) return std::nullopt;
  for (const TableRule& rule : exclude)
    if (rule.table == "%" && matches(rule.schema, schema)) return std::nullopt;
  bool included = include.empty() ||
                  std::any_of(include.begin(), include.end(),
                              [&](const TableRule& rule) { return matches(rule.schema, schema); });
  if (!included) return std::nullopt;
  std::string name(schema);
  for (const RenameRule& rule : renames)
    if (rule.of == NameOf::kSchema && rule.match.table == "%" && matches(rule.match.schema, schema))
      name = changed(rule.change, std::move(name));
  return name;
}

Result<std::optional<RowFilter>> bind_filters(const TableRoute& route,
                                              const std::vector<SourceColumn>& columns) {
  if (route.filters.empty()) return std::nullopt;
  auto all = std::make_shared<FilterNode>();
  all->kind = FilterNode::Kind::kAnd;
  all->parts = route.filters;
  auto bound = RowFilter::bind(std::move(all), columns);
  if (!bound) return fail(std::move(bound.error()));
  return std::optional<RowFilter>(std::move(*bound));
}

std::vector<SourceColumn> source_columns(const mysql::Table& table) {
  std::vector<SourceColumn> columns;
  for (const mysql::Column& column : table.columns)
    columns.push_back({column.name, kind_of(column)});
  return columns;
}

bool passes(const RowFilter& filter, const mysql::Row& row) {
  return filter.matches([&](std::size_t index) -> std::optional<std::string_view> {
    if (index >= row.size() || !row[index]) return std::nullopt;
    return *row[index];
  });
}

}  // namespace leeward::replication
