#include "replication/internal/dms_mapping.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "replication/task.h"

namespace leeward::replication {
namespace internal {
namespace {

using config::Place;
using Kind = FilterNode::Kind;
using Operator = FilterNode::Operator;

// The pattern of mapping.h for one of DMS.
std::string pattern(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "[_]" || text.substr(i, 3) == "[%]") {
      out += text[i + 1] == '%' ? "\\%" : "_";
      i += 2;
    } else if (text[i] == '_') {
      out += '?';
    } else if (text[i] == '?' || text[i] == '\\') {
      out += '\\';
      out += text[i];
    } else {
      out += text[i];
    }
  }
  return out;
}

std::shared_ptr<FilterNode> node(Kind kind) {
  auto made = std::make_shared<FilterNode>();
  made->kind = kind;
  return made;
}

FilterPtr negated(FilterPtr inner) {
  auto made = node(Kind::kNot);
  made->parts.push_back(std::move(inner));
  return made;
}

const std::vector<std::string> kOperators = {"eq", "noteq",   "gte",        "ste",  "lte",    "gt",
                                             "lt", "between", "notbetween", "null", "notnull"};
const std::vector<std::string> kNameActions = {
    "rename",         "convert-lowercase", "convert-uppercase", "add-prefix",    "remove-prefix",
    "replace-prefix", "add-suffix",        "remove-suffix",     "replace-suffix"};

Operator operator_of(std::string_view name) {
  if (name == "noteq") return Operator::kNotEqual;
  if (name == "gte") return Operator::kAtLeast;
  if (name == "ste" || name == "lte") return Operator::kAtMost;
  if (name == "gt") return Operator::kGreater;
  if (name == "lt") return Operator::kLess;
  return Operator::kEqual;
}

}  // namespace

void DmsReader::wrong(const Place& place, const std::string& message) {
  r_.problem(place.at(), place.path,
             id_.empty() ? message : fmt::format("rule-id {}: {}", id_, message));
}

std::optional<std::string> DmsReader::text(const Place& parent, const Entries& entries,
                                           const std::string& key, bool required) {
  auto found = entries.find(key);
  if (found == entries.end()) {
    if (required) wrong(parent, fmt::format("'{}' is missing", key));
    return std::nullopt;
  }
  return r_.raw_text(found->second);
}

void DmsReader::read(const Place& root) {
  auto entries = r_.section(root, {"rules"});
  if (!entries) return;
  auto rules = entries->find("rules");
  if (rules == entries->end()) return r_.missing(root, "rules", "the list of rules");
  auto items = r_.sequence(rules->second);
  if (!items) return;
  if (items->size() > kDmsRulesMax)
    return r_.problem(rules->second.at(), "rules", fmt::format("more than {} rules", kDmsRulesMax));
  for (const Place& item : *items) rule(item);
  id_.clear();
  if (mapping_.include.empty() && r_.sound("rules"))
    r_.problem(rules->second.at(), "rules",
               "no selection rule includes a table, so nothing would be carried");
}

void DmsReader::rule(const Place& place) {
  id_.clear();
  auto entries = r_.mapping(place);
  if (!entries) return;
  std::string type;
  for (const Place& entry : *entries) {
    if (entry.name == "rule-id") id_ = r_.raw_text(entry).value_or("");
    if (entry.name == "rule-type") type = r_.raw_text(entry).value_or("");
  }
  if (id_.empty()) wrong(place, "a rule without 'rule-id'");
  if (type == "selection") return selection(place);
  if (type == "transformation") return transformation(place);
  wrong(place, type.empty()
                   ? "'rule-type' is missing"
                   : fmt::format("rule-type {} is not supported{}", config::quoted(type),
                                 config::suggestion(type, {"selection", "transformation"})));
}

std::optional<DmsReader::Locator> DmsReader::locator(const Place& rule, const Entries& entries,
                                                     bool column) {
  auto found = entries.find("object-locator");
  if (found == entries.end()) {
    wrong(rule, "'object-locator' is missing");
    return std::nullopt;
  }
  std::vector<std::string> known = {"schema-name", "table-name", "table-type"};
  if (column) known.push_back("column-name");
  auto parts = r_.section(found->second, known);
  if (!parts) return std::nullopt;
  auto type = text(found->second, *parts, "table-type", false);
  if (type && *type != "table")
    wrong(parts->at("table-type"),
          fmt::format("table-type {} is not supported: only tables are carried",
                      config::quoted(*type)));
  Locator where;
  auto schema = text(found->second, *parts, "schema-name");
  if (!schema) return std::nullopt;
  where.schema = *schema;
  where.table = text(found->second, *parts, "table-name", false).value_or("%");
  where.column = text(found->second, *parts, "column-name", false).value_or("%");
  return where;
}

