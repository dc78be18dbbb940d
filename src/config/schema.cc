#include <nlohmann/json.hpp>

#include "config/config.h"
#include "config/setting.h"

namespace leeward::config {
namespace {

using Json = nlohmann::ordered_json;

// What YAML may read as a number or a boolean and Leeward takes as text.
Json any_scalar() { return Json{{"type", {"string", "number", "boolean"}}}; }

Json text_schema(const TextRule& rule) {
  return Json{{"type", "string"}, {"pattern", rule.pattern}};
}

Json section_schema(const std::vector<Setting>& settings);

Json kind_schema(const Setting& s) {
  using Kind = Setting::Kind;
  switch (s.kind) {
    case Kind::kText:
      return text_schema(*s.rule);
    case Kind::kInteger:
      return Json{{"type", "integer"}, {"minimum", s.minimum}, {"maximum", s.maximum}};
    case Kind::kNumber:
      return Json{{"type", "number"}, {"minimum", s.least}, {"maximum", s.most}};
    case Kind::kBoolean:
      return Json{{"type", "boolean"}};
    case Kind::kDuration:
      return Json{{"type", "string"}, {"pattern", "^[0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h|d)$"}};
    case Kind::kPercent:
      return Json{{"type", "string"}, {"pattern", "^[0-9]+(\\.[0-9]+)?%$"}};
    case Kind::kChoice:
      return Json{{"enum", s.choices}};
    case Kind::kTexts:
      return Json{{"type", "array"}, {"items", text_schema(*s.rule)}};
    case Kind::kRawTexts:
      return Json{{"type", "array"}, {"items", any_scalar()}};
    case Kind::kEnvironment:
    case Kind::kTextMap:
      return Json{{"type", "object"}, {"additionalProperties", any_scalar()}};
    case Kind::kSiteMap:
      return Json{{"type", "object"}, {"additionalProperties", text_schema(*s.rule)}};
    case Kind::kSection:
      return section_schema(s.settings);
    case Kind::kSections:
      return Json{{"type", "array"}, {"items", section_schema(s.settings)}};
    case Kind::kNamed:
      return Json{{"type", "object"},
                  {"propertyNames", text_schema(kNameRule)},
                  {"additionalProperties", section_schema(s.settings)}};
  }
  return Json::object();
}

Json section_schema(const std::vector<Setting>& settings) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const Setting& s : settings) {
    Json property{{"description", s.sentence}};
    property.update(kind_schema(s));
    properties[s.name] = std::move(property);
    if (s.required) required.push_back(s.name);
  }
  return Json{{"type", "object"},
              {"properties", std::move(properties)},
              {"required", std::move(required)},
              {"additionalProperties", false}};
}

}  // namespace

std::string json_schema() {
  Json schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
              {"title", "Leeward platform (leeward.yaml)"}};
  schema.update(section_schema(platform_table().settings()));
  return schema.dump(2) + "\n";
}

}  // namespace leeward::config
