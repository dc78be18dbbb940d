#include "edge/internal/cache_structured.h"

#include <algorithm>
#include <array>

#include "edge/internal/cache_text.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kMembersMax = 256;

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::optional<SfDictionary> dictionary() {
    SfDictionary out;
    skip_spaces();
    while (!rest_.empty()) {
      SfMember m;
      if (!key(m.key) || !member(m)) return std::nullopt;
      auto same =
          std::find_if(out.begin(), out.end(), [&](const SfMember& o) { return o.key == m.key; });
      if (same != out.end()) {
        *same = std::move(m);
      } else {
        if (out.size() == kMembersMax) return std::nullopt;
        out.push_back(std::move(m));
      }
      skip_ows();
      if (rest_.empty()) return out;
      if (!take(',')) return std::nullopt;
      skip_ows();
      if (rest_.empty()) return std::nullopt;  // a comma at the end
    }
    return out;
  }

 private:
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_spaces() {
    while (take(' ')) {
    }
  }
  void skip_ows() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) {
      rest_.remove_prefix(1);
    }
  }
  static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
  static bool is_alpha(char c) { return is_lower(lower(c)); }

  bool key(std::string& out) {  // §4.2.3.3
    if (rest_.empty() || !(is_lower(rest_[0]) || rest_[0] == '*')) return false;
    std::size_t n = 1;
    while (n < rest_.size() && (is_lower(rest_[n]) || is_digit(rest_[n]) || rest_[n] == '_' ||
                                rest_[n] == '-' || rest_[n] == '.' || rest_[n] == '*')) {
      ++n;
    }
    out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }

  bool member(SfMember& m) {
    if (!take('=')) {
      m.item.value = true;
      return parameters(m.item.parameters);
    }
    if (!rest_.empty() && rest_.front() == '(') {
      m.inner_list = true;
      return inner_list(m);
    }
    return item(m.item);
  }

  bool inner_list(SfMember& m) {  // §4.2.1.2
    take('(');
    for (;;) {
      skip_spaces();
      if (take(')')) return parameters(m.item.parameters);
      SfItem i;
      if (m.items.size() == kMembersMax || !item(i)) return false;
      m.items.push_back(std::move(i));
      if (rest_.empty() || (rest_.front() != ' ' && rest_.front() != ')')) return false;
    }
  }

  bool item(SfItem& i) { return bare(i.value) && parameters(i.parameters); }

  bool parameters(SfParameters& out) {  // §4.2.3.2
    while (take(';')) {
      skip_spaces();
      std::string name;
      if (!key(name)) return false;
      SfBare value = true;
      if (take('=') && !bare(value)) return false;
      auto same = std::find_if(out.begin(), out.end(), [&](auto& p) { return p.first == name; });
      if (same != out.end()) {
        same->second = std::move(value);
      } else {
        if (out.size() == kMembersMax) return false;
        out.emplace_back(std::move(name), std::move(value));
      }
    }
    return true;
  }

  bool bare(SfBare& out) {  // §4.2.3.1
    if (rest_.empty()) return false;
    char c = rest_.front();
    if (c == '-' || is_digit(c)) return number(out);
    if (c == '"') return string(out);
    if (c == '*' || is_alpha(c)) return token(out);
    if (c == ':') return bytes(out);
    if (c == '?') return boolean(out);
    return false;
  }

  bool number(SfBare& out) {  // §4.2.4
    bool negative = take('-');
    std::size_t n = 0;
    std::int64_t value = 0;
    while (n < rest_.size() && is_digit(rest_[n])) {
      if (n == 15) return false;
      value = value * 10 + (rest_[n] - '0');
      ++n;
    }
    if (n == 0) return false;
    rest_.remove_prefix(n);
    if (!take('.')) {
      out = negative ? -value : value;
      return true;
    }
    if (n > 12) return false;
    std::size_t fraction = 0;
    while (fraction < rest_.size() && is_digit(rest_[fraction])) {
      if (fraction == 3) return false;
      value = value * 10 + (rest_[fraction] - '0');
      ++fraction;
    }
    if (fraction == 0) return false;
    rest_.remove_prefix(fraction);
    for (std::size_t i = fraction; i < 3; ++i) value *= 10;
    out = SfDecimal{negative ? -value : value};
    return true;
  }

  bool string(SfBare& out) {  // §4.2.5
    take('"');
    std::string text;
    while (!rest_.empty()) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') {
        out = std::move(text);
        return true;
      }
      if (c == '\\') {
        if (rest_.empty() || (rest_.front() != '"' && rest_.front() != '\\')) return false;
        c = rest_.front();
        rest_.remove_prefix(1);
      } else if (c < 0x20 || c == 0x7f || static_cast<unsigned char>(c) >= 0x80) {
        return false;
      }
      text += c;
    }
    return false;
  }

  bool token(SfBare& out) {  // §4.2.6
    std::size_t n = 1;
    while (n < rest_.size() && (is_token_char(rest_[n]) || rest_[n] == ':' || rest_[n] == '/')) ++n;
    out = SfToken{std::string(rest_.substr(0, n))};
    rest_.remove_prefix(n);
    return true;
  }

  bool bytes(SfBare& out) {  // §4.2.7
    take(':');
    std::size_t end = rest_.find(':');
    if (end == std::string_view::npos) return false;
    std::string_view coded = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    SfBytes decoded;
    std::uint32_t bits = 0;
    int count = 0;
    std::size_t padding = 0;
    for (char c : coded) {
      if (c == '=') {
        ++padding;
        continue;
      }
      int digit = base64_digit(c);
      if (digit < 0 || padding > 0) return false;
      bits = bits << 6 | static_cast<std::uint32_t>(digit);
      count += 6;
      if (count >= 8) {
        count -= 8;
        decoded.bytes += static_cast<char>(bits >> count & 0xff);
      }
    }
    if (padding > 2) return false;
    out = std::move(decoded);
    return true;
  }

  static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (is_digit(c)) return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
  }

  bool boolean(SfBare& out) {  // §4.2.8
    take('?');
    if (take('1')) {
      out = true;
      return true;
    }
    if (take('0')) {
      out = false;
      return true;
    }
    return false;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<SfDictionary> parse_dictionary(std::string_view text) {
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return Parser(text).dictionary();
}

std::string serialize_sf_string(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c < 0x20 || c == 0x7f || static_cast<unsigned char>(c) >= 0x80) {
      out += '?';
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
  return out;
}

}  // namespace leeward::edge
