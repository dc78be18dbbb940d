// waf tune: from the log of an edge, what the firewall should leave out. A false positive comes
// from many clients in the ordinary course of a site, an attack from few; what many clients set off
// at one place is proposed as an exclusion, as narrow as the policy can say it.
#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <tuple>

#include "cli/internal/commands.h"
#include "cli/internal/terminal.h"

namespace leeward::cli {
namespace {

constexpr std::size_t kPlacesMax = 100'000;  // remembered; what comes later is counted as left out
constexpr std::size_t kClientsMax = 1000;    // of a place
constexpr std::size_t kLineBytesMax = 1u << 20;

struct Place {
  std::string rule, variable, path;
  auto operator<=>(const Place&) const = default;
};
struct Seen {
  std::uint64_t requests = 0;
  std::set<std::string> clients;
  std::string url;  // the first one
};
struct Log {
  std::map<Place, Seen> places;
  std::uint64_t lines = 0;     // that told of a match
  std::uint64_t left_out = 0;  // matches for which there was no room
};

// "/notes/1?x" is below /notes.
std::string first_segment(std::string_view url) {
  const std::size_t slash = url.find('/');
  if (slash == std::string_view::npos) return "/";
  const std::string_view path = url.substr(slash, url.find_first_of("?#", slash) - slash);
  return std::string(path.substr(0, path.find('/', 1)));
}

// Rules that only add up what others found.
bool is_sum(std::string_view rule) {
  return rule.starts_with("949") || rule.starts_with("959") || rule.starts_with("980");
}

void add_line(const std::string& line, Log& log) {
  const Json entry = Json::parse(line, nullptr, false);
  if (!entry.is_object()) return;
  auto text = [&entry](const char* key) {
    auto found = entry.find(key);
    return found != entry.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const std::string matched = text("matched"), url = text("url"), client = text("client");
  if (matched.empty() || url.empty()) return;
  ++log.lines;
  std::size_t at = 0;
  while (at < matched.size()) {
    const std::size_t end = std::min(matched.find(", ", at), matched.size());
    const std::string_view one = std::string_view(matched).substr(at, end - at);
    at = end + 2;
    const std::size_t blank = one.find(' ');
    const std::string_view rule = one.substr(0, blank);
    if (rule.empty() || is_sum(rule)) continue;
    Place place{std::string(rule),
                blank == std::string_view::npos ? "" : std::string(one.substr(blank + 1)),
                first_segment(url)};
    auto found = log.places.find(place);
    if (found == log.places.end()) {
      if (log.places.size() == kPlacesMax) {
        ++log.left_out;
        continue;
      }
      found = log.places.emplace(std::move(place), Seen{}).first;
      found->second.url = url;
    }
    ++found->second.requests;
    if (found->second.clients.size() < kClientsMax) found->second.clients.insert(client);
  }
}

// As a policy names it; empty: it has no name there.
std::string value_of(std::string_view variable) {
  constexpr std::tuple<std::string_view, std::string_view, std::string_view> kNames[] = {
      {"ARGS_NAMES", "arg_names", ""},
      {"ARGS_GET", "args", "arg"},
      {"ARGS_POST", "args", "arg"},
      {"ARGS", "args", "arg"},
      {"REQUEST_HEADERS_NAMES", "header_names", ""},
      {"REQUEST_HEADERS", "headers", "header"},
      {"REQUEST_COOKIES_NAMES", "cookie_names", ""},
      {"REQUEST_COOKIES", "cookies", "cookie"},
  };
  const std::size_t colon = variable.find(':');
  const std::string_view name = variable.substr(0, colon);
  for (const auto& [seclang, all, one] : kNames) {
    if (name != seclang) continue;
    if (colon == std::string_view::npos || one.empty()) return std::string(all);
    std::string escaped;
    for (char c : variable.substr(colon + 1)) {
      if (c == '"' || c == '\\') escaped += '\\';
      escaped += c;
    }
    return fmt::format("{}(\"{}\")", one, escaped);
  }
  return "";
}

// In single quotes of YAML.
std::string yaml(std::string_view text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

}  // namespace

int waf_tune(const Globals& globals, const WafTuneOptions& options, Io& io) {
  Log log;
  for (const std::string& name : options.logs) {
    std::ifstream file;
    if (name != "-") {
      file.open(name);
      if (!file) return report(io, os_error(errno, "open " + name));
    }
    std::istream& in = name == "-" ? io.in : file;
    for (std::string line; std::getline(in, line);)
      if (line.size() <= kLineBytesMax) add_line(line, log);
  }
  std::vector<std::pair<const Place*, const Seen*>> proposed;
  for (const auto& [place, seen] : log.places)
    if (seen.clients.size() >= options.clients) proposed.emplace_back(&place, &seen);
  std::sort(proposed.begin(), proposed.end(),
            [](const auto& a, const auto& b) { return a.second->requests > b.second->requests; });
  if (globals.json) {
    Json all = Json::array();
    for (const auto& [place, seen] : proposed) {
      const std::string value = value_of(place->variable);
      all.push_back({{"path", place->path},
                     {"rule", place->rule},
                     {"values", value.empty() ? Json::array() : Json::array({value})},
                     {"requests", seen->requests},
                     {"clients", seen->clients.size()},
                     {"example", printable(seen->url)}});
    }
    io.out << to_text(all);
    return 0;
  }
  for (const auto& [place, seen] : proposed) {
    const std::string value = value_of(place->variable);
    io.out << printable(fmt::format("# {} requests of {} clients, such as {}", seen->requests,
                                    seen->clients.size(), seen->url))
           << "\n"
           << printable(fmt::format(
                  "- {{ path: {}, rules: [{}]{} }}", yaml(place->path), yaml(place->rule),
                  value.empty() ? std::string() : fmt::format(", values: [{}]", yaml(value))))
           << "\n";
  }
  io.err << fmt::format("{} lines told of matches; {} places, {} of them from {} clients or more",
                        log.lines, log.places.size(), proposed.size(), options.clients);
  if (log.left_out > 0) io.err << fmt::format("; {} matches found no room", log.left_out);
  io.err << std::endl;
  return 0;
}

}  // namespace leeward::cli
