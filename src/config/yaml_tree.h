// A YAML text as a tree with the position of every node. Built from yaml-cpp's event stream and not
// from its Node class, because that one keeps the first of two equal keys in silence and expands
// aliases without a bound.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace leeward::config {

struct Position {
  int line = 1;    // from 1
  int column = 1;  // from 1
  auto operator<=>(const Position&) const = default;
};

struct YamlNode;
// Shared, because an alias is the same node in a second place; immutable once parsed, acyclic.
using YamlPtr = std::shared_ptr<const YamlNode>;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };
  Kind kind = Kind::kNull;
  Position at;
  std::string text;            // scalar: its value
  bool quoted = false;         // scalar: written in quotes, so it is text whatever it looks like
  std::vector<YamlPtr> items;  // sequence
  std::vector<std::pair<YamlPtr, YamlPtr>> entries;  // mapping, in file order, duplicates included

  std::size_t weight = 1;  // nodes below and including this one, aliases expanded
  int height = 1;          // levels below and including this one
};

struct YamlError {
  Position at;
  std::string message;
};

// The one document in `text`. An empty document is a kNull node. Errors: syntax, a second document,
// an explicit tag, a merge key, or a bound of config.h exceeded.
tl::expected<YamlPtr, YamlError> parse_yaml(std::string_view text);

}  // namespace leeward::config
