#include "waf/internal/content_disposition.h"

#include <algorithm>

#include "waf/internal/bytes.h"

namespace leeward::waf {
namespace {

constexpr std::size_t kContentTypeBytesMax = 1024;
constexpr std::string_view kFormData = "multipart/form-data";
constexpr std::string_view kParameter = "boundary";

bool is_space_char(char c) { return is_space(static_cast<unsigned char>(c)); }

// How often the word is there with a '=' somewhere behind it, in any letter case.
std::size_t boundary_parameters(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), to_lower);
  std::size_t count = 0;
  for (std::size_t at = lower.find(kParameter); at != std::string::npos;
       at = lower.find(kParameter, at + kParameter.size()))
    count += lower.find('=', at + kParameter.size()) != std::string::npos;
  return count;
}

// RFC 2046 §5.1.1: bcharsnospace, and blanks but not at the end.
bool has_boundary_bytes(std::string_view boundary) {
  return !boundary.ends_with(' ') && std::all_of(boundary.begin(), boundary.end(), [](char c) {
    return is_alnum(static_cast<unsigned char>(c)) ||
           std::string_view(" '()+_,-./:=?").find(c) != std::string_view::npos;
  });
}

// RFC 2045 §5.1.
bool is_token_byte(char c) {
  return c > ' ' && c < 0x7f &&
         std::string_view("()<>@,;:\\\"/[]?=").find(c) == std::string_view::npos;
}

class DispositionReader {
 public:
  DispositionReader(std::string_view text, std::string& name, std::string& filename)
      : text_(text), name_(name), filename_(filename) {}

  Disposition run() {
    if (!read()) return std::move(result_);
    if (has_extended_ && filename_.empty()) fail("filename* without filename");
    return std::move(result_);
  }

 private:
  bool fail(std::string why) {
    result_.error = std::move(why);
    return false;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool at_end() const { return at_ >= text_.size(); }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t') ++at_;
  }

  bool read() {
    constexpr std::string_view kType = "form-data";
    if (!text_.starts_with(kType)) return fail("not form-data");
    at_ = kType.size();
    skip_blanks();
    if (at_end()) return true;
    if (peek() != ';') return fail("';' missing");
    ++at_;
    while (!at_end())
      if (!read_parameter()) return false;
    return true;
  }

  bool read_parameter() {
    skip_blanks();
    if (at_end()) return fail("parameter missing");
    const std::size_t first = at_;
    while (!at_end() && peek() != '=' && peek() != ' ' && peek() != '\t') ++at_;
    const std::string_view name = text_.substr(first, at_ - first);
    skip_blanks();
    if (peek() != '=') return fail("'=' missing");
    ++at_;
    skip_blanks();
    if (at_end()) return fail("value missing");
    std::string value;
    char quote = '\0';
    if (name == "filename*") {
      if (!read_extended(value)) return false;
    } else if (peek() == '"' || peek() == '\'') {
      quote = peek();
      if (!read_quoted(quote, value)) return false;
    } else {
      while (!at_end() && is_token_byte(peek())) value += text_[at_++];
    }
    return take(name, std::move(value), quote) && end_parameter();
  }

  // RFC 8187: charset'language'value, with percent-encoded octets.
  bool read_extended(std::string& value) {
    constexpr std::string_view kCharsetMarks = "!#$%&+-^_`{}~";
    constexpr std::string_view kValueMarks = "!#$&+-.^_`~";
    const auto is_any = [](char c, std::string_view marks) {
      return is_alnum(static_cast<unsigned char>(c)) || marks.find(c) != std::string_view::npos;
    };
    const std::size_t charset = at_;
    while (!at_end() && is_any(peek(), kCharsetMarks)) ++at_;
    if (peek() != '\'' || at_ == charset) return fail("charset missing");
    const std::size_t language_end = text_.find('\'', at_ + 1);
    if (language_end == std::string_view::npos) return fail("language does not end");
    at_ = language_end + 1;
    for (; !at_end() && peek() != ';'; ++at_) {
      if (peek() == '%') {
        if (at_ + 2 >= text_.size() || !is_hex(static_cast<unsigned char>(text_[at_ + 1])) ||
            !is_hex(static_cast<unsigned char>(text_[at_ + 2])))
          return fail("invalid escape");
        value += text_.substr(at_, 2);
        at_ += 2;
      } else if (!is_any(peek(), kValueMarks)) {
        return fail("invalid character");
      }
      value += text_[at_];
    }
    return true;
  }

