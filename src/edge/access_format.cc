#include "edge/internal/access_format.h"

#include <ctime>
#include <iterator>

namespace leeward::edge {
namespace {

// As nginx escapes: what is not printable, '"' and '\' as \xHH.
void append_escaped(std::string& out, std::string_view text) {
  for (char c : text) {
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
      out += c;
    else
      fmt::format_to(std::back_inserter(out), "\\x{:02X}", static_cast<unsigned char>(c));
  }
}

std::string_view or_dash(std::string_view text) { return text.empty() ? "-" : text; }

void combined(const AccessEntry& e, std::string& line) {
  const std::time_t t =
      std::chrono::duration_cast<std::chrono::seconds>(e.wall.time_since_epoch()).count();
  std::tm tm{};
  gmtime_r(&t, &tm);
  char stamp[40];
  std::strftime(stamp, sizeof stamp, "%d/%b/%Y:%H:%M:%S +0000", &tm);
  line.append(to_string(e.client)).append(" - - [").append(stamp).append("] \"");
  append_escaped(line, e.request.method_text);
  line += ' ';
  append_escaped(line, e.request.target);
  fmt::format_to(std::back_inserter(line), " HTTP/{}\" {} {} \"", e.protocol, e.status, e.bytes);
  append_escaped(line, or_dash(find_field(e.request.fields, "referer")));
  line.append("\" \"");
  append_escaped(line, or_dash(find_field(e.request.fields, "user-agent")));
  line.append("\"\n");
}

void json(const AccessEntry& e, std::string& line) {
  auto text = [&line](std::string_view key, std::string_view value) {
    line.append(",\"").append(key).append("\":");
    append_json_string(line, value);
  };
  line.append("{\"time\":\"").append(format_wall(e.wall)).append("\"");
  text("client", to_string(e.client));
  text("protocol", e.protocol);
  text("scheme", e.request.scheme);
  text("host", e.request.host);
  text("method", e.request.method_text);
  text("target", e.request.target);
  fmt::format_to(
      std::back_inserter(line),
      ",\"status\":{},\"bytes\":{},\"duration_ms\":{:.3f},\"origin_ms\":{:.3f},\"attempts\":{},"
      "\"hedged\":{}",
      e.status, e.bytes, seconds(e.took) * 1000, seconds(e.origin_took) * 1000, e.attempts,
      e.hedged);
  text("route", e.route);
  text("origin", e.origin);
  text("cache", e.cache);
  if (!e.rule.empty()) text("rule", e.rule);
  if (!e.waf.empty()) text("waf", e.waf);
  if (!e.ja4.empty()) text("ja4", e.ja4);
  if (const auto agent = find_field(e.request.fields, "user-agent"); !agent.empty())
    text("user_agent", agent);
  if (const auto trace = find_field(e.request.fields, "traceparent"); !trace.empty())
    text("traceparent", trace);
  line.append("}\n");
}

}  // namespace

void format_access(AccessLogFormat format, const AccessEntry& entry, std::string& line) {
  line.clear();
  if (format == AccessLogFormat::kCombined) combined(entry, line);
  if (format == AccessLogFormat::kJson) json(entry, line);
}

}  // namespace leeward::edge
