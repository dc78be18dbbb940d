#include "compute/expand.h"

namespace leeward::compute {
namespace {

std::string known_names(const PlaceholderValues& values) {
  std::string names;
  for (const auto& [name, value] : values) {
    if (!names.empty()) names += ", ";
    names += "{" + name + "}";
  }
  return names.empty() ? "none" : names;
}

}  // namespace

Result<std::string> expand_text(std::string_view text, const PlaceholderValues& values) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool doubled = i + 1 < text.size() && text[i + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      out += c;
      ++i;
    } else if (c == '}') {
      return fail(Code::kInvalid, "'{}' has a '}}' without '{{'; write '}}}}' for the character",
                  text);
    } else if (c == '{') {
      std::size_t end = text.find('}', i);
      if (end == std::string_view::npos)
        return fail(Code::kInvalid, "'{}' has a '{{' without '}}'; write '{{{{' for the character",
                    text);
      std::string name(text.substr(i + 1, end - i - 1));
      auto value = values.find(name);
      if (value == values.end())
        return fail(Code::kInvalid, "'{}' has an unknown placeholder '{{{}}}'; known here: {}",
                    text, name, known_names(values));
      out += value->second;
      i = end;
    } else {
      out += c;
    }
  }
  return out;
}

Result<ExpandedProcess> expand(const ProcessSpec& spec, const PlaceholderValues& values) {
  ExpandedProcess process;
  for (const std::string& argument : spec.command) {
    auto text = expand_text(argument, values);
    if (!text) return fail(std::move(text.error()).wrap("command"));
    process.argv.push_back(std::move(*text));
  }
  for (const auto& [name, value] : spec.env) {
    auto text = expand_text(value, values);
    if (!text) return fail(std::move(text.error()).wrap("env " + name));
    process.env[name] = std::move(*text);
  }
  auto directory = expand_text(spec.directory, values);
  if (!directory) return fail(std::move(directory.error()).wrap("directory"));
  process.directory = std::move(*directory);
  return process;
}

}  // namespace leeward::compute
