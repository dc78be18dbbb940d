#include "waf/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "model/waf_expression.h"

namespace leeward::waf {
namespace {

struct GroupFiles {
  std::string_view tag;                   // that CRS gives the group's rules
  std::vector<std::string_view> numbers;  // REQUEST-<number>-*.conf
};
// In the order of WafGroup.
const std::array<GroupFiles, kWafGroups.size()>& group_files() {
  static const std::array<GroupFiles, kWafGroups.size()> files = {{
      {"attack-reputation-scanner", {"913"}},
      {"attack-protocol", {"911", "920", "921", "922"}},
      {"attack-lfi", {"930"}},
      {"attack-rfi", {"931"}},
      {"attack-rce", {"932"}},
      {"attack-injection-php", {"933"}},
      {"language-javascript", {"934"}},
      {"attack-xss", {"941"}},
      {"attack-sqli", {"942"}},
      {"attack-fixation", {"943"}},
      {"language-java", {"944"}},
  }};
  return files;
}

// Scores of CRS 3.3 and 4, by level.
constexpr std::array<std::string_view, 2> kScores = {"anomaly_score_pl",
                                                     "inbound_anomaly_score_pl"};

// ---- texts inside of "…"

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("/._-=?&:;,@#+~").find(c) != std::string_view::npos;
}
// Neither quotes, backslashes nor macros, nothing that a parser could trim: it stands for itself.
bool is_plain(std::string_view text) {
  return !text.empty() && text.front() != '@' && text.front() != '!' &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_plain(c); });
}
// As part of a regular expression that matches exactly it.
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || c == '/' || c == '_' || c == '-')
      out += c;
    else
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string operator_of(WafTest test, const std::vector<std::string>& texts) {
  const std::string& text = texts.front();
  if (is_plain(text)) {
    switch (test) {
      case WafTest::kEquals:
        return "@streq " + text;
      case WafTest::kContains:
        return "@contains " + text;
      case WafTest::kStartsWith:
        return "@beginsWith " + text;
      case WafTest::kEndsWith:
        return "@endsWith " + text;
      default:
        break;
    }
  }
  switch (test) {
    case WafTest::kEquals:
      return "@rx \\A" + escaped(text) + "\\z";
    case WafTest::kContains:
      return "@rx " + escaped(text);
    case WafTest::kStartsWith:
      return "@rx \\A" + escaped(text);
    case WafTest::kEndsWith:
      return "@rx " + escaped(text) + "\\z";
    case WafTest::kIn: {
      std::string all;
      for (const std::string& t : texts) all.append(all.empty() ? "" : "|").append(escaped(t));
      return "@rx \\A(?:" + all + ")\\z";
    }
    default: {
      std::string pattern;
      for (char c : text) pattern += c == '"' ? std::string("\\x22") : std::string(1, c);
      return "@rx " + pattern;
    }
  }
}

// ---- values

struct Variable {
  std::string_view name;
  bool several;                // a collection
  std::string_view transform;  // before anything else
};
Variable variable_of(WafField field) {
  switch (field) {
    case WafField::kAddress:
      return {"REMOTE_ADDR", false, ""};
    case WafField::kCountry:
      return {"GEO:COUNTRY_CODE", false, ""};
    case WafField::kMethod:
      return {"REQUEST_METHOD", false, ""};
    case WafField::kHost:
      return {"REQUEST_HEADERS:Host", false, ",t:lowercase"};
    case WafField::kPath:
      return {"REQUEST_FILENAME", false, ",t:urlDecodeUni,t:normalizePath"};
    case WafField::kQuery:
      return {"QUERY_STRING", false, ""};
    case WafField::kTarget:
      return {"REQUEST_URI", false, ""};
    case WafField::kProtocol:
      return {"REQUEST_PROTOCOL", false, ""};
    case WafField::kHeaders:
      return {"REQUEST_HEADERS", true, ""};
    case WafField::kHeaderNames:
      return {"REQUEST_HEADERS_NAMES", true, ""};
    case WafField::kCookies:
      return {"REQUEST_COOKIES", true, ""};
    case WafField::kCookieNames:
      return {"REQUEST_COOKIES_NAMES", true, ""};
    case WafField::kArgs:
      return {"ARGS", true, ""};
    case WafField::kArgNames:
      return {"ARGS_NAMES", true, ""};
    case WafField::kBody:
      return {"REQUEST_BODY", false, ""};
    case WafField::kFiles:
      return {"FILES", true, ""};
    case WafField::kBot:
      return {"LEEWARD_BOT", true, ""};
    case WafField::kJa4:
      return {"LEEWARD_JA4", false, ""};
    case WafField::kCrawler:
      return {"LEEWARD_CRAWLER", false, ""};
  }
  return {"REQUEST_URI", false, ""};
}

