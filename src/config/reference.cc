#include "config/config.h"
#include "config/setting.h"

namespace leeward::config {
namespace {

using Kind = Setting::Kind;

std::string type_text(const Setting& s) {
  switch (s.kind) {
    case Kind::kText:
      return std::string(s.rule->type);
    case Kind::kInteger:
      return s.bounds == "1 … 65535" ? "port" : "whole number";
    case Kind::kNumber:
      return "number";
    case Kind::kBoolean:
      return "true or false";
    case Kind::kDuration:
      return "duration";
    case Kind::kPercent:
      return "percentage";
    case Kind::kChoice:
      return fmt::format("`{}`", fmt::join(s.choices, "`, `"));
    case Kind::kTexts:
      if (s.rule->type == "text") return "list of texts";
      return fmt::format("list, each: {}", s.rule->type);
    case Kind::kRawTexts:
      return "list of texts";
    case Kind::kEnvironment:
      return "variable to value";
    case Kind::kTextMap:
      return fmt::format("`{}` to text", s.key);
    case Kind::kSiteMap:
      return "site to value";
    case Kind::kSection:
      return "section";
    case Kind::kSections:
      return "list of sections";
    case Kind::kNamed:
      return "name to section";
  }
  return "";
}

// Path of the section under a setting: "databases.DATABASE.gateway", "dns.records[]".
std::string inner_path(const std::string& path, const Setting& s) {
  std::string inner = path.empty() ? s.name : path + "." + s.name;
  if (s.kind == Kind::kNamed) inner += "." + s.key;
  if (s.kind == Kind::kSections) inner += "[]";
  return inner;
}

std::string escaped(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  return text;
}

void append_section(std::string& out, const std::string& path, const std::string& sentence,
                    const std::vector<Setting>& settings) {
  if (!path.empty()) out += fmt::format("## `{}`\n\n{}\n\n", path, sentence);
  out += "| setting | type | default | range | meaning |\n|---|---|---|---|---|\n";
  for (const Setting& s : settings) {
    std::string initial = s.required               ? "required"
                          : s.default_text.empty() ? "–"
                          : s.kind == Kind::kText  ? s.default_text
                                                   : "`" + s.default_text + "`";
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", s.name, type_text(s), initial,
                       s.bounds.empty() || s.bounds == "1 … 65535" ? "" : s.bounds,
                       escaped(s.sentence));
  }
  out += "\n";
  for (const Setting& s : settings)
    if (!s.settings.empty()) append_section(out, inner_path(path, s), s.sentence, s.settings);
}

}  // namespace

std::string settings_reference(const std::vector<Setting>& settings) {
  std::string out;
  append_section(out, "", "", settings);
  return out;
}

std::string markdown_reference() {
  std::string out =
      R"(# Configuration

<!-- Written by `leeward schema --markdown`; change the declarations in src/config/*_table.cc. -->

One file, `leeward.yaml`, describes the whole platform; every site has the same copy. `leeward init`
writes a commented one, `leeward validate` checks it, and `leeward schema` prints a JSON Schema for
editors.

Reading is strict: an unknown or duplicate key, a value of the wrong type, a name that refers to
nothing and a policy that would be unsafe are errors with line and column, and all of them are
reported at once. A process never starts with a file that has an error.

- A **duration** is a number with a unit: `250ms`, `4.5s`, `30m`, `2h`, `1d`. The unit is required.
- `–` as a default is none; of a number or a duration, 0.
- A **secret** is a reference, never the value: `file:PATH` (relative to this file, readable by its
  owner only) or `env:NAME`.
- An **address** is IPv4 in this version. An address with port needs quotes in YAML's short form:
  `{ address: "10.0.0.1:3306" }`.
- `SITE`, `TIER` and `DATABASE` stand for names that you choose: a lower-case letter, then letters,
  digits and hyphens.
- Aliases (`&name`, `*name`) can repeat a value; merge keys (`<<`) are not supported.

## The file

)";
  append_section(out, "", "", platform_table().settings());
  out += "## A complete example\n\n```yaml\n" + starting_file("shop") + "```\n";
  return out;
}

}  // namespace leeward::config
