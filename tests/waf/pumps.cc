// Looks for what makes the engine slow: for each expression of the Core Rule Set, texts of pieces
// of it, repeated, as arguments of a form: many beginnings of a match whose end never comes. Tells
// which took longest, and fails when one is not bounded.
//
//   leeward-waf-pumps [--bytes N] [--paranoia 1-4] [--every N] [--show N] [--unit TEXT]
//
// Bounded: a request takes no more than kSecondsMax of the processor (all searches together may
// take Transaction::kSearchTimeMax), memory grows by no more than kBytesMax, and what a search gave
// up is refused. Exit status 0: all are. 77: the Core Rule Set is not installed.
#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "waf/transaction.h"

namespace leeward::waf::compared {
namespace {

constexpr const char* kCrs = "/usr/share/modsecurity-crs/rules";
constexpr double kSecondsMax = 10;
constexpr long kBytesMax = 256l << 20;

struct Options {
  std::size_t bytes = 100'000, every = 1, show = 15;
  int paranoia = 4;
  std::string unit;  // only texts of this one
};

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

long resident_max_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

// The expressions of the rules' files, as they are written there.
std::vector<std::string> expressions() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(kCrs))
    if (entry.path().extension() == ".conf") files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<std::string> all;
  for (const auto& file : files) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
      const std::size_t begin = line.find("\"@rx ");
      const std::size_t end = line.rfind('"');
      if (line.find_first_not_of(" \t") == line.find('#')) continue;
      if (begin != std::string::npos && end > begin + 5)
        all.push_back(line.substr(begin + 5, end - begin - 5));
    }
  }
  return all;
}

// Runs of letters and of signs that an expression has in it, without its own syntax.
std::vector<std::string> pieces(const std::string& expression) {
  std::set<std::string> found;
  std::string run;
  const auto take = [&] {
    if (!run.empty() && run.size() <= 12) found.insert(run);
    run.clear();
  };
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char next = expression[++i];
      if (next == 's')
        run += ' ';
      else if (next == 'd')
        run += '1';
      else if (next == 'w')
        run += 'a';
      else if (std::ispunct(static_cast<unsigned char>(next)))
        run += next;
      else
        take();
    } else if (std::isalnum(static_cast<unsigned char>(c)) || c == ' ' || c == '_' || c == '<' ||
               c == '\'' || c == '"' || c == '`' || c == ';' || c == '@' || c == '%') {
      run += c;
    } else {
      take();
    }
  }
  take();
  return {found.begin(), found.end()};
}

struct Text {
  std::string what, value;
};

std::vector<Text> texts(const std::string& expression, std::size_t bytes) {
  const std::vector<std::string> parts = pieces(expression);
  std::vector<std::string> units;
  std::string all;
  for (const std::string& part : parts) {
    if (all.size() < 200) all += part + " ";
    if (units.size() < 6) units.push_back(part);
  }
  if (parts.size() > 1) units.push_back(parts.front() + parts.back() + "(");
  if (!all.empty()) units.push_back(all);
  std::vector<Text> out;
  for (const std::string& unit : units) {
    std::string value;
    while (value.size() < bytes) value += unit;
    out.push_back({unit.substr(0, 40), std::move(value)});
  }
  return out;
}

std::string encoded(const std::string& text) {
  std::string out;
  for (const unsigned char c : text)
    out += std::isalnum(c) ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02x}", c);
  return out;
}

struct Cost {
  double seconds = 0;
  std::uint32_t given_up = 0;
  bool refused = false;
  std::string unit, expression;
};

