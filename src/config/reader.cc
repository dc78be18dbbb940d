#include "config/reader.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace leeward::config {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z') || is_digit(c); }

bool valid_text(std::string_view text) {
  return !text.empty() && text.find('\0') == std::string_view::npos;
}

bool valid_address(std::string_view text) {
  in_addr address{};
  return text.size() <= 15 && inet_pton(AF_INET, std::string(text).c_str(), &address) == 1;
}

bool valid_endpoint(std::string_view text) {
  auto endpoint = parse_endpoint(text);
  return endpoint && valid_address(endpoint->host);
}

bool valid_gateway(std::string_view text) {
  auto endpoint = parse_endpoint(text);
  return endpoint && (endpoint->host == "{address}" || valid_address(endpoint->host));
}

bool valid_label(std::string_view label, bool underscore) {
  if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')
    return false;
  return std::all_of(label.begin(), label.end(), [underscore](char c) {
    return is_alphanumeric(c) || c == '-' || (underscore && c == '_');
  });
}

bool valid_labels(std::string_view name, bool underscore) {
  if (name.size() > 253) return false;
  for (;;) {
    auto dot = name.find('.');
    if (!valid_label(name.substr(0, dot), underscore)) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

bool valid_host(std::string_view name) { return valid_labels(name, false); }

bool valid_record_name(std::string_view name) {
  if (name == "@" || name == "*") return true;
  if (name.starts_with("*.")) name.remove_prefix(2);
  return valid_labels(name, true);
}

bool valid_mail(std::string_view text) {
  auto at = text.find('@');
  if (at == std::string_view::npos || at == 0 || at > 63) return false;
  auto local = text.substr(0, at);
  return valid_host(text.substr(at + 1)) && std::all_of(local.begin(), local.end(), [](char c) {
           return is_alphanumeric(c) || c == '-' || c == '_' || c == '+' || c == '.';
         });
}

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 && is_lower(name.front()) && name.back() != '-' &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
}

bool valid_path(std::string_view path) {
  return path.starts_with('/') && path.size() <= 1024 &&
         std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool valid_secret(std::string_view text) {
  if (!valid_text(text)) return false;
  if (text.starts_with("file:")) return text.size() > 5;
  if (!text.starts_with("env:") || text.size() == 4 || is_digit(text[4])) return false;
  return std::all_of(text.begin() + 4, text.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_'; });
}

bool valid_variable(std::string_view name) {
  return !name.empty() && !is_digit(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_'; });
}

// Edits (insert, remove, replace, swap of neighbours) from `a` to `b`.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        next[j] = std::min(next[j], before[j - 2] + 1);
    }
    before.swap(row);
    row.swap(next);
  }
  return row[b.size()];
}

std::string child_path(const std::string& parent, std::string_view name) {
  return parent.empty() ? std::string(name) : fmt::format("{}.{}", parent, name);
}

}  // namespace

const TextRule kAnyText{"text", "write at least one character", "^[^\\u0000]+$", valid_text};
const TextRule kAddressRule{"IPv4 address", "write for example 10.0.0.1",
                            "^[0-9]{1,3}(\\.[0-9]{1,3}){3}$", valid_address};
const TextRule kEndpointRule{"address with port", "write IPV4:PORT, for example \"10.0.0.1:3306\"",
                             "^[0-9]{1,3}(\\.[0-9]{1,3}){3}:[0-9]{1,5}$", valid_endpoint};
const TextRule kGatewayRule{
    "address with port",
    "write IPV4:PORT, for example \"127.0.0.1:3307\", or \"{address}:3307\" for the site's address",
    "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\{address\\}):[0-9]{1,5}$", valid_gateway};
const TextRule kHostRule{
    "host name", "write labels of letters, digits and hyphens, for example ns1.shop.test",
    "^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$",
    valid_host};
const TextRule kRecordRule{
    "record name",
    "write the name inside the zone, for example www, *.shops or @ for the zone itself",
    "^(@|\\*|(\\*\\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
    "(\\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*)$",
    valid_record_name};
const TextRule kMailRule{"mail address", "write for example hostmaster@shop.test",
                         "^[A-Za-z0-9+._-]+@[A-Za-z0-9.-]+$", valid_mail};
