#include "edge/internal/proxy_fields.h"

#include "edge/http1.h"

namespace leeward::edge {
namespace {

bool is_any_of(std::string_view name, std::initializer_list<std::string_view> names) {
  for (std::string_view known : names)
    if (same_name(name, known)) return true;
  return false;
}

bool is_protected(std::string_view name) {
  return is_any_of(name,
                   {"host", "content-length", "transfer-encoding", "content-type", "cookie",
                    "authorization", "cache-control", "via", "close", "keep-alive", "upgrade"});
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

ConnectionOptions::ConnectionOptions(Fields fields) {
  for (const Field& field : fields) {
    if (!same_name(field.name, "connection")) continue;
    std::string_view list = field.value;
    while (!list.empty() && count_ < names_.size()) {
      const std::size_t comma = std::min(list.find(','), list.size());
      const std::string_view name = trim(list.substr(0, comma));
      if (!name.empty() && !is_protected(name)) names_[count_++] = name;
      list.remove_prefix(std::min(comma + 1, list.size()));
    }
  }
}

bool ConnectionOptions::names(std::string_view field) const {
  for (std::size_t i = 0; i < count_; ++i)
    if (same_name(names_[i], field)) return true;
  return false;
}

bool is_proxy_owned(std::string_view name) {
  switch (name.size()) {
    case 3:
      return same_name(name, "via");
    case 4:
      return same_name(name, "host");
    case 9:
      return same_name(name, "forwarded") || same_name(name, "x-real-ip");
    case 14:
      return same_name(name, "content-length");
    case 15:
      return same_name(name, "x-forwarded-for");
    case 16:
      return same_name(name, kEdgeHopField);
    case 17:
      return same_name(name, "x-forwarded-proto");
    default:
      // An origin that folds '_' into '-' must not take a client's word for ours.
      return name.find('_') != std::string_view::npos &&
             is_any_of(name, {"x_forwarded_for", "x-forwarded_for", "x_forwarded-for",
                              "x_forwarded_proto", "x-forwarded_proto", "x_forwarded-proto"});
  }
}

bool is_conditional(std::string_view name) {
  return is_any_of(name, {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
                          "if-range", "range"});
}

void append_end_to_end(std::string& out, Fields fields) {
  const ConnectionOptions options(fields);
  for (const Field& field : fields) {
    if (is_hop_by_hop(field.name) || options.names(field.name) ||
        same_name(field.name, "content-length"))
      continue;
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
}

void append_address(std::string& out, const ClientAddress& address) {
  out.append(to_string(address));
}

std::string_view cookie_value(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    const std::size_t end = std::min(cookies.find(';'), cookies.size());
    const std::string_view pair = trim(cookies.substr(0, end));
    const std::size_t equals = pair.find('=');
    if (equals != std::string_view::npos && pair.substr(0, equals) == name)
      return pair.substr(equals + 1);
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
  }
  return {};
}

void append_cookies_without(std::string& out, std::string_view cookies, std::string_view name) {
  std::string kept;
  while (!cookies.empty()) {
    const std::size_t end = std::min(cookies.find(';'), cookies.size());
    const std::string_view pair = trim(cookies.substr(0, end));
    if (!pair.empty() && pair.substr(0, pair.find('=')) != name)
      kept.append(kept.empty() ? "" : "; ").append(pair);
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
  }
  if (!kept.empty()) out.append("Cookie: ").append(kept).append("\r\n");
}

}  // namespace leeward::edge