void DmsReader::selection(const Place& place) {
  auto entries = r_.section(place, {"rule-type", "rule-id", "rule-name", "object-locator",
                                    "rule-action", "filters", "load-order"});
  if (!entries) return;
  auto where = locator(place, *entries, false);
  auto action = text(place, *entries, "rule-action");
  if (!where || !action) return;
  TableRule match{pattern(where->schema), pattern(where->table)};
  if (*action == "explicit")
    match = {literal_pattern(where->schema), literal_pattern(where->table)};
  if (*action == "include" || *action == "explicit") {
    mapping_.include.push_back(match);
  } else if (*action == "exclude") {
    mapping_.exclude.push_back(match);
  } else {
    return wrong(entries->at("rule-action"),
                 fmt::format("rule-action {} is not known{}", config::quoted(*action),
                             config::suggestion(*action, {"include", "exclude", "explicit"})));
  }
  auto found = entries->find("filters");
  if (found == entries->end()) return;
  FilterPtr rows = filters(found->second);
  if (!rows) return;
  if (*action == "exclude")
    return wrong(found->second, "filters have no meaning in a rule that excludes");
  auto [earlier, first] =
      filtered_.emplace(std::pair(match.schema, match.table), mapping_.filters.size());
  if (first) {
    mapping_.filters.push_back({match, rows});
    return;
  }
  auto either = node(Kind::kOr);
  either->parts = {mapping_.filters[earlier->second].filter, rows};
  mapping_.filters[earlier->second].filter = either;
}

FilterPtr DmsReader::filters(const Place& place) {
  auto items = r_.sequence(place);
  if (!items || items->empty()) return nullptr;
  auto all = node(Kind::kAnd);
  for (const Place& item : *items)
    if (FilterPtr one = filter(item)) all->parts.push_back(one);
  return all->parts.empty() ? nullptr : all;
}

FilterPtr DmsReader::filter(const Place& place) {
  auto entries = r_.section(place, {"filter-type", "column-name", "filter-conditions"});
  if (!entries) return nullptr;
  auto type = text(place, *entries, "filter-type");
  if (type && *type != "source")
    wrong(entries->at("filter-type"),
          fmt::format("filter-type {} is not supported; write source", config::quoted(*type)));
  auto column = text(place, *entries, "column-name");
  auto found = entries->find("filter-conditions");
  if (found == entries->end()) wrong(place, "'filter-conditions' is missing");
  if (!column || column->empty() || found == entries->end()) return nullptr;
  auto items = r_.sequence(found->second);
  if (!items) return nullptr;
  if (items->empty()) wrong(found->second, "'filter-conditions' is empty");
  auto any = node(Kind::kOr);
  for (const Place& item : *items)
    if (FilterPtr one = condition(item, *column)) any->parts.push_back(one);
  return any->parts.empty() ? nullptr : any;
}

FilterPtr DmsReader::condition(const Place& place, const std::string& column) {
  auto entries = r_.section(place, {"filter-operator", "value", "start-value", "end-value"});
  if (!entries) return nullptr;
  auto op = text(place, *entries, "filter-operator");
  if (!op) return nullptr;
  if (std::find(kOperators.begin(), kOperators.end(), *op) == kOperators.end()) {
    wrong(entries->at("filter-operator"),
          fmt::format("filter-operator {} is not known{}", config::quoted(*op),
                      config::suggestion(*op, kOperators)));
    return nullptr;
  }
  auto made = node(Kind::kCompare);
  made->column = column;
  if (*op == "null" || *op == "notnull") {
    made->kind = Kind::kIsNull;
    return *op == "null" ? FilterPtr(made) : negated(made);
  }
  auto literal = [&](const std::string& key) {
    auto value = text(place, *entries, key);
    if (value) made->literals.push_back({FilterNode::LiteralKind::kEither, *value});
    return value.has_value();
  };
  if (*op == "between" || *op == "notbetween") {
    made->kind = Kind::kBetween;
    bool both = literal("start-value");
    both = literal("end-value") && both;
    if (!both) return nullptr;
    return *op == "between" ? FilterPtr(made) : negated(made);
  }
  made->op = operator_of(*op);
  return literal("value") ? made : nullptr;
}

