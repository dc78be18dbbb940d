// Letter case, blanks, comments, paths: transformations that decode nothing.
#include <bit>

#include "waf/internal/bytes.h"
#include "waf/internal/transforms.h"

namespace leeward::waf::transforms {
namespace {

constexpr auto kIsNul = [](unsigned char c) { return c == 0; };
constexpr auto kIsSpace = [](unsigned char c) { return is_space(c); };

bool starts(std::string_view value, std::size_t at, std::string_view with) {
  return value.substr(at, with.size()) == with;
}

// Drops every byte of which `is` says yes.
template <typename Is>
bool remove(std::string& value, Is is) {
  const std::size_t first = first_that(value, is);
  if (first == value.size()) return false;
  std::size_t write = first;
  for (std::size_t i = first; i < value.size(); ++i)
    if (!is(static_cast<unsigned char>(value[i]))) value[write++] = value[i];
  value.resize(write);
  return true;
}

// Sets the eighth bit of each byte after the number of ones in it, the eighth bit as it was among
// them: for a byte that is not ASCII the result is not what the name promises.
bool set_parity(std::string& value, int odd) {
  bool changed = false;
  for (char& c : value) {
    const unsigned byte = static_cast<unsigned char>(c);
    const unsigned set_bit = static_cast<unsigned>(std::popcount(byte) + odd) % 2;
    const char set = static_cast<char>((byte & 0x7f) | set_bit << 7);
    changed = changed || set != c;
    c = set;
  }
  return changed;
}

// Normalises byte by byte what segment logic alone would not reproduce: a reference is recognised
// by the bytes before the separator, so "a.." counts as a parent reference too.
class PathNormalizer {
 public:
  PathNormalizer(std::string& path, bool windows) : path_(path), windows_(windows) {}

  void run() {
    relative_ = !is_separator(path_.front());
    const bool trailing = is_separator(path_.back());
    while (read_ < path_.size()) {
      if (ends_segment()) drop_reference();
      if (finished_) break;
      copy();
    }
    if (!trailing && write_ > 0 && path_[write_ - 1] == '/') --write_;
    path_.resize(write_);
  }

 private:
  bool is_separator(char c) const { return c == '/' || (windows_ && c == '\\'); }
  bool last() const { return read_ + 1 == path_.size(); }
  bool ends_segment() {
    if (windows_ && path_[read_] == '\\') path_[read_] = '/';
    if (windows_ && !last() && path_[read_ + 1] == '\\') path_[read_ + 1] = '/';
    return last() || path_[read_ + 1] == '/';
  }

  // At the last byte of a segment: goes past it if it is the dot of a reference that is to go.
  void drop_reference() {
    if (path_[read_] == '/') return;
    if (path_[read_] != '.') {
      if (write_ > 0) below_root_ = false;
    } else if (write_ > 0 && path_[write_ - 1] == '.') {
      drop_parent();
    } else if (write_ == 0) {
      skip_or_finish();
    } else if (path_[write_ - 1] == '/') {
      skip_or_finish();
      if (!finished_) --write_;
    }
  }

  void drop_parent() {
    if (relative_ && (below_root_ || write_ <= 2)) {  // nothing to go back to: stays as written
      below_root_ = true;
      return;
    }
    std::size_t at = write_ >= 3 ? write_ - 3 : 0;
    while (at > 0 && path_[at] != '/') --at;
    if (at == 0) {
      below_root_ = true;
      if (!relative_ && last()) at = 1;
    }
    write_ = at;
    skip_or_finish();
  }

  void skip_or_finish() {
    if (last())
      finished_ = true;
    else
      ++read_;
  }

  void copy() {
    if (path_[read_] == '/') {
      while (!last() && is_separator(path_[read_ + 1])) ++read_;  // the last is kept, '\\' too
      if (relative_ && write_ == 0) {  // a relative path does not become an absolute one
        ++read_;
        return;
      }
    }
    path_[write_++] = path_[read_++];
  }

