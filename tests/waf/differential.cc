// Compares the engine with libmodsecurity 3 on OWASP's Core Rule Set: same refusal, same rules that
// matched, same anomaly score, for seeded requests; and the engine with itself, with and without
// its prefilter. What differs and may is in differences.h, each with its reason.
//
//   leeward-waf-differential [--requests N] [--seed S] [--paranoia 1-4] [--show N] [--only KIND]
//                            [--core-rules DIRECTORY]
//
// DIRECTORY: another release of the rule set, as it is unpacked: crs-setup.conf or
// crs-setup.conf.example, and rules/. Without it Debian's is taken.
//
// Exit status 0: nothing differs that may not. 77: the Core Rule Set is not installed.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "corpus.h"
#include "differences.h"
#include "engines.h"

namespace leeward::waf::compared {
namespace {

struct Options {
  std::size_t requests = 300;
  std::uint64_t seed = 1;
  int paranoia = 4;
  std::size_t show = 5;
  std::string only;
  std::string core_rules;
  std::string setup_file() const {
    if (core_rules.empty()) return "/etc/modsecurity/crs/crs-setup.conf";
    const std::string file = core_rules + "/crs-setup.conf";
    return std::filesystem::exists(file) ? file : file + ".example";
  }
  std::string rules() const {
    return (core_rules.empty() ? "/usr/share/modsecurity-crs" : core_rules) + "/rules";
  }
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--requests")
      options.requests = std::stoul(value);
    else if (name == "--seed")
      options.seed = std::stoull(value);
    else if (name == "--paranoia")
      options.paranoia = std::stoi(value);
    else if (name == "--show")
      options.show = std::stoul(value);
    else if (name == "--only")
      options.only = value;
    else if (name == "--core-rules")
      options.core_rules = value;
    else
      std::exit((fmt::print(stderr, "{}: there is no such option\n", name), 2));
  }
  return options;
}

std::string write_rules(const Options& options) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("waf-compared-{}.conf", ::getpid()))
          .string();
  std::ofstream(path) << fmt::format(
      R"(SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" "id:'200000',phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:'200001',phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:'200002',phase:2,t:none,log,pass,msg:'Failed to parse request body.',severity:2"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:'200003',phase:2,t:none,log,pass,msg:'Multipart request body failed strict validation',severity:2"
SecRule MULTIPART_UNMATCHED_BOUNDARY "@eq 1" "id:'200004',phase:2,t:none,log,pass,msg:'unmatched boundary'"
SecAction "id:900000,phase:1,nolog,pass,t:none,setvar:tx.paranoia_level={0},setvar:tx.blocking_paranoia_level={0},setvar:tx.detection_paranoia_level={0}"
Include {1}
Include {2}/*.conf
)",
      options.paranoia, options.setup_file(), options.rules());
  return path;
}

std::string list(const std::set<std::uint32_t>& rules, const std::set<std::uint32_t>& without) {
  std::string text;
  for (std::uint32_t rule : rules)
    if (!without.contains(rule)) text += fmt::format(" {}", rule);
  return text;
}

class Comparison {
 public:
  Comparison(const Options& options, const std::string& rules)
      : options_(options),
        theirs_(modsecurity(rules)),
        ours_(ours(rules, true)),
        plain_(ours(rules, false)) {}

  int run() {
    Random random(options_.seed);
    for (std::size_t i = 0; i < options_.requests; ++i) {
      const Request request = any(random);
      if (request.kind.find(options_.only) != std::string::npos) compare(request);
    }
    report();
    return unexplained_ == 0 && self_ == 0 ? 0 : 1;
  }

 private:
  Seen timed(Engine& engine, const Request& request, double& seconds) {
    const auto begin = std::chrono::steady_clock::now();
    Seen seen = engine.look(request);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return seen;
  }

  void compare(const Request& request) {
    const Seen mine = timed(*ours_, request, seconds_ours_);
    const Seen whole = timed(*plain_, request, seconds_plain_);
    const Seen reference = timed(*theirs_, request, seconds_theirs_);
    ++compared_;
    refused_ += reference.status != 0;
    if (!mine.same(whole)) {
      ++self_;
      show("the prefilter hides a match", request, mine, whole);
    }
    if (mine.same(reference)) return;
    if (const Difference* known = explained(request, mine, reference)) {
      ++explained_[known->name];
      return;
    }
    ++unexplained_;
    ++kinds_[request.kind.substr(request.kind.rfind('/'))];
    for (std::uint32_t rule : reference.rules)
      if (!mine.rules.contains(rule)) ++missing_[rule];
    for (std::uint32_t rule : mine.rules)
      if (!reference.rules.contains(rule)) ++surplus_[rule];
    if (mine.status == 0 && reference.status != 0) ++passes_;
    show("differs from libmodsecurity", request, mine, reference);
  }

  void show(std::string_view what, const Request& request, const Seen& mine, const Seen& other) {
    if (shown_++ >= options_.show) return;
    fmt::print(
        "---- {}: {}\n{}\nours {} score {}, only ours:{}\nother {} score {}, only other:{}\n", what,
        request.kind, request.text(), mine.status, mine.score, list(mine.rules, other.rules),
        other.status, other.score, list(other.rules, mine.rules));
    fmt::print("ours:\n{}other:\n{}\n", mine.explanation, other.explanation);
  }

  void report() {
    fmt::print("{} requests, {} refused by libmodsecurity\n", compared_, refused_);
    fmt::print(
        "per request: ours {:.1f} µs, without prefilter {:.1f} µs, libmodsecurity {:.1f} µs\n",
        seconds_ours_ * 1e6 / double(compared_), seconds_plain_ * 1e6 / double(compared_),
        seconds_theirs_ * 1e6 / double(compared_));
    for (const auto& [name, count] : explained_) fmt::print("explained: {} {}\n", count, name);
    fmt::print(
        "{} differ without a reason, of them {} pass here only; {} differ by the prefilter\n",
        unexplained_, passes_, self_);
    for (const auto& [kind, count] : kinds_) fmt::print("  in {}: {}\n", kind, count);
    for (const auto& [rule, count] : missing_) fmt::print("  missing {}: {}\n", rule, count);
    for (const auto& [rule, count] : surplus_) fmt::print("  surplus {}: {}\n", rule, count);
  }

  const Options options_;
  std::unique_ptr<Engine> theirs_, ours_, plain_;
  std::size_t compared_ = 0, refused_ = 0, self_ = 0, unexplained_ = 0, passes_ = 0, shown_ = 0;
  double seconds_ours_ = 0, seconds_plain_ = 0, seconds_theirs_ = 0;
  std::map<std::string, std::size_t> explained_, kinds_;
  std::map<std::uint32_t, std::size_t> missing_, surplus_;
};

}  // namespace
}  // namespace leeward::waf::compared

int main(int argc, char** argv) {
  namespace compared = leeward::waf::compared;
  const compared::Options options = compared::parse(argc, argv);
  if (!std::filesystem::is_directory(options.rules())) {
    fmt::print("{} is not there: modsecurity-crs is not installed\n", options.rules());
    return 77;
  }
  const std::string rules = compared::write_rules(options);
  const int status = compared::Comparison(options, rules).run();
  std::filesystem::remove(rules);
  return status;
}
