// SecLang, the language of ModSecurity's rules, as text: directives, their words and where each
// word stands. What the words of a directive mean is for rule_set.h to say.
//
//   - A directive is a line; a backslash at its end goes on with the next line, also within quotes.
//   - Words are parted by blanks. A word in double quotes may hold blanks; \" in it is a quote, and
//     any other backslash is kept for the regular expression that it most likely belongs to. A word
//     in single quotes is taken as it is.
//   - '#' before the first word begins a comment. A comment that holds a SecRule or SecAction
//     ends where that would end, so that a rule of several lines is commented out as a whole.
//   - Include names files, by pattern too, relative to the file that it stands in. A pattern
//     that matches no file is an error: rules that are not there protect nobody.
//
// Bounds: kFilesMax files, kBytesMax bytes of them together, includes kIncludeDepthMax deep.
// Pure but for parse_seclang_file(), which reads files. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::waf {

struct Place {
  std::shared_ptr<const std::string> file;  // as it was opened; never null
  std::uint32_t line = 0;                   // from 1
  std::uint32_t column = 0;                 // from 1, in bytes

  std::string text() const;  // "FILE:LINE:COLUMN"
};

// What is wrong with a set of rules, up to a bound, so that a person mends it in one go.
class Problems {
 public:
  static constexpr std::size_t kReportedMax = 20;

  void add(const Place& place, std::string_view what);
  bool empty() const { return count_ == 0; }
  Error error() const;  // kInvalid; one "FILE:LINE:COLUMN: what" a line. REQUIRES: !empty()

 private:
  std::size_t count_ = 0;
  std::string text_;
};

class Word {
 public:
  std::string text;  // without its quotes, continued lines joined
  bool quoted = false;

  Place place() const { return at(0); }
  Place at(std::size_t offset) const;  // where text[offset] stands

 private:
  friend class SecLangLexer;
  struct Segment {  // text from `offset` on stands at line:column and following
    std::size_t offset;
    std::uint32_t line, column;
  };
  std::shared_ptr<const std::string> file_;
  std::vector<Segment> segments_;  // never empty
};

struct Directive {
  Word name;
  std::vector<Word> arguments;
};

constexpr std::size_t kFilesMax = 1024;
constexpr std::size_t kBytesMax = 64u << 20;
constexpr int kIncludeDepthMax = 16;

// The directives of one text, Include among them. `file` is for places only. What cannot be a
// directive is added to `problems` and left out.
std::vector<Directive> parse_seclang(std::string_view text, const std::string& file,
                                     Problems& problems);

// With the directives of all that the text includes in their place; `name` is the file that it
// would be in.
std::vector<Directive> parse_seclang_and_includes(std::string_view text, const std::string& name,
                                                  Problems& problems);
// The same of a file. kNotFound when `path` itself is not there; everything else goes to
// `problems`.
Result<std::vector<Directive>> parse_seclang_file(const std::string& path, Problems& problems);

}  // namespace leeward::waf
