#include "cli/internal/request_text.h"

#include <fmt/format.h>

namespace leeward::cli {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

Result<RequestText> parse_request_text(std::string_view text, const std::string& name) {
  RequestText request;
  std::size_t line_number = 0;
  auto wrong = [&](std::string_view what) {
    return fail(Code::kInvalid, "{}:{}: {}", name, line_number, what);
  };
  auto next_line = [&] {
    ++line_number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  };

  const std::string_view first = next_line();
  const std::size_t blank = first.find(' ');
  if (blank == 0 || blank == std::string_view::npos)
    return wrong("write METHOD TARGET here, such as GET /search?q=1 HTTP/1.1");
  request.method = first.substr(0, blank);
  std::string_view rest = trimmed(first.substr(blank));
  constexpr std::string_view kHttp = " HTTP/";
  if (const std::size_t version = rest.rfind(kHttp); version != std::string_view::npos) {
    request.protocol = rest.substr(version + kHttp.size());
    rest = rest.substr(0, version);
    if (request.protocol == "2") request.protocol = "2.0";
  }
  request.target = rest;
  if (request.target.empty()) return wrong("there is no target after the method");
  while (!text.empty()) {
    const std::string_view line = next_line();
    if (line.empty()) break;
    const std::size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos)
      return wrong("a field is NAME: VALUE; an empty line ends the head");
    request.fields.emplace_back(line.substr(0, colon), trimmed(line.substr(colon + 1)));
  }
  request.body = text;
  return request;
}

}  // namespace leeward::cli
