// Runs the examples of examples.h through libmodsecurity 3 and through the engine, under the Core
// Rule Set as it is installed: each rule matches what it must and not what it must not, both agree
// on every rule and on the refusal, at every paranoia level, and every rule of the rules' files has
// examples, or stands in the list of those that no request reaches.
//
// Rules with `nolog` are told of too here: the rules are read from a copy that says `log`.
//
//   leeward-waf-examples EXAMPLES-DIRECTORY [RULE-ID]
//
// Exit status 0: all is as it must be. 77: the Core Rule Set is not installed.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "differences.h"
#include "engines.h"
#include "examples.h"

namespace leeward::waf::compared {
namespace {

constexpr const char* kCrs = "/usr/share/modsecurity-crs/rules";
constexpr const char* kSetup = "/etc/modsecurity/crs/crs-setup.conf";

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The rules' own ids, read from their files.
std::set<std::uint32_t> ids_of_rules() {
  std::set<std::uint32_t> ids;
  const std::regex id("id:'?([0-9]+)");
  for (const auto& entry : std::filesystem::directory_iterator(kCrs)) {
    if (entry.path().extension() != ".conf") continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      std::smatch found;
      if (line.find_first_not_of(" \t") == line.find('#')) continue;
      if (std::regex_search(line, found, id))
        ids.insert(static_cast<std::uint32_t>(std::stoul(found[1])));
    }
  }
  return ids;
}

// `log` for `nolog`, `auditlog` for `noauditlog`, and a message where a rule has none:
// libmodsecurity tells of nothing without.
std::string telling(const std::string& rules) {
  std::string out;
  std::istringstream in(rules);
  for (std::string line; std::getline(in, line);) {
    if (line.find_first_not_of(" \t") != line.find('#')) {
      line = std::regex_replace(line, std::regex("\\bno(audit)?log\\b"), "$1log");
      const std::size_t id = line.find("\"id:");
      if (id != std::string::npos) {
        // The rule ends where an empty line or the next directive is.
        const auto at = static_cast<std::size_t>(in.tellg()) - 1;
        const std::size_t end = std::min(rules.find("\n\n", at), rules.find("\nSec", at));
        if (line.find("msg:") == std::string::npos && rules.find("msg:", at) >= end)
          line.insert(id + 1, "msg:'told',");
      }
    }
    out += line + "\n";
  }
  return out;
}

// A directory of its own with the rules that tell; removed at the end.
class TellingRules {
 public:
  explicit TellingRules(const std::string& profiles)
      : directory_(std::filesystem::temp_directory_path() /
                   fmt::format("waf-examples-{}", ::getpid())) {
    std::filesystem::create_directories(directory_);
    for (const auto& entry : std::filesystem::directory_iterator(kCrs)) {
      const std::string text = content(entry.path());
      const bool is_rules = entry.path().extension() == ".conf";
      std::ofstream(directory_ / entry.path().filename()) << (is_rules ? telling(text) : text);
    }
    std::ofstream(main()) << fmt::format(
        R"(SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/html
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
Include {}
{}Include {}/*.conf
)",
        kSetup, profiles, directory_.string());
  }
  ~TellingRules() { std::filesystem::remove_all(directory_); }
  TellingRules(const TellingRules&) = delete;
  TellingRules& operator=(const TellingRules&) = delete;

  std::string main() const { return (directory_ / "rules.main").string(); }

 private:
  std::filesystem::path directory_;
};

std::string list(const std::set<std::uint32_t>& rules, const std::set<std::uint32_t>& without) {
  std::string text;
  for (const std::uint32_t rule : rules)
    if (!without.contains(rule)) text += fmt::format(" {}", rule);
  return text;
}

class Check {
 public:
  Check(const Examples& examples, const std::string& rules)
      : examples_(examples), theirs_(modsecurity(rules)), ours_(ours(rules, true)) {}

  int run(std::uint32_t only) {
    for (const Example& example : examples_.all)
      if (only == 0 || std::ranges::find(example.rules, only) != example.rules.end()) look(example);
    if (only == 0) look_for_gaps();
    fmt::print(
        "{} examples, {} requests with all paranoia levels; {} rules with both kinds, {} that "
        "match all, {} unreachable\n",
        examples_.all.size(), requests_, with_both_, examples_.always.size(),
        examples_.unreachable.size());
    for (const auto& [name, count] : explained_) fmt::print("explained: {} {}\n", count, name);
    fmt::print("{} wrong\n", wrong_);
    return wrong_ == 0 ? 0 : 1;
  }

 private:
  void look(const Example& example) {
    Seen mine, reference;
    for (int i = 0; i < example.times; ++i) std::tie(mine, reference) = both(example.request);
    for (const std::uint32_t rule : example.rules) {
      (example.matches ? positive_ : negative_).insert(rule);
      for (const auto& [name, seen] : {std::pair{"ours", &mine}, {"libmodsecurity", &reference}})
        if (seen->rules.contains(rule) != example.matches)
          wrong(example.request, fmt::format("{}: {} {} match in {}", example.place, rule,
                                             example.matches ? "does not" : "does", name));
    }
    if (example.has_profile || example.times > 1) return;
    for (int level = 1; level <= 3; ++level) {
      Request request = example.request;
      request.client_port = port_of_paranoia(level);
      both(request);
    }
  }

  std::pair<Seen, Seen> both(const Request& request) {
    const Seen mine = ours_->look(request), reference = theirs_->look(request);
    ++requests_;
    for (const std::uint32_t rule : mine.rules) matched_.insert(rule);
    if (!mine.same(reference)) {
      if (const Difference* known = explained(request, mine, reference))
        ++explained_[known->name];
      else
        wrong(request,
              fmt::format("{} from port {}: status {} and {}, score {} and {}; only ours:{}; only "
                          "libmodsecurity's:{}",
                          request.kind, request.client_port, mine.status, reference.status,
                          mine.score, reference.score, list(mine.rules, reference.rules),
                          list(reference.rules, mine.rules)));
    }
    return {mine, reference};
  }

  void look_for_gaps() {
    const std::set<std::uint32_t> ids = ids_of_rules();
    for (const std::uint32_t rule : ids) {
      const bool both = positive_.contains(rule) && negative_.contains(rule);
      with_both_ += both;
      if (examples_.unreachable.contains(rule)) {
        if (matched_.contains(rule))
          gap(fmt::format("{} is called unreachable, and it matches", rule));
      } else if (examples_.always.contains(rule)) {
        if (!positive_.contains(rule)) gap(fmt::format("{} has no example", rule));
      } else if (!both) {
        gap(fmt::format("{} has no {} example", rule,
                        positive_.contains(rule) ? "negative" : "positive"));
      }
    }
    for (const auto* rules : {&positive_, &negative_})
      for (const std::uint32_t rule : *rules)
        if (!ids.contains(rule)) gap(fmt::format("{} is no rule of these rules", rule));
    for (const auto& [rule, reason] : examples_.unreachable)
      if (!ids.contains(rule)) gap(fmt::format("{} is no rule of these rules", rule));
  }

  void wrong(const Request& request, const std::string& what) {
    ++wrong_;
    fmt::print("wrong: {}\n", what);
    if (wrong_ == 1) fmt::print("{}\n", request.text());
  }
  void gap(const std::string& what) {
    ++wrong_;
    fmt::print("wrong: {}\n", what);
  }

  const Examples& examples_;
  std::unique_ptr<Engine> theirs_, ours_;
  std::set<std::uint32_t> positive_, negative_, matched_;
  std::map<std::string, std::size_t> explained_;
  std::size_t requests_ = 0, wrong_ = 0, with_both_ = 0;
};

}  // namespace
}  // namespace leeward::waf::compared

int main(int argc, char** argv) {
  namespace compared = leeward::waf::compared;
  if (argc < 2) {
    fmt::print(stderr, "usage: leeward-waf-examples EXAMPLES-DIRECTORY [RULE-ID]\n");
    return 2;
  }
  if (!std::filesystem::is_directory(compared::kCrs)) {
    fmt::print("{} is not there: modsecurity-crs is not installed\n", compared::kCrs);
    return 77;
  }
  const compared::Examples examples = compared::read_examples(argv[1]);
  const compared::TellingRules rules(examples.profile_rules);
  const auto only = argc > 2 ? static_cast<std::uint32_t>(std::stoul(argv[2])) : 0u;
  return compared::Check(examples, rules.main()).run(only);
}