const TextRule kNameRule{"name",
                         "write a lower-case letter, then letters, digits and hyphens, 32 at most",
                         "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", valid_name};
const TextRule kPathRule{"URL path", "write for example /healthz", "^/[!-~]*$", valid_path};
const TextRule kSecretRule{
    "secret", "write file:PATH or env:NAME; the secret itself never stands in this file",
    "^(file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$", valid_secret};

std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 60;
  std::string out = "'";
  for (char c : text.substr(0, kShown))
    out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? '?' : c;
  // A clipped multi-byte character would make the message invalid UTF-8.
  while (text.size() > kShown && (static_cast<unsigned char>(out.back()) & 0x80) != 0)
    out.pop_back();
  return out + (text.size() > kShown ? "…'" : "'");
}

std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  if (word.size() > 64) return std::nullopt;
  const std::string* best = nullptr;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    std::size_t distance = edit_distance(word, candidate);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = &candidate;
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  if (auto near = nearest(word, candidates)) return fmt::format("; did you mean '{}'?", *near);
  if (candidates.empty()) return "";
  return fmt::format("; write one of: {}", fmt::join(candidates, ", "));
}

void Reader::problem(Position at, std::string_view path, std::string message) {
  broken_.emplace(path);
  if (problems_.size() >= kProblemsMax) {
    ++problems_left_out_;
    return;
  }
  problems_.push_back(Problem{file_, at.line, at.column, std::move(message)});
}

void Reader::missing(const Place& section, std::string_view name, std::string_view sentence) {
  std::string path = child_path(section.path, name);
  if (misspelt_.find(path) != misspelt_.end()) return;
  problem(section.key, path,
          fmt::format("'{}' is missing{}: {}", name,
                      section.path.empty() ? "" : " in " + section.path, sentence));
}

bool Reader::sound(std::string_view path) const {
  for (const std::string& broken : broken_) {
    std::string_view shorter = std::min<std::string_view>(
        path, broken, [](auto a, auto b) { return a.size() < b.size(); });
    std::string_view longer = shorter.data() == path.data() ? std::string_view(broken) : path;
    if (!longer.starts_with(shorter)) continue;
    if (longer.size() == shorter.size() || shorter.empty() || longer[shorter.size()] == '.' ||
        longer[shorter.size()] == '[')
      return false;
  }
  return true;
}

std::pair<Position, Position> Reader::find(std::string_view path) const {
  for (;;) {
    if (auto found = places_.find(path); found != places_.end()) return found->second;
    auto cut = path.find_last_of(".[");
    if (cut == std::string_view::npos) return {Position{}, Position{}};
    path = path.substr(0, cut);
  }
}

std::optional<std::vector<Place>> Reader::mapping(const Place& place) {
  using Kind = YamlNode::Kind;
  if (place.node->kind != Kind::kMapping) {
    problem(place.at(), place.path,
            fmt::format("'{}' must be a section of 'key: value' pairs", place.name));
    return std::nullopt;
  }
  std::vector<Place> places;
  std::map<std::string, Position> first;
  for (const auto& [key, value] : place.node->entries) {
    if (key->kind != Kind::kScalar || key->text.empty()) {
      problem(key->at, child_path(place.path, "?"), "a key must be plain text");
      continue;
    }
    std::string path = child_path(place.path, key->text);
    if (!key->quoted && key->text == "<<") {
      problem(key->at, path,
              "merge keys ('<<') are not supported; use an alias for the whole value");
      continue;
    }
    auto [earlier, added] = first.emplace(key->text, key->at);
    if (!added) {
      problem(key->at, path,
              fmt::format("duplicate key {}; it was set before in line {}", quoted(key->text),
                          earlier->second.line));
      continue;
    }
    places.push_back(Place{value, key->at, std::move(path), key->text});
    note(places.back());
  }
  return places;
}

