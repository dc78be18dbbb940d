#include "waf/internal/rule_reader.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"

namespace leeward::waf {
namespace {

constexpr std::size_t kListFileMax = 16u << 20;

bool name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

std::string in_lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return lower;
}

// Known to ModSecurity and not to this engine; saying why is more use than "unknown".
std::string_view refused_operator(std::string_view name) {
  for (std::string_view known : {"fuzzyHash", "gsbLookup", "inspectFile", "rsub", "validateDTD",
                                 "validateHash", "validateSchema"})
    if (same_ignoring_case(known, name)) return known;
  return {};
}

}  // namespace

std::string Macro::source() const {
  std::string text;
  for (const Piece& piece : pieces_) {
    if (!piece.variable) {
      text += piece.literal;
      continue;
    }
    text += "%{";
    text += waf::name(*piece.variable);
    if (!piece.name.empty()) text += "." + piece.name;
    text += '}';
  }
  return text;
}

bool Selection::takes(std::string_view value_name, RegexRoom& room) const {
  switch (kind) {
    case Kind::kAll:
      return true;
    case Kind::kName:
      return same_ignoring_case(value_name, name);
    case Kind::kRegex:
      return regex->search(value_name, room) > 0;
  }
  return false;
}

void apply_exclusions(std::vector<Target>& targets, const std::vector<Selection>& excluded) {
  for (const Selection& selection : excluded) {
    std::erase_if(targets, [&](const Target& target) {
      return target.selection.variable == selection.variable &&
             (selection.kind == Selection::Kind::kAll ||
              same_ignoring_case(target.selection.source, selection.source));
    });
    for (Target& target : targets)
      if (target.selection.variable == selection.variable) target.without.push_back(selection);
  }
}

Rule RuleReader::read_rule(const Directive& directive) {
  Rule rule;
  rule.place = directive.name.place();
  if (directive.arguments.size() < 2 || directive.arguments.size() > 3) {
    problems_.add(rule.place, "SecRule takes variables, an operator and actions");
    return rule;
  }
  Targets targets = read_targets(directive.arguments[0]);
  rule.targets = std::move(targets.taken);
  apply_exclusions(rule.targets, targets.excluded);
  if (rule.targets.empty())
    problem(directive.arguments[0], 0, "the rule looks at no variable, so it can never match");
  rule.use = read_operator(directive.arguments[1]);
  if (directive.arguments.size() == 3) rule.actions = read_actions(directive.arguments[2]);
  return rule;
}

Rule RuleReader::read_action(const Directive& directive) {
  Rule rule;
  rule.place = directive.name.place();
  if (directive.arguments.size() != 1)
    problems_.add(rule.place, "SecAction takes one word, its actions");
  else
    rule.actions = read_actions(directive.arguments[0]);
  return rule;
}

RuleReader::Targets RuleReader::read_targets(const Word& word) {
  Targets targets;
  const std::string& text = word.text;
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '|' || text[at] == ',' || text[at] == ' ') {
      ++at;
      continue;
    }
    const char sign = text[at] == '!' || text[at] == '&' ? text[at++] : ' ';
    // To the next separator, but a regular expression may hold separators.
    std::size_t end = at;
    while (end < text.size() && name_character(text[end])) ++end;
    const bool xml = same_ignoring_case(std::string_view(text).substr(at, end - at), "XML");
    if (end < text.size() && (text[end] == ':' || text[end] == '.')) {
      ++end;
      if (end < text.size() && text[end] == '\'') ++end;
      if (end < text.size() && text[end] == '/' && !xml) {
        ++end;
        while (end < text.size() && text[end] != '/') end += text[end] == '\\' ? 2 : 1;
        end = std::min(end + 1, text.size());
      }
    }
    while (end < text.size() && text[end] != '|' && text[end] != ',') ++end;
    if (auto selection = read_selection(word, at, end)) {
      const Variable variable = selection->variable;
      if (variable == Variable::kEnv || variable == Variable::kRule ||
          variable == Variable::kFilesTmpNames || variable == Variable::kFilesTmpContent)
        problem(word, at,
                fmt::format("{} has no values here, so the rule would never match",
                            waf::name(variable)));
      if (sign == '!')
        targets.excluded.push_back(std::move(*selection));
      else
        targets.taken.push_back(
            Target{.selection = std::move(*selection), .count = sign == '&', .without = {}});
    }
    at = end;
  }
  return targets;
}

