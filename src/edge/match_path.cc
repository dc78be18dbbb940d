#include "edge/match_path.h"

#include <charconv>
#include <cstddef>

namespace leeward::edge {
namespace {

bool is_plain(std::string_view path) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%') return false;
    if (path[i] == '/' && i + 1 < path.size() && (path[i + 1] == '/' || path[i + 1] == '.'))
      return false;
  }
  return true;
}

// An escape that is none stays as it is.
std::string decoded(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    unsigned char octet = 0;
    const char* digits = path.data() + i + 1;
    if (path[i] == '%' && i + 2 < path.size() &&
        std::from_chars(digits, digits + 2, octet, 16).ptr == digits + 2) {
      out += static_cast<char>(octet);
      i += 2;
    } else {
      out += path[i];
    }
  }
  return out;
}

}  // namespace

std::string_view match_path(std::string_view target, std::string& storage) {
  const std::string_view path = target.substr(0, target.find('?'));
  if (path.empty() || path.front() != '/') return "/";
  if (is_plain(path)) return path;
  const std::string text = decoded(path);
  storage.clear();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('/', at + 1);  // text[at] is a slash
    const std::string_view segment = std::string_view(text).substr(at, end - at);
    at = end == std::string::npos ? text.size() : end;
    const bool last = at == text.size();
    if (segment == "/..") {
      const std::size_t parent = storage.rfind('/');
      storage.resize(parent == std::string::npos ? 0 : parent);
    } else if (segment != "/" && segment != "/.") {
      storage.append(segment);
      continue;
    }
    if (last) storage += '/';
  }
  if (storage.empty()) storage.push_back('/');
  return storage;
}

}  // namespace leeward::edge
