// The settings of edge.firewall: addresses, rate limits, inspection by rules.
#include <algorithm>
#include <array>

#include "config/internal/edge_table.h"

namespace leeward::config {
namespace {

bool letter(char c) { return c >= 'A' && c <= 'Z'; }

const TextRule kCountryRule{
    "country", "write the two capital letters of ISO 3166-1, for example DE", "^[A-Z]{2}$",
    [](std::string_view t) { return t.size() == 2 && letter(t[0]) && letter(t[1]); }};
const TextRule kRateKeyRule{
    "key of a rate limit", "write address, network or header:NAME",
    "^(address|network|header:[A-Za-z0-9-]{1,64})$", [](std::string_view t) {
      constexpr std::string_view kHeader = "header:";
      if (!t.starts_with(kHeader)) return t == "address" || t == "network";
      t.remove_prefix(kHeader.size());
      return !t.empty() && t.size() <= 64 && std::all_of(t.begin(), t.end(), [](char c) {
        return letter(c) || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
      });
    }};

constexpr std::int64_t kMiB = 1 << 20;

Table<EdgeRateLimit> rate_limit_table() {
  Table<EdgeRateLimit> t;
  using L = EdgeRateLimit;
  t.text("name", &L::name, kNameRule, "For logs and metrics.").required();
  t.text("path", &L::path, kPathRule, "Beginning of the paths that count.");
  t.text("key", &L::key, kRateKeyRule,
         "Whose requests are counted together: address, network (the /24 of an IPv4, the /64 of an "
         "IPv6 address) or header:NAME, a field such as an API key; requests without it count by "
         "address.");
  t.integer("requests", &L::requests, {1, 1'000'000'000}, "So many in each `per`.").required();
  t.duration("per", &L::per, {1ms, 24h}, "See requests.");
  t.integer("burst", &L::burst, {0, 1'000'000}, "So many at once after silence; 0: as `requests`.");
  t.choice(
      "action", &L::action,
      std::vector<std::pair<std::string, RateAction>>{{"count", RateAction::kCount},
                                                      {"throttle", RateAction::kThrottle},
                                                      {"block", RateAction::kBlock},
                                                      {"ban", RateAction::kBan},
                                                      {"challenge", RateAction::kChallenge}},
      "count: what is too much passes, and metrics and log tell it. throttle: it gets 429 with "
      "Retry-After. block: who asks too much gets 403 for all that counts, for block_for. ban: "
      "429, and who goes on all the same gets 403 for everything, for ban_for. challenge: who "
      "has no pass gets the page of firewall.challenge.");
  t.duration("block_for", &L::block_for, {1s, 24h}, "See action.");
  t.integer("ban_after", &L::ban_after, {0, 1'000'000},
            "So many refused requests in each `per` are borne before the ban; 0: none.");
  t.duration("ban_for", &L::ban_for, {1s, 720h}, "See action.");
  return t;
}

const TextRule kRuleIdRule{"rule id", "write the number of a rule, for example 942100",
                           "^[0-9]{1,9}$", [](std::string_view t) {
                             return !t.empty() && t.size() <= 9 &&
                                    std::all_of(t.begin(), t.end(),
                                                [](char c) { return c >= '0' && c <= '9'; });
                           }};
const TextRule kCoreRulesRule{"directory", "write a path, or \"\" for none", "^.*$",
                              [](std::string_view) { return true; }};
const TextRule kMethodRule{"method", "write a method in capital letters, for example GET",
                           "^[A-Z]{1,32}$", [](std::string_view t) {
                             return !t.empty() && t.size() <= 32 &&
                                    std::all_of(t.begin(), t.end(), letter);
                           }};

const std::vector<std::pair<std::string, WafAction>> kGroupActions = {
    {"block", WafAction::kBlock}, {"count", WafAction::kCount}, {"off", WafAction::kOff}};
const std::vector<std::pair<std::string, WafAction>> kRuleActions = {
    {"block", WafAction::kBlock},
    {"challenge", WafAction::kChallenge},
    {"count", WafAction::kCount},
    {"allow", WafAction::kAllow}};

Table<WafPolicy> groups_table() {
  constexpr std::array<const char*, kWafGroups.size()> kAbout = {
      "Scanners and crawlers that announce themselves.",
      "Requests against the protocol: smuggling, splitting, bad encodings, methods.",
      "Local file inclusion: paths that leave their directory.",
      "Remote file inclusion.",
      "Remote execution of commands.",
      "Injection of PHP.",
      "Injection into Node.js.",
      "Cross-site scripting.",
      "SQL injection.",
      "Session fixation.",
      "Injection into Java: OGNL, Log4j, deserialization."};
  Table<WafPolicy> t;
  for (std::size_t i = 0; i < kWafGroups.size(); ++i)
    t.choice(
        std::string(kWafGroups[i]), [i](WafPolicy & p) -> auto& { return p.groups[i]; },
        kGroupActions, kAbout[i]);
  return t;
}

Table<WafExclusion> exclusion_table() {
  Table<WafExclusion> t;
  using E = WafExclusion;
  t.text("path", &E::path, kPathRule, "Beginning of the paths where it holds.");
  t.texts("rules", &E::rules, kRuleIdRule, "Rules that are meant, by id.");
  t.texts("groups", &E::groups, kAnyText, "Groups that are meant. Without rules and groups: all.");
  t.texts("values", &E::values, kAnyText,
          "What they do not look at: arg(\"NAME\"), header(\"NAME\"), cookie(\"NAME\"), args, "
          "headers, cookies … Without it they are off there.");
  return t;
}

Table<WafCustomRule> custom_rule_table() {
  Table<WafCustomRule> t;
  using R = WafCustomRule;
  t.text("name", &R::name, kNameRule, "For logs and metrics.").required();
  t.text("when", &R::when, kAnyText,
         "The condition, such as path starts_with \"/admin\" and not address in "
         "[\"10.0.0.0/8\"]. See docs/guide/firewall.md.")
      .required();
  t.choice("action", &R::action, kRuleActions,
           "block; challenge: who has no pass gets the page of firewall.challenge; count: log it; "
           "allow: pass without another look.");
  t.integer("status", &R::status, {400, 599}, "Of the answer to what is blocked.");
  return t;
}

Table<WafPolicy> policy_table() {
  Table<WafPolicy> t;
  using P = WafPolicy;
  t.text("core_rules", &P::core_rules, kCoreRulesRule,
         "Directory of OWASP's Core Rule Set, which has `rules/` in it. Empty: only own rules.");
  t.integer("sensitivity", &P::sensitivity, {1, 4},
            "Paranoia level: 1 finds what is certainly an attack, 4 doubts nearly everything.");
  t.integer("threshold", &P::threshold, {1, 1000},
            "Anomaly score from which a request is refused; one critical match counts 5.");
  t.section(
      "groups", [](P & p) -> auto& { return p; }, groups_table(),
      "Kinds of attacks, each block, count (what would be refused is only told) or off.");
  t.texts("methods", &P::methods, kMethodRule, "Methods that the group protocol lets pass.");
  add_list(t, "exclusions", &P::exclusions, exclusion_table(),
           "Where rules are off, or do not look at something.");
  add_list(t, "rules", &P::rules, custom_rule_table(),
           "Rules of one's own, judged in this order before all others.");
  return t;
}

Table<EdgeChallenge> challenge_table() {
  Table<EdgeChallenge> t;
  using C = EdgeChallenge;
  t.secret("secret", &C::secret,
           "Signs the passes: at least 16 bytes, the same at every site, so that a failover asks "
           "nobody again. Without it nobody can be challenged.");
  t.secret("former_secret", &C::former_secret,
           "Passes that were signed with it are still good: for a change of the secret.");
  t.duration("pass_for", &C::pass_for, {1min, 720h}, "How long a pass is good.");
  t.integer(
      "bits", &C::bits, {0, 24},
      "How much a client has to work for a pass: 2^bits hashes on average. 17: some tenths of a "
      "second to some seconds.");
  return t;
}

Table<EdgeCrawlers> crawlers_table() {
  Table<EdgeCrawlers> t;
  using C = EdgeCrawlers;
  t.boolean("verify", &C::verify,
            "Who says to be Google's, Bing's, Apple's or Yandex's crawler is looked up by DNS, "
            "beside the requests; rules ask for `crawler`.");
  t.endpoint("resolver", &C::resolver, kEndpointRule,
             "Name server that is asked, with its port; it must resolve for others (recursion). "
             "Without it those of /etc/resolv.conf.");
  t.duration("timeout", &C::timeout, {1s, 30s},
             "For an answer, rounded up to whole seconds; a second try has as much.");
  return t;
}

void add_waf(Table<EdgeFirewall>& t) {
  auto of = [](auto member) {
    return [member](EdgeFirewall & f) -> auto& { return f.waf.*member; };
  };
  using W = EdgeWaf;
  t.text("rules_file", of(&W::rules_file), kAnyText,
         "Rules in SecLang, such as OWASP's CRS. Every request to an origin is inspected by them. "
         "Give this or policy; without both none is. SIGHUP reads them again.");
  Setting policy = Table<EdgeFirewall>::setting(
      Setting::Kind::kSection, "policy",
      "Instead of rules_file: groups of the Core Rule Set, exclusions and own rules.");
  policy.settings = policy_table().settings();
  t.add(policy, [table = policy_table()](Reader& r, const Place& place, EdgeFirewall& f) {
    table.read(r, place, f.waf.policy.emplace());
  });
  t.choice("mode", of(&W::mode),
           std::vector<std::pair<std::string, WafMode>>{{"detect", WafMode::kDetect},
                                                        {"block", WafMode::kBlock}},
           "block: what the rules refuse is refused. detect: it is logged and counted, and passes. "
           "Overrules SecRuleEngine of the rules.");
  t.choice(
      "on_failure", of(&W::on_failure),
      std::vector<std::pair<std::string, WafFailure>>{{"fail_open", WafFailure::kFailOpen},
                                                      {"fail_closed", WafFailure::kFailClosed}},
      "A request that cannot be inspected (full queue, time-out, error of the engine) passes, or "
      "gets 503. In mode detect it passes.");
  t.boolean(
      "before_cache", of(&W::before_cache),
      "Requests that the cache answers are inspected too; without it, what goes to an origin.");
  t.integer("body_bytes_max", of(&W::body_bytes_max), {1024, 64 * kMiB},
            "Of a request's body, held back and inspected before an origin is asked. Overrules "
            "SecRequestBodyLimit.");
  t.choice(
      "body_limit_action", of(&W::body_limit_action),
      std::vector<std::pair<std::string, WafBodyLimit>>{
          {"reject", WafBodyLimit::kReject}, {"process_partial", WafBodyLimit::kProcessPartial}},
      "A body above body_bytes_max gets 413, or its beginning is inspected and the rest passes "
      "unseen. In mode detect the latter. Overrules SecRequestBodyLimitAction. "
      "Likewise one with a Content-Encoding that cannot be unpacked: it is refused, or inspected "
      "as "
      "far as it can be.");
  t.duration("inspection_timeout", of(&W::timeout), {10ms, 1min},
             "For a verdict once the request is there, waiting included.");
  t.integer("workers", of(&W::workers), {0, 256},
            "Threads that inspect, at least 2; 0: one a core. Half of them take no large bodies.");
  t.integer("queue_max", of(&W::queue_max), {1, 1'000'000},
            "Requests that wait for a thread, small and large ones each; clients of one network "
            "(/24, /64) never have more of these places than they leave free. Above: not "
            "inspected, see on_failure.");
  t.integer("held_bytes_max", of(&W::held_bytes_max), {64 * 1024, 16384 * kMiB},
            "Bytes of bodies held back until their requests were inspected, over all requests; "
            "clients of one network never have more of them than they leave free. At least twice "
            "body_bytes_max.");
  t.boolean("responses", of(&W::responses),
            "Rules see what origins answer, too (phases 3 and 4; of a policy, CRS's groups against "
            "leaks). A response is held back meanwhile.");
  t.integer("response_bytes_max", of(&W::response_bytes_max), {1024, 16 * kMiB},
            "Of a response's body, held back and inspected; what is behind it passes unseen.");
  t.duration("response_hold", of(&W::response_hold), {10ms, 1min},
             "A response that takes longer to come is inspected as far as it is here, and the rest "
             "passes unseen.");
  t.choice(
      "audit_log", of(&W::audit_log),
      std::vector<std::pair<std::string, WafAudit>>{{"rules", WafAudit::kRules},
                                                    {"none", WafAudit::kNone},
                                                    {"relevant", WafAudit::kRelevant},
                                                    {"all", WafAudit::kAll}},
      "Which inspected requests audit.log in the role's state directory has: relevant: those of "
      "which rules told something; rules: as SecAuditEngine and SecAuditLogRelevantStatus of "
      "rules_file say, with a policy none.");
  t.integer("audit_bytes_max", of(&W::audit_bytes_max), {64 * 1024, 16384 * kMiB},
            "Then audit.log becomes audit.log.1, and so on. Needs a restart.");
  t.integer("audit_files", of(&W::audit_files), {1, 100},
            "Older files that are kept. Needs a restart.");
  t.integer("audit_body_bytes_max", of(&W::audit_body_bytes_max), {0, 64 * 1024},
            "So much of a request's body is in its entry of the audit log, with secrets masked; 0: "
            "nothing. With audit_log: rules, only where SecAuditLogParts has C or I.");
  t.texts(
      "mask", of(&W::mask), kAnyText,
      "Parts of the names of arguments, fields and cookies whose values are written into no log, "
      "beside pass, secret, token, session and the like.");
  t.section("crawlers", of(&W::crawlers), crawlers_table(),
            "Verification of search engines' crawlers.");
}

}  // namespace

Table<EdgeFirewall> edge_firewall_table() {
  Table<EdgeFirewall> t;
  using F = EdgeFirewall;
  t.text("allow_file", &F::allow_file, kAnyText,
         "Addresses and networks, one a line, that are never refused. The files are read again "
         "when they change: replace them by a rename.");
  t.text("block_file", &F::block_file, kAnyText,
         "Addresses and networks, one a line, that get 403.");
  t.text("country_file", &F::country_file, kAnyText,
         "Networks with their countries as CSV: NETWORK,COUNTRY or FIRST,LAST,COUNTRY.");
  t.texts("block_countries", &F::block_countries, kCountryRule,
          "Countries of country_file whose addresses get 403.");
  add_list(t, "rate_limits", &F::rate_limits, rate_limit_table(),
           "How often a client may ask; each limit counts for itself.");
  t.integer("keys_max", &F::keys_max, {1024, 1 << 26},
            "Clients remembered over all limits, 17 bytes each.");
  t.integer("bans_max", &F::bans_max, {1024, 1 << 24},
            "Clients banned at a time, 48 bytes each; another size lifts all bans at a reload.");
  t.section("challenge", &F::challenge, challenge_table(),
            "A page that a browser answers with some work; who has, gets a cookie as a pass.");
  add_waf(t);
  return t;
}

}  // namespace leeward::config