std::optional<Selection> RuleReader::read_selection(const Word& word, std::size_t begin,
                                                    std::size_t end) {
  const std::string_view text = std::string_view(word.text).substr(begin, end - begin);
  std::size_t length = 0;
  while (length < text.size() && name_character(text[length])) ++length;
  const auto variable = variable_named(text.substr(0, length));
  if (!variable) {
    problem(word, begin, fmt::format("there is no variable '{}'", text.substr(0, length)));
    return std::nullopt;
  }
  Selection selection{.variable = *variable};
  selection.source = waf::name(*variable);
  std::string_view rest = text.substr(length);
  if (rest.empty()) {
    if (*variable == Variable::kXml) selection.name = "/*";
    return selection;
  }
  if (rest[0] != ':' && rest[0] != '.') {
    problem(word, begin + length, fmt::format("'{}' does not belong into a variable", rest[0]));
    return std::nullopt;
  }
  rest = trimmed(rest.substr(1));
  const std::size_t at = end - rest.size();
  if (rest.size() >= 2 && rest.front() == '\'' && rest.back() == '\'')
    rest = rest.substr(1, rest.size() - 2);
  if (rest.empty() || !has_names(*variable)) {
    problem(word, at,
            rest.empty() ? std::string("a name is missing behind the colon")
                         : fmt::format("{} is one value, there is nothing in it to choose by name",
                                       waf::name(*variable)));
    return std::nullopt;
  }
  selection.source += ':';
  selection.source += rest;
  if (*variable == Variable::kXml) {
    if (rest != "/*" && rest != "//@*") {
      problem(word, at, "of XML, only /* (all text) and //@* (all attributes) can be looked at");
      return std::nullopt;
    }
    selection.kind = Selection::Kind::kName;
    selection.name = rest;
  } else if (rest.size() >= 2 && rest.front() == '/' && rest.back() == '/') {
    auto regex = Regex::compile(rest.substr(1, rest.size() - 2), true);
    if (!regex) {
      problem(word, at, regex.error().message);
      return std::nullopt;
    }
    selection.kind = Selection::Kind::kRegex;
    selection.regex = std::move(*regex);
  } else {
    selection.kind = Selection::Kind::kName;
    selection.name = in_lower_case(rest);
    selection.hash = hash_ignoring_case(selection.name);
  }
  return selection;
}

Macro RuleReader::read_macro(const Word& word, std::size_t offset, std::string_view text,
                             bool strict) {
  Macro macro;
  std::string literal;
  const auto flush = [&] {
    if (!literal.empty()) macro.add({.literal = std::exchange(literal, {})});
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t close = text.find('}', at);
    if (text[at] != '%' || at + 1 >= text.size() || text[at + 1] != '{' ||
        close == std::string_view::npos) {
      literal += text[at++];
      continue;
    }
    const std::string_view inner = text.substr(at + 2, close - at - 2);
    std::size_t length = 0;
    while (length < inner.size() && name_character(inner[length])) ++length;
    const auto variable = variable_named(inner.substr(0, length));
    const bool named = length < inner.size() && (inner[length] == '.' || inner[length] == ':');
    if (!variable || (length < inner.size() && !named)) {
      if (strict)
        problem(word, offset + at, fmt::format("there is no variable '{}' to put here", inner));
      literal += text[at++];
      continue;
    }
    flush();
    macro.add({.literal = {},
               .variable = variable,
               .name = named ? in_lower_case(inner.substr(length + 1)) : std::string()});
    at = close + 1;
  }
  flush();
  return macro;
}

std::vector<IdRange> RuleReader::read_ids(const Word& word, std::size_t offset,
                                          std::string_view text) {
  std::vector<IdRange> ranges;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](std::uint32_t& value) {
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc()) return false;
    at = next;
    return true;
  };
  while (at < end) {
    if (*at == ' ' || *at == ',' || *at == '\t') {
      ++at;
      continue;
    }
    IdRange range{};
    bool good = number(range.first);
    range.last = range.first;
    if (good && at < end && *at == '-') {
      ++at;
      good = number(range.last) && range.first <= range.last;
    }
    if (!good || (at < end && *at != ' ' && *at != ',' && *at != '\t')) {
      problem(word, offset + static_cast<std::size_t>(at - text.data()),
              "a rule's id is a number, a range of them is written 1-9");
      return {};
    }
    ranges.push_back(range);
  }
  if (ranges.empty()) problem(word, offset, "the id of a rule is missing");
  return ranges;
}

