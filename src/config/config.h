// leeward.yaml: one file describes the whole platform, the same file on every site.
//
// Reading is strict and complete: an unknown or duplicate key, a wrong type, a duration without a
// unit, a number out of range, a name that refers to nothing or a policy that would be unsafe is a
// Problem with its line and column, and all problems of a file are reported at once. A file with a
// problem gives no Platform, so that no process ever starts with half of a configuration.
//
// Every setting is declared once, in platform_table.cc: name, type, default, bounds and a sentence.
// Parser, JSON Schema and the reference in docs/guide/configuration.md come from that table.
//
// All functions are thread-safe (no shared state) and never throw.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/platform.h"

namespace leeward::config {

// Bounds of the input. A text beyond one of them is refused with one Problem.
inline constexpr std::size_t kTextBytesMax = 1u << 20;
inline constexpr int kNestingMax = 64;
inline constexpr std::size_t kNodesMax = 100'000;  // with aliases expanded
inline constexpr std::size_t kProblemsMax = 200;   // further ones are counted, not listed

struct Problem {
  std::string file;
  int line = 0;    // from 1; 0: the file as a whole
  int column = 0;  // from 1, in characters
  std::string message;
  bool operator==(const Problem&) const = default;
};

// "leeward.yaml:41:9: unknown key 'intervall'; did you mean 'interval'?"
std::string to_string(const Problem& problem);

struct Loaded {
  std::optional<Platform> platform;  // only when there is no problem
  std::vector<Problem> problems;     // in file order
};

// Reads and checks the file. An unreadable file is one Problem with line 0. Platform::directory
// becomes the absolute directory of the file.
Loaded load_file(const std::string& path);

// The same for a text. `file_name` is used in problems, `directory` becomes Platform::directory.
Loaded load_text(std::string_view text, const std::string& file_name, const std::string& directory);

// JSON Schema (draft 2020-12) of the file, for editors. It checks shape, types and bounds of single
// values; what concerns several values together is checked by load_text only.
std::string json_schema();

// The reference of all settings, docs/guide/configuration.md.
std::string markdown_reference();

// A commented configuration for a new platform called `name` (two sites and a witness), as written
// by `leeward init`. It loads without a problem when `name` is valid_platform_name(name).
std::string starting_file(std::string_view name);
bool valid_platform_name(std::string_view name);

// The value of a secret, without its trailing line break. A file must not be readable or writable
// by group or others and is relative to `directory`. Errors: kInvalid (no reference, empty value,
// longer than 64 KiB, unset variable), kNotFound (no such file), kRefused (permissions; the message
// says what to run), kIo. No error text contains the value.
Result<std::string> resolve_secret(const SecretRef& secret, const std::string& directory);

}  // namespace leeward::config