  std::string& path_;
  const bool windows_;
  bool relative_ = false;
  bool below_root_ = false;  // the last parent reference led above the first segment
  bool finished_ = false;
  std::size_t read_ = 0;
  std::size_t write_ = 0;
};

// Whether there is anything that run() would change: two separators in a row, or a reference.
bool may_be_unnormal(std::string_view path, bool windows) {
  if (windows && path.find('\\') != std::string_view::npos) return true;
  if (path.find("//") != std::string_view::npos) return true;
  for (std::size_t at = path.find('.'); at != std::string_view::npos; at = path.find('.', at + 1)) {
    const bool ends = at + 1 == path.size() || path[at + 1] == '/';
    if (ends && (at == 0 || path[at - 1] == '/' || path[at - 1] == '.')) return true;
  }
  return false;
}

}  // namespace

bool cmd_line(std::string& value) {
  std::size_t write = 0;
  bool blank = false;  // the last byte written stands for blanks
  bool changed = false;
  const auto put = [&](std::size_t read, char c) {
    changed = changed || value[read] != c || write != read;
    value[write++] = c;
  };
  for (std::size_t read = 0; read < value.size(); ++read) {
    const char c = value[read];
    switch (c) {
      case '"':
      case '\'':
      case '\\':
      case '^':
        break;
      case ' ':
      case ',':
      case ';':
      case '\t':
      case '\r':
      case '\n':
        if (!blank) put(read, ' ');
        blank = true;
        break;
      case '/':
      case '(':
        if (blank) --write;
        blank = false;
        put(read, c);
        break;
      default:
        put(read, to_lower(c));
        blank = false;
    }
  }
  changed = changed || write != value.size();
  value.resize(write);
  return changed;
}

bool compress_whitespace(std::string& value) {
  const std::size_t first = first_that(value, kIsSpace);
  if (first == value.size()) return false;
  bool changed = false;
  bool blank = false;
  std::size_t write = first;
  for (std::size_t i = first; i < value.size(); ++i) {
    const bool space = is_space(static_cast<unsigned char>(value[i]));
    if (!space || !blank) {
      const char c = space ? ' ' : value[i];
      changed = changed || c != value[write];
      value[write++] = c;
    }
    blank = space;
  }
  changed = changed || write != value.size();
  value.resize(write);
  return changed;
}

bool lowercase(std::string& value) {
  const std::size_t first = first_that(value, [](unsigned char c) { return is_upper(c); });
  if (first == value.size()) return false;
  for (std::size_t i = first; i < value.size(); ++i) value[i] = to_lower(value[i]);
  return true;
}

bool uppercase(std::string& value) {
  const std::size_t first = first_that(value, [](unsigned char c) { return is_lower(c); });
  if (first == value.size()) return false;
  for (std::size_t i = first; i < value.size(); ++i) value[i] = to_upper(value[i]);
  return true;
}

bool normalize_path(std::string& value, bool windows) {
  if (value.empty() || !may_be_unnormal(value, windows)) return false;
  const std::string before = value;
  PathNormalizer(value, windows).run();
  return value != before;
}

bool parity_even_7bit(std::string& value) { return set_parity(value, 0); }
bool parity_odd_7bit(std::string& value) { return set_parity(value, 1); }

bool parity_zero_7bit(std::string& value) {
  const std::size_t first = first_that(value, [](unsigned char c) { return c >= 0x80; });
  if (first == value.size()) return false;
  for (std::size_t i = first; i < value.size(); ++i) value[i] = static_cast<char>(value[i] & 0x7f);
  return true;
}

bool remove_comments(std::string& value) {
  const std::size_t first = first_that(
      value, [](unsigned char c) { return (c == '/') | (c == '<') | (c == '#') | (c == '-'); });
  std::size_t write = first;
  bool inside = false;
  bool nul_at_end = false;
  for (std::size_t i = first; i < value.size();) {
    if (inside) {
      const bool ends = starts(value, i, "*/");
      if (ends || starts(value, i, "-->")) {
        inside = false;
        i += ends ? 2 : 3;
        // What follows is taken as it is, even if it begins a comment; at the end that is a NUL.
        if (i < value.size())
          value[write++] = value[i];
        else
          nul_at_end = true;
      }
      ++i;
    } else if (starts(value, i, "/*")) {
      inside = true;
      i += 2;
    } else if (starts(value, i, "<!--")) {
      inside = true;
      i += 4;
    } else if (value[i] == '#' || starts(value, i, "--")) {
      break;
    } else {
      value[write++] = value[i++];
    }
  }
  const bool changed = write != value.size();  // a comment is longer than what stands for it
  value.resize(write);
  if (inside) value += ' ';
  if (nul_at_end) value += '\0';
  return changed;
}

bool remove_comments_char(std::string& value) {
  std::size_t write = 0;
  for (std::size_t i = 0; i < value.size();) {
    if (starts(value, i, "/*") || starts(value, i, "*/") || starts(value, i, "--")) {
      i += starts(value, i, "-->") ? 3 : 2;
    } else if (starts(value, i, "<!--")) {
      i += 4;
    } else if (value[i] == '#') {
      i += 1;
    } else {
      value[write++] = value[i++];
    }
  }
  const bool changed = write != value.size();
  value.resize(write);
  return changed;
}

bool remove_nulls(std::string& value) { return remove(value, kIsNul); }

bool remove_whitespace(std::string& value) {
  // U+00A0, the no-break space, as one byte and as UTF-8.
  return remove(value, [](unsigned char c) { return is_space(c) || c == 0xa0 || c == 0xc2; });
}

bool replace_comments(std::string& value) {
  std::size_t read = value.find("/*");
  if (read == std::string::npos) return false;
  std::size_t write = read;
  while (read < value.size()) {
    if (!starts(value, read, "/*")) {
      value[write++] = value[read++];
      continue;
    }
    const std::size_t end = value.find("*/", read + 2);
    value[write++] = ' ';
    read = end == std::string::npos ? value.size() : end + 2;
  }
  value.resize(write);
  return true;
}

bool replace_nulls(std::string& value) {
  const std::size_t first = first_that(value, kIsNul);
  if (first == value.size()) return false;
  for (std::size_t i = first; i < value.size(); ++i)
    if (value[i] == 0) value[i] = ' ';
  return true;
}

bool trim(std::string& value, bool left, bool right) {
  std::size_t end = value.size();
  while (right && end > 0 && is_space(static_cast<unsigned char>(value[end - 1]))) --end;
  std::size_t first = 0;
  while (left && first < end && is_space(static_cast<unsigned char>(value[first]))) ++first;
  if (first == 0 && end == value.size()) return false;
  value.resize(end);
  value.erase(0, first);
  return true;
}

}  // namespace leeward::waf::transforms