OperatorUse RuleReader::read_operator(const Word& word) {
  OperatorUse use;
  std::string_view text = word.text;
  std::size_t at = 0;
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  if (at < text.size() && text[at] == '!') {
    use.negated = true;
    ++at;
  }
  if (at >= text.size() || text[at] != '@') {
    use.op = Operator::kRx;  // the language's default
  } else {
    const std::size_t begin = ++at;
    while (at < text.size() && name_character(text[at])) ++at;
    const std::string_view name = text.substr(begin, at - begin);
    const auto op = operator_named(name);
    if (!op) {
      const std::string_view refused = refused_operator(name);
      problem(word, begin - 1,
              refused.empty() ? fmt::format("there is no operator '@{}'", name)
                              : fmt::format("the operator @{} is not supported here", refused));
      return use;
    }
    use.op = *op;
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  }
  const bool regex = use.op == Operator::kRx || use.op == Operator::kRxGlobal;
  use.argument = read_macro(word, at, text.substr(at), !regex);
  prepare(word, at, use);
  return use;
}

void RuleReader::prepare(const Word& word, std::size_t at, OperatorUse& use) {
  const bool literal = use.argument.is_literal();
  const std::string& argument = use.argument.literal();
  const auto wrong = [&](const Error& error) { problem(word, at, error.message); };
  switch (use.op) {
    case Operator::kRx:
    case Operator::kRxGlobal:
    case Operator::kVerifyCc:
    case Operator::kVerifyCpf:
    case Operator::kVerifySsn:
    case Operator::kVerifySvnr: {
      if (!literal) break;
      auto regex = Regex::compile(argument, false);
      if (!regex) return wrong(regex.error());
      use.regex = std::move(*regex);
      break;
    }
    case Operator::kPm:
    case Operator::kPmFromFile:
      return prepare_phrases(word, at, use);
    case Operator::kIpMatch:
    case Operator::kIpMatchFromFile: {
      Result<IpSet> addresses = IpSet();
      if (use.op == Operator::kIpMatch) {
        addresses = IpSet::parse_list(argument);
      } else {
        auto text = file_beside(word, at, argument);
        if (!text) return;
        addresses = IpSet::parse_file(*text, argument);
      }
      if (!addresses) return wrong(addresses.error());
      use.addresses = std::make_shared<const IpSet>(std::move(*addresses));
      break;
    }
    case Operator::kValidateByteRange: {
      auto bytes = ByteRange::parse(argument);
      if (!bytes) return wrong(bytes.error());
      use.bytes = std::make_shared<const ByteRange>(std::move(*bytes));
      break;
    }
    default:
      break;
  }
  if (!literal && (use.op == Operator::kIpMatch || use.op == Operator::kValidateByteRange ||
                   use.op == Operator::kVerifyCc))
    problem(word, at, "this operator's argument may not hold a macro");
}

void RuleReader::prepare_phrases(const Word& word, std::size_t at, OperatorUse& use) {
  if (!use.argument.is_literal()) {
    problem(word, at, "the phrases of @pm may not hold a macro");
    return;
  }
  if (use.op == Operator::kPm) {
    auto phrases = PhraseSet::parse_list(use.argument.literal());
    if (!phrases) return problem(word, at, phrases.error().message);
    use.phrases = std::make_shared<const PhraseSet>(std::move(*phrases));
    return;
  }
  std::string all;  // several files may be named
  std::string_view names = use.argument.literal();
  while (!(names = trimmed(names)).empty()) {
    const std::size_t end = std::min(names.find(' '), names.size());
    auto text = file_beside(word, at, names.substr(0, end));
    if (!text) return;
    all += *text;
    all += '\n';
    names.remove_prefix(end);
  }
  auto phrases = PhraseSet::parse_file(all);
  if (!phrases) return problem(word, at, phrases.error().message);
  use.phrases = std::make_shared<const PhraseSet>(std::move(*phrases));
}

std::optional<std::string> RuleReader::file_beside(const Word& word, std::size_t at,
                                                   std::string_view name) {
  if (!files_) {
    problem(word, at, "rules from a text may not read files");
    return std::nullopt;
  }
  std::filesystem::path path(name);
  if (path.is_relative()) path = std::filesystem::path(*word.place().file).parent_path() / path;
  auto text = read_file(path, kListFileMax);
  if (!text) {
    problem(word, at, text.error().message);
    return std::nullopt;
  }
  files_read_.append(sha256_hex(*text)) += '\n';
  return std::move(*text);
}

}  // namespace leeward::waf
