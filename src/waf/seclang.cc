#include "waf/seclang.h"

#include <glob.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/file.h"

namespace leeward::waf {

std::string Place::text() const { return fmt::format("{}:{}:{}", *file, line, column); }

void Problems::add(const Place& place, std::string_view what) {
  if (++count_ > kReportedMax) return;
  if (!text_.empty()) text_ += '\n';
  text_ += fmt::format("{}: {}", place.text(), what);
}

Error Problems::error() const {
  std::string text = text_;
  if (count_ > kReportedMax) text += fmt::format("\nand {} more", count_ - kReportedMax);
  return Error{Code::kInvalid, std::move(text)};
}

Place Word::at(std::size_t offset) const {
  const Segment* found = &segments_.front();
  for (const Segment& segment : segments_)
    if (segment.offset <= offset) found = &segment;
  return Place{file_, found->line,
               found->column + static_cast<std::uint32_t>(offset - found->offset)};
}

class SecLangLexer {
 public:
  SecLangLexer(std::string_view text, const std::string& file, Problems& problems)
      : text_(text), file_(std::make_shared<const std::string>(file)), problems_(problems) {}

  std::vector<Directive> all() {
    std::vector<Directive> directives;
    while (at_ < text_.size()) {
      skip_blanks();
      if (at_ >= text_.size()) break;
      if (text_[at_] == '\n') {
        advance();
      } else if (text_[at_] == '#') {
        skip_comment();
      } else {
        read_directive(directives);
      }
    }
    return directives;
  }

 private:
  static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

  void advance() {
    if (text_[at_++] == '\n') {
      ++line_;
      line_begin_ = at_;
    }
  }
  std::uint32_t column() const { return static_cast<std::uint32_t>(at_ - line_begin_ + 1); }
  Place here() const { return Place{file_, line_, column()}; }

  // A backslash at the end of a line: how many bytes it and the end of the line take, else 0.
  std::size_t continuation() const {
    if (text_[at_] != '\\') return 0;
    std::size_t end = at_ + 1;
    while (end < text_.size() && (text_[end] == '\r' || text_[end] == ' ' || text_[end] == '\t'))
      ++end;
    if (end < text_.size() && text_[end] != '\n') return 0;
    return std::min(end + 1, text_.size()) - at_;
  }
  bool skip_continuation() {
    const std::size_t length = continuation();
    for (std::size_t i = 0; i < length; ++i) advance();
    return length > 0;
  }
  void skip_blanks() {
    while (at_ < text_.size())
      if (blank(text_[at_]))
        advance();
      else if (!skip_continuation())
        return;
  }

  void skip_comment() {
    std::size_t begin = at_;
    while (begin < text_.size() && (text_[begin] == '#' || blank(text_[begin]))) ++begin;
    const std::string_view rest = text_.substr(begin);
    const bool of_rule = rest.starts_with("SecRule") || rest.starts_with("SecAction");
    while (at_ < text_.size() && text_[at_] != '\n')
      if (!of_rule || !skip_continuation()) advance();
  }

  Word begin_word() const {
    Word word;
    word.file_ = file_;
    word.segments_.push_back({0, line_, column()});
    return word;
  }
  // What follows in the word does not stand right behind what it has.
  void new_segment(Word& word) const {
    word.segments_.push_back({word.text.size(), line_, column()});
  }

  void read_directive(std::vector<Directive>& directives) {
    Directive directive{.name = begin_word(), .arguments = {}};
    bool good = read_word(directive.name);
    for (;;) {
      skip_blanks();
      if (at_ >= text_.size() || text_[at_] == '\n') break;
      Word word = begin_word();
      good = read_word(word) && good;
      directive.arguments.push_back(std::move(word));
    }
    if (good) directives.push_back(std::move(directive));
  }

  bool read_word(Word& word) {
    const char quote = text_[at_];
    if (quote == '"' || quote == '\'') return read_quoted(word, quote);
    while (at_ < text_.size() && !blank(text_[at_]) && text_[at_] != '\n') {
      if (continuation() > 0) break;
      word.text += text_[at_];
      advance();
    }
    return true;
  }

