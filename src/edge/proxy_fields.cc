#include "edge/internal/proxy_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "edge/cache_core.h"
#include "edge/http1.h"
#include "edge/internal/mac.h"

namespace leeward::edge {
namespace {

bool is_any_of(std::string_view name, std::initializer_list<std::string_view> names) {
  for (std::string_view known : names)
    if (same_name(name, known)) return true;
  return false;
}

bool is_protected(std::string_view name) {
  return is_any_of(
      name, {"host", "content-length", "transfer-encoding", "content-type", "content-encoding",
             "cookie", "authorization", "cache-control", "via", "close", "keep-alive", "upgrade"});
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::int64_t unix_seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
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

bool hides_fields(Fields fields) {
  const ConnectionOptions options(fields);
  if (options.empty()) return false;
  for (const Field& field : fields) {
    // Named by those who offer h2c, and of no meaning without it.
    if (is_hop_by_hop(field.name) || same_name(field.name, "http2-settings")) continue;
    if (options.names(field.name)) return true;
  }
  return false;
}

bool is_proxy_owned(std::string_view name) {
  switch (name.size()) {
    case 3:
      return same_name(name, "via");
    case 4:
      return same_name(name, "host");
    case 5:
      return same_name(name, "proxy");  // HTTP_PROXY to a CGI program (CVE-2016-5385)
    case 9:
      return same_name(name, "forwarded") || folds_to(name, "x-real-ip");
    case 14:
      return same_name(name, "content-length");
    case 15:
      return folds_to(name, "x-forwarded-for");
    case 16:
      return folds_to(name, "leeward-edge-hop");
    case 17:
      return folds_to(name, "x-forwarded-proto");
    default:
      return false;
  }
}

bool is_word_of_proxy(std::string_view name) {
  if (name.empty() || (name.front() != 'x' && name.front() != 'X')) return false;
  constexpr std::string_view kPrefix = "x-forwarded-";
  return folds_to(name.substr(0, kPrefix.size()), kPrefix) || folds_to(name, "x-original-url") ||
         folds_to(name, "x-original-host") || folds_to(name, "x-rewrite-url");
}

bool overrides_method(std::string_view name) {
  if (name.empty() || (name.front() != 'x' && name.front() != 'X')) return false;
  return folds_to(name, "x-http-method-override") || folds_to(name, "x-http-method") ||
         folds_to(name, "x-method-override");
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

ClientAddress forwarded_client(Fields fields, const ClientAddress& peer) {
  std::string_view told;
  for (const Field& field : fields)
    if (same_name(field.name, "x-forwarded-for")) told = field.value;
  told = trim(told.substr(told.rfind(',') + 1));
  // Some proxies tell the port too: "192.0.2.1:51234", "[2001:db8::1]:51234", "[2001:db8::1]".
  if (!told.empty() && told.front() == '[')
    told = told.substr(1, told.find(']') - 1);
  else if (std::count(told.begin(), told.end(), ':') == 1)
    told = told.substr(0, told.find(':'));
  return parse_client_address(told).value_or(peer);
}

std::string edge_hop(const ClientAddress& client, const std::string& key, WallTime now) {
  std::string hop = fmt::format("{};{}", to_string(client), unix_seconds(now));
  const std::string mac = mac_of(hop, key);
  return hop.append(";").append(mac, 0, kMacText);
}

std::optional<ClientAddress> hop_client(std::string_view hop, const std::string& key,
                                        WallTime now) {
  const std::size_t first = hop.find(';'), last = hop.rfind(';');
  if (key.empty() || first == last) return std::nullopt;
  // What is cheap to see comes first: anybody may send anything here.
  const auto client = parse_client_address(hop.substr(0, first));
  const std::string_view digits = hop.substr(first + 1, last - first - 1);
  std::int64_t sent = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), sent);
  if (!client || digits.size() > 12 || error != std::errc{} || end != digits.data() + digits.size())
    return std::nullopt;
  const std::int64_t age = unix_seconds(now) - sent;
  constexpr std::int64_t kMost =
      std::chrono::duration_cast<std::chrono::seconds>(kEdgeHopTime).count();
  if (age > kMost || age < -kMost || !is_mac(hop.substr(last + 1), hop.substr(0, last), key))
    return std::nullopt;
  return client;
}

std::size_t times_passed(std::string_view via, std::string_view site) {
  constexpr std::string_view kEdge = "-edge";
  std::size_t times = 0;
  while (!via.empty()) {
    const std::size_t comma = std::min(via.find(','), via.size());
    const std::string_view member = trim(via.substr(0, comma));
    // "1.1 gcp-edge": the protocol, then by whom (RFC 9110 §7.6.3).
    std::string_view by = trim(member.substr(std::min(member.find(' '), member.size())));
    by = by.substr(0, by.find(' '));
    if (by.size() == site.size() + kEdge.size() && by.starts_with(site) && by.ends_with(kEdge))
      ++times;
    via.remove_prefix(std::min(comma + 1, via.size()));
  }
  return times;
}

void append_request_trailers(std::string& out, std::string_view lines) {
  for_each_line(lines, [&out](std::string_view name, std::string_view value) {
    if (is_proxy_owned(name) || is_word_of_proxy(name) || overrides_method(name) ||
        is_conditional(name))
      return;
    out.append(name).append(": ").append(value).append("\r\n");
  });
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