std::optional<std::map<std::string, Place>> Reader::section(const Place& place,
                                                            const std::vector<std::string>& known) {
  auto entries = mapping(place);
  if (!entries) return std::nullopt;
  std::vector<std::string> unused;  // only these can be what a misspelt key stands for
  for (const std::string& name : known)
    if (std::none_of(entries->begin(), entries->end(),
                     [&](const Place& entry) { return entry.name == name; }))
      unused.push_back(name);
  std::map<std::string, Place> by_name;
  for (Place& entry : *entries) {
    if (std::find(known.begin(), known.end(), entry.name) != known.end()) {
      by_name.emplace(entry.name, std::move(entry));
      continue;
    }
    auto near = nearest(entry.name, unused);
    problem(entry.key, entry.path,
            fmt::format("unknown key {}{}{}", quoted(entry.name),
                        place.path.empty() ? "" : " in " + place.path,
                        suggestion(entry.name, near ? unused : known)));
    // What was meant has no trustworthy value, and is not missing either.
    if (near) {
      std::string meant = child_path(place.path, *near);
      broken_.insert(meant);
      misspelt_.insert(meant);
    }
  }
  return by_name;
}

std::optional<std::vector<Place>> Reader::sequence(const Place& place) {
  if (place.node->kind != YamlNode::Kind::kSequence) {
    problem(
        place.at(), place.path,
        fmt::format("'{}' must be a list; write [a, b] or lines that begin with '- '", place.name));
    return std::nullopt;
  }
  std::vector<Place> items;
  for (const YamlPtr& item : place.node->items) {
    items.push_back(
        Place{item, item->at, fmt::format("{}[{}]", place.path, items.size()), place.name});
    note(items.back());
  }
  return items;
}

std::optional<std::string_view> Reader::scalar(const Place& place, std::string_view wanted) {
  if (place.node->kind == YamlNode::Kind::kScalar) return place.node->text;
  problem(place.at(), place.path,
          fmt::format(
              "'{}' {}; expected {}", place.name,
              place.node->kind == YamlNode::Kind::kNull ? "has no value" : "must be a single value",
              wanted));
  return std::nullopt;
}

std::optional<std::string> Reader::text(const Place& place, const TextRule& rule) {
  auto value = scalar(place, fmt::format("{}, {}", rule.type, rule.advice));
  if (!value) return std::nullopt;
  if (!rule.valid(*value)) {
    // What stands where a reference to a secret belongs may be the secret itself.
    problem(place.at(), place.path,
            fmt::format("{}: {} is not a valid {}; {}", place.name,
                        &rule == &kSecretRule ? "this" : quoted(*value), rule.type, rule.advice));
    return std::nullopt;
  }
  return std::string(*value);
}

std::optional<std::int64_t> Reader::integer(const Place& place, Bounds<std::int64_t> bounds) {
  auto value = scalar(place, "a whole number");
  if (!value) return std::nullopt;
  std::int64_t number = 0;
  auto [rest, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error == std::errc::invalid_argument || rest != value->data() + value->size() ||
      place.node->quoted) {
    problem(place.at(), place.path,
            fmt::format("{}: {} is not a whole number{}", place.name, quoted(*value),
                        place.node->quoted ? "; write it without quotes" : ""));
    return std::nullopt;
  }
  if (error != std::errc{} || number < bounds.min || number > bounds.max) {
    problem(place.at(), place.path,
            fmt::format("{}: {} is out of range; write {} to {}", place.name, quoted(*value),
                        bounds.min, bounds.max));
    return std::nullopt;
  }
  return number;
}

std::optional<bool> Reader::boolean(const Place& place) {
  auto value = scalar(place, "true or false");
  if (!value) return std::nullopt;
  if (!place.node->quoted && (*value == "true" || *value == "false")) return *value == "true";
  problem(place.at(), place.path,
          fmt::format("{}: {} is neither true nor false", place.name, quoted(*value)));
  return std::nullopt;
}

std::optional<Duration> Reader::duration(const Place& place, Bounds<Duration> bounds) {
  auto value = scalar(place, "a duration, for example 250ms, 3s or 30m");
  if (!value) return std::nullopt;
  if (value->size() > 40) {
    problem(place.at(), place.path,
            fmt::format("{}: {} is not a duration; write for example 250ms, 3s, 30m, 2h",
                        place.name, quoted(*value)));
    return std::nullopt;
  }
  auto parsed = parse_duration(*value);
  if (!parsed) {
    problem(place.at(), place.path, fmt::format("{}: {}", place.name, parsed.error().message));
    return std::nullopt;
  }
  if (*parsed < bounds.min || *parsed > bounds.max) {
    problem(place.at(), place.path,
            fmt::format("{}: {} is out of range; write {} to {}", place.name, quoted(*value),
                        format_duration(bounds.min), format_duration(bounds.max)));
    return std::nullopt;
  }
  return *parsed;
}

