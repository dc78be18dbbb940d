// waf rules, waf test: what the firewall's rules are, and what they say of a request. Asks nobody.
#include <chrono>
#include <sstream>

#include "base/file.h"
#include "cli/internal/commands.h"
#include "cli/internal/request_text.h"
#include "cli/internal/terminal.h"
#include "model/edge.h"
#include "waf/collections.h"
#include "waf/load_rules.h"
#include "waf/policy.h"
#include "waf/rule_set.h"
#include "waf/transaction.h"

namespace leeward::cli {
namespace {

constexpr std::size_t kRequestBytesMax = 64u << 20;
constexpr std::size_t kValueShown = 120;

using Rules = std::shared_ptr<const waf::RuleSet>;

Result<Rules> rules_of(const Globals& globals, const WafOptions& options, Io& io) {
  if (!options.rules.empty()) return waf::RuleSet::load(options.rules, {});
  auto platform = load_platform(globals, io);
  if (!platform) return fail(std::move(platform.error()));
  if (!platform->edge) return fail(Code::kInvalid, "{} has no section 'edge'", globals.config_path);
  const EdgeWaf& settings = platform->edge->firewall.waf;
  if (!settings.policy && settings.rules_file.empty())
    return fail(Code::kInvalid, "{}: edge.firewall has neither policy nor rules_file",
                globals.config_path);
  return waf::load_rules(settings, platform->directory);
}

// Mistakes in rules come a line each.
int report_rules(Io& io, const Error& error) {
  if (error.message.find('\n') == std::string::npos) return report(io, error);
  std::istringstream lines(error.message);
  for (std::string line; std::getline(lines, line);) io.err << printable(line) << "\n";
  return exit_status(error.code);
}

Result<std::string> read_request(const std::string& name, Io& io) {
  if (name != "-") return read_file(name);
  std::string text;
  char block[4096];
  while (text.size() <= kRequestBytesMax && (io.in.read(block, sizeof block) || io.in.gcount() > 0))
    text.append(block, static_cast<std::size_t>(io.in.gcount()));
  if (text.size() > kRequestBytesMax)
    return fail(Code::kInvalid, "a request has at most {} bytes", kRequestBytesMax);
  return text;
}

struct Judged {
  RequestText request;
  waf::Intervention verdict;
  std::vector<waf::MatchedRule> matches;
  std::string score;
};

Judged judge(const Rules& rules, RequestText request, const std::string& from) {
  waf::Workspace workspace(rules);
  waf::Collections collections;
  waf::Transaction t(workspace, collections,
                     {std::chrono::steady_clock::now(), std::chrono::system_clock::now()});
  std::vector<waf::HeaderField> fields;
  for (const auto& [name, value] : request.fields) fields.push_back({name, value});
  waf::RequestHead head;
  head.client_address = from;
  head.method = request.method;
  head.target = request.target;
  head.protocol = request.protocol;
  head.fields = fields;
  head.unique_id = "waf-test";
  if (!t.request_headers(head)) t.request_body(request.body);
  t.logging();
  Judged judged;
  judged.verdict = t.intervention();
  judged.matches.assign(t.matches().begin(), t.matches().end());
  for (const char* name : {"blocking_inbound_anomaly_score", "anomaly_score"})
    if (judged.score.empty()) judged.score = t.tx(name);
  judged.request = std::move(request);
  return judged;
}

Json to_json(const Judged& j) {
  Json matches = Json::array();
  for (const waf::MatchedRule& m : j.matches) {
    if (!m.told) continue;
    matches.push_back({{"rule", m.id},
                       {"phase", m.phase},
                       {"message", printable(m.message)},
                       {"variable", printable(m.variable)},
                       {"value", printable(m.value)},
                       {"tags", m.tags},
                       {"place", m.place}});
  }
  Json json = {{"method", j.request.method},
               {"target", printable(j.request.target)},
               {"refused", j.verdict.due},
               {"score", j.score.empty() ? Json() : Json(std::atoi(j.score.c_str()))},
               {"matches", std::move(matches)}};
  if (j.verdict.due) {
    json["status"] = j.verdict.status;
    json["rule"] = j.verdict.rule;
  }
  return json;
}

void print(const Judged& j, Io& io) {
  io.out << printable(fmt::format("{} {}", j.request.method, j.request.target)) << "\n";
  for (const waf::MatchedRule& m : j.matches) {
    if (!m.told) continue;
    io.out << fmt::format("  {:>6}  phase {}  {}\n", m.id, m.phase, printable(m.message));
    if (m.variable.empty()) continue;
    std::string value = printable(m.value);
    if (value.size() > kValueShown) value = value.substr(0, kValueShown) + " …";
    io.out << fmt::format("          {} = {}\n", printable(m.variable), value);
  }
  const std::string score =
      j.score.empty() || j.score == "0" ? "" : fmt::format(", anomaly score {}", j.score);
  if (j.verdict.due)
    io.out << fmt::format("refused: {} by rule {}{}\n", j.verdict.status, j.verdict.rule, score);
  else
    io.out << fmt::format("passes{}\n", score);
}

}  // namespace

int waf_rules(const Globals& globals, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return report(io, platform.error());
  if (!platform->edge || !platform->edge->firewall.waf.policy)
    return report(io, Error{Code::kInvalid,
                            fmt::format("{} has no edge.firewall.policy", globals.config_path)});
  const EdgeWaf& settings = platform->edge->firewall.waf;
  auto text = waf::seclang_of(*settings.policy, settings.responses);
  if (!text) return report(io, text.error());
  io.out << *text;
  return 0;
}

int waf_test(const Globals& globals, const WafOptions& options, Io& io) {
  auto rules = rules_of(globals, options, io);
  if (!rules) return report_rules(io, rules.error());
  bool refused = false;
  Json all = Json::array();
  for (const std::string& name : options.requests) {
    auto text = read_request(name, io);
    if (!text) return report(io, text.error());
    auto request = parse_request_text(*text, name == "-" ? "standard input" : name);
    if (!request) return report(io, request.error());
    const Judged judged = judge(*rules, std::move(*request), options.from);
    refused = refused || judged.verdict.due;
    if (globals.json)
      all.push_back(to_json(judged));
    else
      print(judged, io);
  }
  if (globals.json) io.out << to_text(all);
  return refused ? exit_status(Code::kRefused) : 0;
}

}  // namespace leeward::cli