void DmsReader::transformation(const Place& place) {
  auto entries = r_.section(place, {"rule-type", "rule-id", "rule-name", "object-locator",
                                    "rule-action", "rule-target", "value", "old-value"});
  if (!entries) return;
  auto target = text(place, *entries, "rule-target");
  auto action = text(place, *entries, "rule-action");
  if (!target || !action) return;
  static const std::vector<std::string> kTargets = {"schema", "table", "column"};
  auto found = std::find(kTargets.begin(), kTargets.end(), *target);
  if (found == kTargets.end())
    return wrong(entries->at("rule-target"),
                 fmt::format("rule-target {} is not supported{}", config::quoted(*target),
                             config::suggestion(*target, kTargets)));
  auto of = static_cast<NameOf>(found - kTargets.begin());
  auto where = locator(place, *entries, of == NameOf::kColumn);
  if (!where) return;
  TableRule match{pattern(where->schema), pattern(where->table)};
  bool columns = *action == "remove-column" || *action == "include-column";
  if (columns && of == NameOf::kColumn) {
    mapping_.columns.push_back({match, pattern(where->column), *action == "remove-column"});
    return;
  }
  name_change(place, *entries, *action, of, {of, match, pattern(where->column), {}});
}

void DmsReader::name_change(const Place& place, const Entries& entries, const std::string& action,
                            NameOf of, RenameRule rule) {
  using Action = NameChange::Action;
  auto known = std::find(kNameActions.begin(), kNameActions.end(), action);
  if (known == kNameActions.end()) {
    auto choices = kNameActions;
    if (of == NameOf::kColumn) choices.insert(choices.end(), {"remove-column", "include-column"});
    return wrong(entries.at("rule-action"),
                 fmt::format("rule-action {} is not supported{}", config::quoted(action),
                             config::suggestion(action, choices)));
  }
  static constexpr Action kActions[] = {
      Action::kRename,    Action::kLowercase,    Action::kUppercase,
      Action::kAddPrefix, Action::kRemovePrefix, Action::kReplacePrefix,
      Action::kAddSuffix, Action::kRemoveSuffix, Action::kReplaceSuffix};
  rule.change.action = kActions[known - kNameActions.begin()];
  bool converts = action.starts_with("convert-");
  auto value = text(place, entries, "value", !converts);
  if (!converts && !value) return;
  rule.change.value = value.value_or("");
  if (action == "rename" && rule.change.value.empty())
    return wrong(place, "'value' must be the new name");
  if (action.starts_with("replace-")) {
    auto old = text(place, entries, "old-value");
    if (!old) return;
    rule.change.old = *old;
  }
  mapping_.renames.push_back(std::move(rule));
}

}  // namespace internal

namespace {

config::Problem not_json(const std::string& text, const std::string& file_name) {
  if (text.size() > config::kTextBytesMax)
    return {file_name, 0, 0, fmt::format("larger than {} bytes", config::kTextBytesMax)};
  std::size_t byte = 1;
  try {
    std::ignore = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& e) {
    byte = e.byte;
  } catch (const nlohmann::json::exception&) {
  }
  std::size_t end = std::min(text.size(), byte == 0 ? 0 : byte - 1);
  auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
  std::size_t begin = text.rfind('\n', end == 0 ? 0 : end - 1);
  std::size_t column = begin == std::string::npos || begin >= end ? end : end - begin - 1;
  return {file_name, static_cast<int>(line) + 1, static_cast<int>(column) + 1,
          "this is not valid JSON"};
}

}  // namespace

LoadedMapping load_dms_mapping(std::string_view json, const std::string& file_name) {
  LoadedMapping loaded;
  std::string text(json);
  if (text.size() > config::kTextBytesMax || !nlohmann::json::accept(text)) {
    // The parser that knows positions takes more than JSON, so JSON's own is asked first.
    loaded.problems.push_back(not_json(text, file_name));
    return loaded;
  }
  // A tab in JSON stands outside of texts only, where YAML may not like it.
  std::replace(text.begin(), text.end(), '\t', ' ');
  auto tree = config::parse_yaml(text);
  if (!tree) {
    loaded.problems.push_back(
        {file_name, tree.error().at.line, tree.error().at.column, tree.error().message});
    return loaded;
  }
  Platform none;
  config::Reader reader(file_name, none);
  internal::DmsReader(reader, loaded.mapping)
      .read(config::Place{*tree, config::Position{}, "", "the file"});
  loaded.problems = reader.take_problems();
  return loaded;
}

}  // namespace leeward::replication
