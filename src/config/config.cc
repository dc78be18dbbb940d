#include "config/config.h"

#include <filesystem>

#include "base/file.h"
#include "config/internal/check.h"
#include "config/setting.h"

namespace leeward::config {

std::string to_string(const Problem& problem) {
  if (problem.line == 0) return fmt::format("{}: {}", problem.file, problem.message);
  return fmt::format("{}:{}:{}: {}", problem.file, problem.line, problem.column, problem.message);
}

Loaded load_text(std::string_view text, const std::string& file_name,
                 const std::string& directory) {
  auto tree = parse_yaml(text);
  if (!tree) {
    const YamlError& error = tree.error();
    return Loaded{{}, {Problem{file_name, error.at.line, error.at.column, error.message}}};
  }
  Platform platform;
  platform.directory = directory;
  platform.state_dir = kDefaultStateDir;
  Reader reader(file_name, platform);
  if ((*tree)->kind == YamlNode::Kind::kNull) {
    reader.problem({}, "",
                   "the file is empty; `leeward init` writes a commented one to start from");
  } else {
    platform_table().read(reader, Place{*tree, Position{}, "", "the file"}, platform);
    check_platform(reader, platform);
    check_dns(reader, platform);
    check_edge(reader, platform);
  }
  Loaded loaded;
  loaded.problems = reader.take_problems();
  if (loaded.problems.empty()) loaded.platform = std::move(platform);
  return loaded;
}

Loaded load_file(const std::string& path) {
  auto text = read_file(path, kTextBytesMax);
  if (!text) {
    std::string message = text.error().code == Code::kNotFound
                              ? "no such file; `leeward init` writes one to start from"
                              : text.error().message;
    return Loaded{{}, {Problem{path, 0, 0, std::move(message)}}};
  }
  std::error_code error;
  auto absolute = std::filesystem::absolute(path, error);
  if (error) return Loaded{{}, {Problem{path, 0, 0, error.message()}}};
  return load_text(*text, path, absolute.lexically_normal().parent_path().string());
}

}  // namespace leeward::config