std::optional<double> Reader::number(const Place& place, Bounds<double> bounds) {
  auto value = scalar(place, "a number");
  if (!value) return std::nullopt;
  double number = 0;
  const char* end = value->data() + value->size();
  auto [rest, error] = std::from_chars(value->data(), end, number, std::chars_format::fixed);
  if (error != std::errc{} || rest != end || place.node->quoted) {
    problem(place.at(), place.path,
            fmt::format("{}: {} is not a number{}", place.name, quoted(*value),
                        place.node->quoted ? "; write it without quotes" : ""));
    return std::nullopt;
  }
  // Written so that a NaN is out of range too.
  if (!(number >= bounds.min && number <= bounds.max)) {
    problem(place.at(), place.path,
            fmt::format("{}: {} is out of range; write {} to {}", place.name, quoted(*value),
                        bounds.min, bounds.max));
    return std::nullopt;
  }
  return number;
}

std::optional<double> Reader::percent(const Place& place, Bounds<double> bounds) {
  auto value = scalar(place, "a percentage, for example 1%");
  if (!value) return std::nullopt;
  double number = 0;
  const char* end = value->data() + value->size();
  auto [rest, error] = std::from_chars(value->data(), end, number, std::chars_format::fixed);
  if (error != std::errc{} || std::string_view(rest, end) != "%") {
    problem(place.at(), place.path,
            fmt::format("{}: {} is not a percentage; write for example 1%", place.name,
                        quoted(*value)));
    return std::nullopt;
  }
  // Written so that a NaN is out of range too.
  if (!(number / 100 >= bounds.min && number / 100 <= bounds.max)) {
    problem(place.at(), place.path,
            fmt::format("{}: {} is out of range; write {}% to {}%", place.name, quoted(*value),
                        bounds.min * 100, bounds.max * 100));
    return std::nullopt;
  }
  return number / 100;
}

std::optional<std::size_t> Reader::choice(const Place& place,
                                          const std::vector<std::string>& choices) {
  auto value = scalar(place, fmt::format("one of: {}", fmt::join(choices, ", ")));
  if (!value) return std::nullopt;
  auto found = std::find(choices.begin(), choices.end(), *value);
  if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
  problem(place.at(), place.path,
          fmt::format("{}: {} is not known{}", place.name, quoted(*value),
                      suggestion(*value, choices)));
  return std::nullopt;
}

std::optional<SiteId> Reader::site(const Place& place) {
  auto value = scalar(place, "the name of a site");
  if (!value) return std::nullopt;
  auto found = platform_.find_site(*value);
  if (found || platform_.sites.empty()) return found;
  std::vector<std::string> names;
  for (const Site& s : platform_.sites) names.push_back(s.name);
  problem(place.at(), place.path,
          fmt::format("{}: there is no site {}{}", place.name, quoted(*value),
                      suggestion(*value, names)));
  return std::nullopt;
}

std::optional<std::string> Reader::raw_text(const Place& place) {
  auto value = scalar(place, "text");
  if (!value) return std::nullopt;
  if (value->find('\0') != std::string_view::npos) {
    problem(place.at(), place.path, fmt::format("{}: text with a zero byte", place.name));
    return std::nullopt;
  }
  return std::string(*value);
}

std::optional<std::string> Reader::environment_value(const Place& place) {
  if (valid_variable(place.name)) return raw_text(place);
  problem(place.key, place.path,
          fmt::format("{} is not a name of an environment variable; write letters, digits and "
                      "underscores",
                      quoted(place.name)));
  return std::nullopt;
}

std::vector<Problem> Reader::take_problems() {
  std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  if (problems_left_out_ > 0)
    problems_.push_back(
        Problem{file_, 0, 0, fmt::format("and {} more problems", problems_left_out_)});
  return std::move(problems_);
}

}  // namespace leeward::config