std::string target_of(const WafValue& value) {
  std::string out(variable_of(value.field).name);
  if (value.name.empty()) return out;
  out += ':';
  const bool plain = std::all_of(value.name.begin(), value.name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  return plain ? out + value.name : out + "/^" + escaped(value.name) + "$/";
}

std::string_view order_of(WafTest test) {
  switch (test) {
    case WafTest::kLess:
      return "@lt";
    case WafTest::kLessOrEqual:
      return "@le";
    case WafTest::kGreater:
      return "@gt";
    case WafTest::kGreaterOrEqual:
      return "@ge";
    default:
      return "@eq";
  }
}

class Writer {
 public:
  std::string take() { return std::move(out_); }

  template <typename... Args>
  void line(fmt::format_string<Args...> text, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), text, std::forward<Args>(args)...);
    out_ += '\n';
  }
  std::uint32_t next_id() { return id_++; }

  void custom_rule(const WafCustomRule& rule, const WafExpression& when) {
    phase_ = when.needs_body() ? 2 : 1;
    const std::string root = expression(when);
    const bool challenge = rule.action == WafAction::kChallenge;
    const std::string_view action = challenge || rule.action == WafAction::kBlock ? "deny"
                                    : rule.action == WafAction::kAllow            ? "allow"
                                                                                  : "pass";
    line("# {}", rule.name);
    line(
        "SecRule TX:{} \"@eq 1\" \"id:{},phase:{},{},status:{},log,t:none,msg:'{}{}',"
        "tag:'leeward-custom',severity:'CRITICAL'{}\"",
        root, next_id(), phase_, action, rule.status, rule.name,
        rule.action == WafAction::kCount ? " (counts only)"
        : challenge                      ? " (challenge)"
                                         : "",
        challenge ? fmt::format(",tag:'{}',chain", kChallengeTag) : "");
    if (challenge) line("SecRule &TX:{} \"@eq 0\" \"t:none\"", kPassedFact);
  }

  void exclusion(const WafExclusion& e, const std::vector<WafValue>& values) {
    std::vector<std::string> whose;  // ids and tags as ctl names them
    for (const std::string& id : e.rules) whose.push_back("ById=" + id);
    for (const std::string& group : e.groups) {
      const auto at = std::find(kWafGroups.begin(), kWafGroups.end(), group) - kWafGroups.begin();
      whose.push_back("ByTag=" + std::string(group_files()[static_cast<std::size_t>(at)].tag));
    }
    if (whose.empty()) whose.push_back("ByTag=OWASP_CRS");
    for (const std::string& one : whose) {
      std::string actions;
      if (values.empty()) actions = ",ctl:ruleRemove" + one;
      for (const WafValue& v : values)
        actions += ",ctl:ruleRemoveTarget" + one + ";" + target_of(v);
      line(
          "SecRule REQUEST_FILENAME \"{}\" "
          "\"id:{},phase:1,pass,nolog,t:none,t:urlDecodeUni,t:normalizePath{}\"",
          operator_of(WafTest::kStartsWith, {e.path}), next_id(), actions);
    }
  }

  void group(const WafPolicy& policy, std::size_t index) {
    const WafAction action = policy.groups[index];
    if (action == WafAction::kOff) return;
    line("# {}{}", kWafGroups[index], action == WafAction::kCount ? " (counts only)" : "");
    if (action == WafAction::kCount) remember_scores(policy.sensitivity);
    for (std::string_view number : group_files()[index].numbers)
      line("Include {}/rules/REQUEST-{}-*.conf", policy.core_rules, number);
    if (action != WafAction::kCount) return;
    // What the group added, apart; then the score as it was before.
    for (const int phase : {1, 2}) {
      std::string actions;
      for (int level = 1; level <= policy.sensitivity; ++level)
        for (std::string_view score : kScores)
          actions += fmt::format(
              ",setvar:'tx.leeward_count_{0}=+%{{tx.{1}{2}}}',"
              "setvar:'tx.leeward_count_{0}=-%{{tx.leeward_before_{1}{2}}}',"
              "setvar:'tx.{1}{2}=%{{tx.leeward_before_{1}{2}}}'",
              kWafGroups[index], score, level);
      line("SecAction \"id:{},phase:{},pass,nolog,t:none{}\"", next_id(), phase, actions);
    }
    line(
        "SecRule TX:leeward_count_{} \"@ge {}\" \"id:{},phase:2,pass,log,t:none,"
        "msg:'would have been refused by {} (counts only), score %{{MATCHED_VAR}}',"
        "tag:'leeward-count'\"",
        kWafGroups[index], policy.threshold, next_id(), kWafGroups[index]);
  }

  // Leaks of source code, errors of databases and runtimes; then the outbound anomaly score.
  void response_rules(const WafPolicy& policy) {
    line("SecResponseBodyAccess On");
    line("SecResponseBodyMimeType text/plain text/html text/xml application/json application/xml");
    const auto blocks = [&policy](WafGroup group) {
      return policy.groups[static_cast<std::size_t>(group)] == WafAction::kBlock;
    };
    std::vector<std::string_view> numbers = {"950"};
    if (blocks(WafGroup::kSqli)) numbers.push_back("951");
    if (blocks(WafGroup::kJava)) numbers.push_back("952");
    if (blocks(WafGroup::kPhp)) numbers.push_back("953");
    numbers.push_back("954");
    numbers.push_back("959");
    for (std::string_view number : numbers)
      line("Include {}/rules/RESPONSE-{}-*.conf", policy.core_rules, number);
  }

 private:
  void remember_scores(int levels) {
    for (const int phase : {1, 2}) {
      std::string actions;
      for (int level = 1; level <= levels; ++level)
        for (std::string_view score : kScores)
          actions += fmt::format(",setvar:'tx.leeward_before_{0}{1}=%{{tx.{0}{1}}}'", score, level);
      line("SecAction \"id:{},phase:{},pass,nolog,t:none{}\"", next_id(), phase, actions);
    }
  }

  // Rules that set the variable whose name is returned to 1 where the expression holds.
  std::string expression(const WafExpression& e) {
    std::vector<std::string> parts;
    for (const WafExpression& part : e.parts) parts.push_back(expression(part));
    const std::string name = fmt::format("leeward_{}", variables_++);
    const std::string set = fmt::format("setvar:'tx.{}=1'", name);
    switch (e.kind) {
      case WafExpression::Kind::kTest:
        test(e, set);
        break;
      case WafExpression::Kind::kNot:
        line("SecRule &TX:{} \"@eq 0\" \"id:{},phase:{},pass,nolog,t:none,{}\"", parts[0],
             next_id(), phase_, set);
        break;
      case WafExpression::Kind::kAny: {
        std::string any;
        for (const std::string& part : parts) any.append(any.empty() ? "TX:" : "|TX:").append(part);
        line("SecRule {} \"@eq 1\" \"id:{},phase:{},pass,nolog,t:none,{}\"", any, next_id(), phase_,
             set);
        break;
      }
      case WafExpression::Kind::kAll:
        for (std::size_t i = 0; i < parts.size(); ++i) {
          const std::string first =
              i == 0 ? fmt::format("id:{},phase:{},pass,nolog,", next_id(), phase_) : "";
          line("SecRule TX:{} \"@eq 1\" \"{}t:none,{}\"", parts[i], first,
               i + 1 < parts.size() ? "chain" : set);
        }
        break;
    }
    return name;
  }

  void test(const WafExpression& e, const std::string& set) {
    const Variable variable = variable_of(e.value.field);
    const std::string target = target_of(e.value);
    std::string transforms = "t:none" + std::string(variable.transform);
    if (e.value.lower) transforms += ",t:lowercase";
    std::string counted, op;
    if (e.value.size && variable.several && e.value.name.empty()) {
      counted = "&";
      op = fmt::format("{} {}", order_of(e.test), e.number);
    } else if (e.value.size) {
      transforms += ",t:length";
      op = fmt::format("{} {}", order_of(e.test), e.number);
    } else if (e.test == WafTest::kPresent) {
      counted = variable.several ? "&" : "";
      op = variable.several ? "@gt 0" : "@rx .";
    } else if (e.value.field == WafField::kAddress && e.test == WafTest::kIn) {
      std::string networks;
      for (const std::string& t : e.texts) networks.append(networks.empty() ? "" : ",").append(t);
      op = "@ipMatch " + networks;
    } else {
      op = operator_of(e.test, e.texts);
    }
    line("SecRule {}{} \"{}\" \"id:{},phase:{},pass,nolog,{},{}\"", counted, target, op, next_id(),
         phase_, transforms, set);
  }

  std::string out_;
  std::uint32_t id_ = kPolicyIdFirst;
  int variables_ = 0;
  int phase_ = 1;
};