Cost cost_of(Workspace& workspace, Collections& collections, const std::string& value) {
  const std::string body = "q=" + encoded(value), length = std::to_string(body.size());
  const HeaderField fields[] = {{"Host", "shop.test"},
                                {"User-Agent", "Mozilla/5.0"},
                                {"Accept", "*/*"},
                                {"Content-Type", "application/x-www-form-urlencoded"},
                                {"Content-Length", length}};
  RequestHead head;
  head.client_address = "192.0.2.7";
  head.method = "POST";
  head.target = "/";
  head.protocol = "1.1";
  head.fields = fields;
  const double begin = cpu_seconds();
  Transaction transaction(workspace, collections, {.now = {}, .wall = {}});
  if (!transaction.request_headers(head)) transaction.request_body(body);
  transaction.logging();
  return {cpu_seconds() - begin, transaction.limits(), transaction.intervention().due, {}, {}};
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--unit") {
      options.unit = argv[i + 1];
      continue;
    }
    const std::size_t value = std::stoul(argv[i + 1]);
    if (name == "--bytes")
      options.bytes = value;
    else if (name == "--every")
      options.every = value;
    else if (name == "--show")
      options.show = value;
    else if (name == "--paranoia")
      options.paranoia = static_cast<int>(value);
    else
      std::exit((fmt::print(stderr, "{}: there is no such option\n", name), 2));
  }
  return options;
}

int run(const Options& options) {
  const std::string file =
      (std::filesystem::temp_directory_path() / fmt::format("waf-pumps-{}.conf", ::getpid()))
          .string();
  std::ofstream(file) << fmt::format(
      "SecRuleEngine On\nSecRequestBodyAccess On\nSecRequestBodyNoFilesLimit 10000000\nSecAction "
      "\"id:900000,phase:1,nolog,pass,t:none,"
      "setvar:tx.paranoia_level={}\"\nInclude /etc/modsecurity/crs/crs-setup.conf\nInclude "
      "{}/*.conf\n",
      options.paranoia, kCrs);
  auto rules = RuleSet::load(file, {});
  std::filesystem::remove(file);
  if (!rules) {
    fmt::print(stderr, "{}\n", rules.error().message);
    return 2;
  }
  Workspace workspace(*rules);
  Collections collections;
  const long before = resident_max_bytes();
  std::vector<Cost> costs;
  std::size_t number = 0, unrefused = 0;
  for (const std::string& expression : expressions())
    for (const Text& text : texts(expression, options.bytes)) {
      if (number++ % options.every != 0) continue;
      if (!options.unit.empty() && text.what != options.unit) continue;
      Cost cost = cost_of(workspace, collections, text.value);
      cost.unit = text.what;
      cost.expression = expression.substr(0, 60);
      unrefused += cost.given_up > 0 && !cost.refused;
      costs.push_back(std::move(cost));
    }
  std::ranges::sort(costs, [](const Cost& a, const Cost& b) { return a.seconds > b.seconds; });
  for (std::size_t i = 0; i < std::min(options.show, costs.size()); ++i)
    fmt::print("{:8.1f} ms  {:3} given up  {}  '{}'  {}\n", costs[i].seconds * 1e3,
               costs[i].given_up, costs[i].refused ? "refused" : "passes ", costs[i].unit,
               costs[i].expression);
  const double median = costs[costs.size() / 2].seconds;
  const long grown = resident_max_bytes() - before;
  fmt::print(
      "{} texts of {} bytes: median {:.1f} ms, longest {:.1f} ms, {:.0f} MiB more than before; {} "
      "given up "
      "and not refused\n",
      costs.size(), options.bytes, median * 1e3, costs.front().seconds * 1e3,
      double(grown) / (1 << 20), unrefused);
  return costs.front().seconds <= kSecondsMax && grown <= kBytesMax && unrefused == 0 ? 0 : 1;
}

}  // namespace
}  // namespace leeward::waf::compared

int main(int argc, char** argv) {
  namespace compared = leeward::waf::compared;
  if (!std::filesystem::is_directory(compared::kCrs)) {
    fmt::print("{} is not there: modsecurity-crs is not installed\n", compared::kCrs);
    return 77;
  }
  return compared::run(compared::parse(argc, argv));
}
