// leeward waf: its commands and their options.
#include "cli/internal/arguments.h"

namespace leeward::cli {
namespace {

int start_waf(Arguments& a, const Roles& roles, Io& io) {
  if (!roles.waf_serve) return report(io, Error{Code::kInternal, "this executable lacks the role"});
  WafServeOptions options = a.waf_serve;
  options.config_path = a.globals.config_path;
  options.log_level = log_level(a);
  options.log_format = a.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  for (auto [text, endpoint] :
       {std::pair{&a.waf_http, &options.http}, std::pair{&a.waf_spoe, &options.spoe}}) {
    if (text->empty()) continue;
    auto parsed = parse_endpoint(*text);
    if (!parsed) return report(io, parsed.error());
    *endpoint = *parsed;
  }
  if (!options.http && !options.spoe)
    return report(io, Error{Code::kInvalid, "give --http, --spoe or both: ADDRESS:PORT"});
  return roles.waf_serve(options);
}

void add_waf_serve(CLI::App& group, Arguments& a, const Roles& roles) {
  CLI::App* serve = add(
      group, a, "serve",
      "Puts the firewall behind HAProxy (by SPOE) or behind nginx and others that ask before they "
      "pass a request on (auth_request). SIGHUP reads the rules again.",
      "  leeward waf serve --spoe 127.0.0.1:9001\n"
      "  leeward waf serve --http 127.0.0.1:9002 --rules rules.conf --detect",
      [&a, &roles](Io& io) { return start_waf(a, roles, io); });
  serve->add_option("--spoe", a.waf_spoe, "ADDRESS:PORT where HAProxy finds it");
  serve->add_option("--http", a.waf_http,
                    "ADDRESS:PORT for sub-requests (204 passes, 403 refuses) and /metrics");
  serve->add_option("--rules", a.waf_serve.rules, "Rules in SecLang; default: leeward.yaml's");
  serve->add_flag("--detect", a.waf_serve.detect, "Refuse nothing, whatever leeward.yaml says");
  add_log_level(serve, a);
  serve->add_option("--log-format", a.log_format, "text for people, json for collectors")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

}  // namespace

void add_waf(CLI::App& app, Arguments& a, const Roles& roles) {
  CLI::App* group = add(app, a, "waf", "The firewall's rules, and what they say of requests.",
                        "  leeward waf rules\n  leeward waf test request.txt", nullptr);
  group->require_subcommand(1);
  add_waf_serve(*group, a, roles);
  CLI::App* status =
      add(*group, a, "status",
          "Asks the edge of each site what its firewall runs, and says whether all run the same: "
          "rules, "
          "settings, limits, lists, challenge. Exit status as of a conflict when they do not.",
          "  leeward waf status\n  leeward waf status -o json",
          [&a](Io& io) { return edge_firewall_status(a.globals, a.edge, io); });
  status->add_option("--site", a.edge.site, "Only the edge of this site");
  CLI::App* tune = add(
      *group, a, "tune",
      "Proposes exclusions for edge.firewall.policy from the log of an edge (--log-format json): "
      "what many clients set off at one place is hardly an attack.",
      "  leeward waf tune edge.log\n  journalctl -u leeward-edge -o cat | leeward waf tune - "
      "--clients 10",
      [&a](Io& io) { return waf_tune(a.globals, a.waf_tune, io); });
  tune->add_option("log", a.waf_tune.logs, "Files; - is standard input")->required();
  tune->add_option("--clients", a.waf_tune.clients,
                   "So many clients must have set a rule off at a place")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add(*group, a, "rules", "Prints the rules that edge.firewall.policy stands for, in SecLang.",
      "  leeward waf rules > rules.conf", [&a](Io& io) { return waf_rules(a.globals, io); });
  CLI::App* test = add(
      *group, a, "test",
      "Judges requests by the firewall's rules: every rule that matched and on what, the score, "
      "the "
      "verdict. A request is a file as HTTP/1.1 sends it: request line, fields, an empty line, the "
      "body. Exit status 5 when one would be refused.",
      "  printf 'GET /?id=1%%27%%20or%%201=1 HTTP/1.1\\nHost: shop.test\\n\\n' | leeward waf test "
      "-\n"
      "  leeward waf test login.txt search.txt --from 192.0.2.7 -o json\n"
      "  leeward waf test upload.txt --rules rules.conf",
      [&a](Io& io) { return waf_test(a.globals, a.waf, io); });
  test->add_option("request", a.waf.requests, "Files; - is standard input")->required();
  test->add_option("--rules", a.waf.rules, "Rules in SecLang; default: those of leeward.yaml");
  test->add_option("--from", a.waf.from, "The client's address")->capture_default_str();
}

}  // namespace leeward::cli