  bool read_quoted(Word& word, char quote) {
    const Place opened = here();
    word.quoted = true;
    advance();
    word.segments_.front() = {0, line_, column()};
    while (at_ < text_.size() && text_[at_] != '\n') {
      if (text_[at_] == quote) {
        advance();
        if (at_ < text_.size() && !blank(text_[at_]) && text_[at_] != '\n' && continuation() == 0) {
          problems_.add(here(), "a blank is missing behind the closing quote");
          return false;
        }
        return true;
      }
      if (skip_continuation()) {
        new_segment(word);
        continue;
      }
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) {
        if (text_[at_ + 1] != '"') {
          word.text += '\\';
          advance();
          if (text_[at_] == '\n') continue;
        } else {
          advance();
          new_segment(word);
        }
      }
      word.text += text_[at_];
      advance();
    }
    problems_.add(opened, "this quote is not closed on its line; a line that goes on ends with \\");
    return false;
  }

  std::string_view text_;
  std::shared_ptr<const std::string> file_;
  Problems& problems_;
  std::size_t at_ = 0, line_begin_ = 0;
  std::uint32_t line_ = 1;
};

namespace {

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

class Includer {
 public:
  explicit Includer(Problems& problems) : problems_(problems) {}

  void read(const std::string& path, std::string_view text, int depth,
            std::vector<Directive>& into) {
    for (Directive& directive : parse_seclang(text, path, problems_)) {
      const bool optional = same_name(directive.name.text, "IncludeOptional");
      if (!optional && !same_name(directive.name.text, "Include")) {
        into.push_back(std::move(directive));
        continue;
      }
      if (directive.arguments.size() != 1)
        problems_.add(directive.name.place(), "Include takes the name of one file or a pattern");
      else if (depth >= kIncludeDepthMax)
        problems_.add(directive.name.place(),
                      fmt::format("files include each other more than {} deep", kIncludeDepthMax));
      else
        include(path, directive.arguments[0], optional, depth, into);
    }
  }
  bool account(const Place& place, std::size_t bytes) {
    bytes_ += bytes;
    if (++files_ <= kFilesMax && bytes_ <= kBytesMax) return true;
    if (!told_)
      problems_.add(
          place, fmt::format("more than {} files or {} MiB of rules", kFilesMax, kBytesMax >> 20));
    told_ = true;
    return false;
  }

 private:
  void include(const std::string& from, const Word& word, bool optional, int depth,
               std::vector<Directive>& into) {
    std::filesystem::path pattern(word.text);
    if (pattern.is_relative()) pattern = std::filesystem::path(from).parent_path() / pattern;
    glob_t found{};
    const int error = ::glob(pattern.c_str(), 0, nullptr, &found);
    std::vector<std::string> paths;
    for (std::size_t i = 0; error == 0 && i < found.gl_pathc; ++i)
      paths.emplace_back(found.gl_pathv[i]);
    ::globfree(&found);
    if (paths.empty() && !optional)
      problems_.add(word.place(), fmt::format("{}: there is no such file", pattern.string()));
    for (const std::string& path : paths) {
      auto text = read_file(path, kBytesMax);
      if (!text) {
        problems_.add(word.place(), text.error().message);
        continue;
      }
      if (account(word.place(), text->size())) read(path, *text, depth + 1, into);
    }
  }

  Problems& problems_;
  std::size_t files_ = 0, bytes_ = 0;
  bool told_ = false;
};

}  // namespace

std::vector<Directive> parse_seclang(std::string_view text, const std::string& file,
                                     Problems& problems) {
  return SecLangLexer(text, file, problems).all();
}

std::vector<Directive> parse_seclang_and_includes(std::string_view text, const std::string& name,
                                                  Problems& problems) {
  std::vector<Directive> directives;
  Includer includer(problems);
  if (includer.account(Place{std::make_shared<const std::string>(name), 1, 1}, text.size()))
    includer.read(name, text, 0, directives);
  return directives;
}

Result<std::vector<Directive>> parse_seclang_file(const std::string& path, Problems& problems) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored))
    return fail(Code::kNotFound, "{}: there is no such rules file", path);
  auto text = read_file(path, kBytesMax);
  if (!text) return fail(std::move(text.error()));
  return parse_seclang_and_includes(*text, path, problems);
}

}  // namespace leeward::waf
