// Reads values out of the YAML tree and collects every problem instead of stopping at the first.
//
// Each value has a path ("databases.orders.gateway.listen", "dns.records[2].ttl"). The reader
// remembers where each path stands in the file and which paths had a problem, so that the checks
// that come after reading (check.h) can point at the right place and stay silent about values that
// were not read.
//
// One Reader serves one file, on one thread. Only site() needs the platform; readers of other files
// than leeward.yaml hand in an empty one.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/yaml_tree.h"

namespace leeward::config {

// One value of the file: where its key is, where the value is, and what it is called.
struct Place {
  YamlPtr node;
  Position key;  // of its key; of the item itself in a list
  std::string path;
  std::string name;  // last part of the path, as written

  // Where a problem of the value is shown: an absent value has no position of its own.
  Position at() const { return node->kind == YamlNode::Kind::kNull ? key : node->at; }
};

// What a text value must look like. `pattern` is the same rule as `valid` for the JSON Schema.
struct TextRule {
  std::string_view type;     // "IPv4 address"
  std::string_view advice;   // "write four numbers, for example 10.0.0.1"
  std::string_view pattern;  // ECMA 262, anchored
  bool (*valid)(std::string_view);
};

extern const TextRule kAnyText;       // one or more characters
extern const TextRule kAddressRule;   // IPv4 address
extern const TextRule kEndpointRule;  // IPv4 address and port
extern const TextRule kGatewayRule;   // the same, or {address}:PORT
extern const TextRule kHostRule;      // DNS host name, RFC 1123 section 2.1
extern const TextRule kRecordRule;    // owner name of a record inside a zone, "@", "*.x", "_srv.x"
extern const TextRule kMailRule;      // mail address
extern const TextRule kNameRule;      // name of a platform, site, tier or database
extern const TextRule kPathRule;      // path of a URL
extern const TextRule kSecretRule;    // file:PATH or env:NAME

template <typename V>
struct Bounds {
  V min = std::numeric_limits<V>::lowest();
  V max = std::numeric_limits<V>::max();
};

class Reader {
 public:
  Reader(std::string file, Platform& platform) : file_(std::move(file)), platform_(platform) {}

  Platform& platform() { return platform_; }

  void problem(Position at, std::string_view path, std::string message);
  // A required key is not in `section`. Silent when a misspelt key was probably meant to be it.
  void missing(const Place& section, std::string_view name, std::string_view sentence);

  // The entries of a mapping by key. Reports a value of another kind, duplicate keys, and keys that
  // are not plain text. The key's position is in each Place. nullopt: not a mapping.
  std::optional<std::vector<Place>> mapping(const Place& place);
  // The same where only the keys `known` may be used.
  std::optional<std::map<std::string, Place>> section(const Place& place,
                                                      const std::vector<std::string>& known);
  // Its items; their positions serve as key positions too.
  std::optional<std::vector<Place>> sequence(const Place& place);

  // Each returns the value, or nullopt after reporting a problem.
  std::optional<std::string> text(const Place& place, const TextRule& rule);
  std::optional<std::int64_t> integer(const Place& place, Bounds<std::int64_t> bounds);
  std::optional<bool> boolean(const Place& place);
  std::optional<Duration> duration(const Place& place, Bounds<Duration> bounds);
  std::optional<double> number(const Place& place, Bounds<double> bounds);
  std::optional<double> percent(const Place& place, Bounds<double> bounds);  // "1%" is 0.01
  std::optional<std::size_t> choice(const Place& place, const std::vector<std::string>& choices);
  std::optional<SiteId> site(const Place& place);
  // Any scalar as text, for values that are handed on as they are (argv, environment).
  std::optional<std::string> raw_text(const Place& place);
  // The same under a key that must be the name of an environment variable.
  std::optional<std::string> environment_value(const Place& place);

  // The file has a value at `path`.
  bool present(std::string_view path) const { return places_.find(path) != places_.end(); }
  // No problem was reported at `path`, below it, or above it.
  bool sound(std::string_view path) const;
  // Where the value, or its key, of `path` is; if it is not in the file, the nearest one around it.
  Position value_at(std::string_view path) const { return find(path).first; }
  Position key_at(std::string_view path) const { return find(path).second; }

  // All problems in file order, at most kProblemsMax and a note about the rest.
  std::vector<Problem> take_problems();

 private:
  void note(const Place& place) { places_[place.path] = {place.at(), place.key}; }
  std::pair<Position, Position> find(std::string_view path) const;
  std::optional<std::string_view> scalar(const Place& place, std::string_view wanted);

  std::string file_;
  Platform& platform_;
  std::vector<Problem> problems_;
  std::size_t problems_left_out_ = 0;
  std::set<std::string, std::less<>> broken_;
  std::set<std::string, std::less<>> misspelt_;  // what unknown keys were probably meant to be
  std::map<std::string, std::pair<Position, Position>, std::less<>> places_;
};

// The candidate that `word` was probably meant to be, by edit distance.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);
// "; did you mean 'interval'?", or a list of the candidates when none is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

// `text` in quotes for a message: clipped, control characters shown as '?'.
std::string quoted(std::string_view text);

}  // namespace leeward::config
