// What the firewall's engine costs, in the process: CPU time of one thread per benign request under
// OWASP's Core Rule Set, and of libmodsecurity beside it; time to compile the rules, from nothing
// with one thread and with as many as the engine takes, and from the cache; memory of the compiled
// patterns.
//
//   leeward-bench-waf [ROUNDS]      tab-separated: paranoia, request, engine, µs (least of ROUNDS)
//   leeward-bench-waf ROUNDS compile                  only that: median of ROUNDS, least and most
//   leeward-bench-waf ROUNDS get|post2k PARANOIA      only that, and only ours; for a profiler
#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engines.h"
#include "waf/rule_set.h"

namespace {

namespace compared = leeward::waf::compared;

double seconds_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

std::string write_rules(const std::string& directory, int paranoia) {
  const std::string path = directory + "/rules.conf";
  std::ofstream(path) << "SecRuleEngine On\nSecRequestBodyAccess On\n"
                         "SecRule REQUEST_HEADERS:Content-Type \"^application/json\" "
                         "\"id:200001,phase:1,t:none,t:lowercase,pass,nolog,"
                         "ctl:requestBodyProcessor=JSON\"\n"
                         "SecAction \"id:900000,phase:1,nolog,pass,t:none,setvar:tx.paranoia_level="
                      << paranoia
                      << "\"\nInclude /etc/modsecurity/crs/crs-setup.conf\n"
                         "Include /usr/share/modsecurity-crs/rules/*.conf\n";
  return path;
}

compared::Request get() {
  compared::Request request;
  request.target = "/shop?article=17&size=XL";
  request.fields = {{"Host", "127.0.0.1"}, {"Accept", "*/*"}, {"User-Agent", "Mozilla/5.0"}};
  return request;
}

// 2 KiB with 130 values, the body of bench/edge/waf.py.
compared::Request post() {
  compared::Request request = get();
  request.method = "POST";
  request.target = "/api/orders";
  for (int i = 0; i < 26; ++i)
    request.body += fmt::format(
        R"({}{{"article": {}, "size": "XL", "note": "with care", "tags": ["blue", "linen"]}})",
        i == 0 ? "" : ", ", i);
  request.body = "{\"items\": [" + request.body + "]}";
  request.fields.push_back({"Content-Type", "application/json"});
  request.fields.push_back({"Content-Length", std::to_string(request.body.size())});
  return request;
}

double microseconds(compared::Engine& engine, const compared::Request& request, int rounds) {
  double least = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const double begin = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    int count = 0;
    while (count < 20 || seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin < 0.2)
      for (int i = 0; i < 5; ++i, ++count) engine.look(request);
    least = std::min(least, (seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin) / count * 1e6);
  }
  return least;
}

void compile(const std::string& rules, const std::string& directory, int rounds) {
  struct Way {
    const char* name;
    unsigned threads;
    bool cached;
  };
  const std::string patterns = directory + "/patterns";
  for (const Way& way : {Way{"from nothing, one thread", 1, false}, Way{"from nothing", 0, false},
                         Way{"from the cache", 0, true}}) {
    std::vector<double> walls, processors;
    std::size_t bytes = 0;
    for (int round = 0; round < rounds; ++round) {
      if (!way.cached) std::filesystem::remove(patterns);
      const double wall = seconds_of(CLOCK_MONOTONIC);
      const double processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
      auto set = leeward::waf::RuleSet::load(
          rules, {.cache_file = patterns, .compile_threads = way.threads});
      if (!set) std::exit((fmt::print(stderr, "{}\n", set.error().message), 1));
      walls.push_back(seconds_of(CLOCK_MONOTONIC) - wall);
      processors.push_back(seconds_of(CLOCK_PROCESS_CPUTIME_ID) - processor);
      bytes = (*set)->compiled_bytes();
    }
    std::sort(walls.begin(), walls.end());
    std::sort(processors.begin(), processors.end());
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    fmt::print(
        "compile\t{}\t{:.2f} s ({:.2f} - {:.2f})\t{:.2f} s of processors\t{:.1f} MiB of patterns"
        "\t{} MiB resident at most\n",
        way.name, walls[walls.size() / 2], walls.front(), walls.back(),
        processors[processors.size() / 2], double(bytes) / (1 << 20), usage.ru_maxrss / 1024);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
  char name[] = "/tmp/leeward-bench-waf-XXXXXX";
  const std::string directory = ::mkdtemp(name);
  if (argc == 3 && std::string_view(argv[2]) == "compile") {
    compile(write_rules(directory, 1), directory, rounds);
    std::filesystem::remove_all(directory);
    return 0;
  }
  if (argc > 3) {
    const auto engine = compared::ours(write_rules(directory, std::atoi(argv[3])), true);
    const compared::Request request = std::string_view(argv[2]) == "get" ? get() : post();
    fmt::print("{}\t{}\tleeward\t{:.1f}\n", argv[3], argv[2],
               microseconds(*engine, request, rounds));
    std::filesystem::remove_all(directory);
    return 0;
  }
  for (int paranoia : {1, 4}) {
    const std::string rules = write_rules(directory, paranoia);
    if (paranoia == 1) compile(rules, directory, rounds);
    const auto ours = compared::ours(rules, true);
    const auto plain = compared::ours(rules, false);
    const auto theirs = compared::modsecurity(rules);
    for (const auto& [what, request] : {std::pair{"get", get()}, std::pair{"post2k", post()}}) {
      if (paranoia == 1 && ours->look(request).status != 0)
        std::exit(
            (fmt::print(stderr, "{} is refused\n{}", what, ours->look(request).explanation), 1));
      fmt::print("{}\t{}\tleeward\t{:.1f}\n", paranoia, what, microseconds(*ours, request, rounds));
      fmt::print("{}\t{}\twithout prefilter\t{:.1f}\n", paranoia, what,
                 microseconds(*plain, request, rounds));
      fmt::print("{}\t{}\tlibmodsecurity\t{:.1f}\n", paranoia, what,
                 microseconds(*theirs, request, std::min(rounds, 2)));
    }
  }
  std::filesystem::remove_all(directory);
}