  // A quote and a backslash can be escaped; another backslash is one, as Internet Explorer sent it.
  bool read_quoted(char quote, std::string& value) {
    if (quote == '\'') result_.invalid_quoting = true;
    for (++at_; !at_end() && peek() != quote; ++at_) {
      if (peek() == '\\') {
        if (at_ + 1 == text_.size()) return fail("escape at the end");
        if (text_[at_ + 1] == quote || text_[at_ + 1] == '\\') ++at_;
      }
      value += text_[at_];
    }
    if (at_end()) return fail("quote missing");
    ++at_;
    return true;
  }

  bool take(std::string_view name, std::string value, char quote) {
    if (name == "filename*") {
      if (has_extended_) return fail("filename* twice");
      has_extended_ = !value.empty();
      return true;
    }
    const bool is_name = name == "name";
    if (!is_name && name != "filename") return fail("unknown parameter");
    if (quote != '"' && value.find('\'') != std::string::npos) result_.invalid_quoting = true;
    (is_name ? result_.names : result_.filenames).push_back(value);
    std::string& target = is_name ? name_ : filename_;
    if (!target.empty()) return fail(is_name ? "name twice" : "filename twice");
    target = std::move(value);
    return true;
  }

  bool end_parameter() {
    if (at_end()) return true;
    skip_blanks();
    if (at_end()) return true;
    if (peek() == ';') {
      ++at_;
      return true;
    }
    if (text_[at_ - 1] == '\'' || text_[at_ - 1] == '"') result_.invalid_quoting = true;
    return fail("';' missing");
  }

  const std::string_view text_;
  std::string& name_;
  std::string& filename_;
  std::size_t at_ = 0;
  bool has_extended_ = false;
  Disposition result_;
};

}  // namespace

BoundaryParameter read_boundary(std::string_view content_type) {
  BoundaryParameter result;
  const auto failed = [&result](std::string why) {
    result.error = std::move(why);
    return result;
  };
  if (content_type.empty()) return failed("Content-Type header not available.");
  if (content_type.size() > kContentTypeBytesMax)
    return failed("Invalid boundary in C-T (length).");
  if (!equal_ignoring_case(content_type.substr(0, kFormData.size()), kFormData))
    return failed("Invalid MIME type.");
  if (boundary_parameters(content_type) > 1) return failed("Multiple boundary parameters in C-T.");
  const std::size_t at = content_type.find(kParameter);
  if (at == std::string_view::npos)
    return failed(boundary_parameters(content_type) > 0
                      ? "Invalid boundary in C-T (case sensitivity)."
                      : "Boundary not found in C-T.");

  bool semicolon = false;
  for (std::size_t i = kFormData.size(); i < at; ++i) {
    if (is_space_char(content_type[i])) continue;
    if (semicolon || content_type[i] != ';') return failed("Invalid boundary in C-T (malformed).");
    semicolon = true;
  }
  result.missing_semicolon = !semicolon;

  const std::size_t equals = content_type.find('=', at + kParameter.size());
  if (equals == std::string_view::npos) return failed("Invalid boundary in C-T (malformed).");
  for (std::size_t i = at + kParameter.size(); i < equals; ++i) {
    if (!is_space_char(content_type[i])) return failed("Invalid boundary in C-T (parameter name).");
    result.whitespace = true;
  }
  std::string_view boundary = content_type.substr(equals + 1);
  if (!boundary.empty() && is_space_char(boundary.front())) result.whitespace = true;
  if (boundary.size() >= 2 && boundary.front() == '"' && boundary.back() == '"') {
    boundary = boundary.substr(1, boundary.size() - 2);
    result.quoted = true;
  } else if (boundary.starts_with('"') || (boundary.size() >= 2 && boundary.ends_with('"'))) {
    return failed("Invalid boundary in C-T (quote).");
  }
  if (boundary_parameters(boundary) > 0) return failed("Invalid boundary in C-T (content).");
  // A charset after the boundary is wrong, and often there.
  if (!has_boundary_bytes(boundary)) boundary = boundary.substr(0, boundary.find(';'));
  if (!has_boundary_bytes(boundary)) return failed("Invalid boundary in C-T (characters).");
  if (boundary.empty()) return failed("Invalid boundary in C-T (empty).");
  result.boundary = boundary;
  return result;
}

Disposition read_disposition(std::string_view value, std::string& name, std::string& filename) {
  return DispositionReader(value, name, filename).run();
}

}  // namespace leeward::waf