bool uses(const WafExpression& e, WafField field) {
  if (e.kind == WafExpression::Kind::kTest) return e.value.field == field;
  return std::any_of(e.parts.begin(), e.parts.end(),
                     [field](const WafExpression& part) { return uses(part, field); });
}

constexpr std::string_view kPrelude = R"(SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/(?:[a-z0-9.-]+\+)?json" "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400,msg:'The body cannot be read as what it says it is',severity:2"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:200003,phase:2,t:none,log,deny,status:400,msg:'The body is no well-formed multipart/form-data',severity:2"
)";

}  // namespace

Result<std::string> seclang_of(const WafPolicy& policy, bool responses) {
  Writer w;
  std::vector<WafExpression> conditions;
  for (const WafCustomRule& rule : policy.rules) {
    auto when = parse_waf_expression(rule.when);
    if (!when) return fail(Code::kInvalid, "rule '{}': {}", rule.name, when.error().message);
    conditions.push_back(std::move(*when));
  }
  auto any_uses = [&](WafField field) {
    return std::any_of(conditions.begin(), conditions.end(),
                       [field](const WafExpression& e) { return uses(e, field); });
  };
  w.line("{}", kPrelude);
  if (any_uses(WafField::kBody))
    w.line("SecAction \"id:{},phase:1,pass,nolog,t:none,ctl:forceRequestBodyVariable=On\"",
           w.next_id());
  if (any_uses(WafField::kCountry))
    w.line("SecRule REMOTE_ADDR \"@geoLookup\" \"id:{},phase:1,pass,nolog,t:none\"", w.next_id());
  for (std::size_t i = 0; i < policy.rules.size(); ++i)
    w.custom_rule(policy.rules[i], conditions[i]);
  for (const WafExclusion& e : policy.exclusions) {
    std::vector<WafValue> values;
    for (const std::string& text : e.values) {
      auto value = parse_waf_value(text);
      if (!value)
        return fail(Code::kInvalid, "exclusion of '{}': {}: {}", e.path, text,
                    value.error().message);
      values.push_back(std::move(*value));
    }
    w.exclusion(e, values);
  }
  if (policy.core_rules.empty()) return w.take();
  std::string methods;
  for (const std::string& m : policy.methods) methods.append(methods.empty() ? "" : " ").append(m);
  w.line("SecDefaultAction \"phase:1,log,auditlog,pass\"");
  w.line("SecDefaultAction \"phase:2,log,auditlog,pass\"");
  if (responses) {
    w.line("SecDefaultAction \"phase:3,log,auditlog,pass\"");
    w.line("SecDefaultAction \"phase:4,log,auditlog,pass\"");
  }
  w.line("SecCollectionTimeout 600");
  w.line(
      "SecAction \"id:{0},phase:1,pass,nolog,t:none,setvar:tx.crs_setup_version=334,"
      "setvar:tx.paranoia_level={1},setvar:tx.executing_paranoia_level={1},"
      "setvar:tx.blocking_paranoia_level={1},setvar:tx.detection_paranoia_level={1},"
      "setvar:tx.inbound_anomaly_score_threshold={2},setvar:'tx.allowed_methods={3}'\"",
      w.next_id(), policy.sensitivity, policy.threshold, methods);
  w.line("Include {}/rules/REQUEST-901-*.conf", policy.core_rules);
  w.line("Include {}/rules/REQUEST-905-*.conf", policy.core_rules);
  for (std::size_t i = 0; i < kWafGroups.size(); ++i) w.group(policy, i);
  w.line("Include {}/rules/REQUEST-949-*.conf", policy.core_rules);
  if (responses) w.response_rules(policy);
  return w.take();
}

}  // namespace leeward::waf
