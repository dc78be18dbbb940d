// How help texts are laid out. Included by cli.cc alone, because CLI11 is expensive to compile.
#pragma once

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <sstream>
#include <string>

namespace leeward::cli {

inline constexpr std::size_t kHelpWidth = 88;
inline constexpr std::size_t kHelpIndent = 14;

// Breaks `text` at blanks into lines of at most kHelpWidth; all but the first start with `indent`
// blanks, and the first is taken to stand behind as many.
inline std::string wrap(const std::string& text, std::size_t indent) {
  std::string out;
  std::size_t column = indent;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (column > indent && column + 1 + word.size() > kHelpWidth) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

// The list of commands shows the first sentence of each; a command's own help shows all of it.
class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override {
    return wrap(app->get_description(), 0) + "\n\n";
  }
  std::string make_subcommand(const CLI::App* sub) const override {
    std::string description = sub->get_description();
    std::string sentence =
        description.substr(0, std::min(description.find(". "), description.find(": ")));
    if (sentence.ends_with('.')) sentence.pop_back();
    return fmt::format("  {:<{}}{}\n", sub->get_name(), kHelpIndent - 2,
                       wrap(sentence, kHelpIndent));
  }
};

}  // namespace leeward::cli
