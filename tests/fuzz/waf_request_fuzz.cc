// Requests under rules of every kind: with the prefilter and without it the engine says the same.
// The first line is the target, the second the Content-Type, the third a cookie, then the body.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "waf/transaction.h"

using namespace leeward::waf;

namespace {

constexpr std::string_view kRules = R"(
SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "@rx json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "@rx xml" "id:2,phase:1,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|XML:/* "@rx ^\s*(?:select|union)\b" "id:3,phase:2,pass,t:none,t:urlDecodeUni,t:lowercase,capture,setvar:tx.s=+5"
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|XML:/* "@rx (\w)\1{3}$" "id:4,phase:2,pass,t:none,t:urlDecodeUni"
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|XML:/* "@pm script alert |27|or" "id:5,phase:2,pass,t:none,t:htmlEntityDecode"
SecRule ARGS|ARGS_NAMES "@rx <[^>]*on\w+=" "id:6,phase:2,pass,t:none,t:utf8toUnicode,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,t:removeNulls"
SecRule ARGS|FILES|FILES_NAMES "@rx \.\.[/\\]" "id:7,phase:2,pass,t:none,t:normalizePathWin,multiMatch"
SecRule REQUEST_URI|REQUEST_BODY "@rx \W{4}" "id:8,phase:2,pass"
SecRule ARGS "@detectSQLi" "id:9,phase:2,pass,t:none,t:removeNulls"
SecRule ARGS "@detectXSS" "id:10,phase:2,pass,t:none,t:cmdLine"
SecRule ARGS|ARGS_NAMES "@rx a" "id:11,phase:2,pass,chain,setvar:'tx.c_%{MATCHED_VAR_NAME}=+1'"
  SecRule MATCHED_VARS "@rx b" "setvar:tx.s=+1"
SecRule TX:/^c_/ "@gt 1" "id:12,phase:2,pass"
SecRule ARGS "@validateByteRange 32-126" "id:13,phase:2,pass,t:none,t:compressWhitespace"
SecRule ARGS "!@rx ^[^\x00]*$" "id:14,phase:2,pass,t:none,t:replaceComments"
SecRule TX:s "@ge 5" "id:15,phase:2,deny,status:403"
)";

struct Runs {
  explicit Runs(bool prefilter) {
    auto rules = RuleSet::parse(kRules, "r.conf", {.files = false, .prefilter = prefilter});
    if (!rules) {
      std::fprintf(stderr, "%s\n", rules.error().message.c_str());
      std::abort();
    }
    workspace = std::make_unique<Workspace>(*rules);
  }
  std::string run(const RequestHead& head, std::string_view body) {
    Transaction transaction(*workspace, collections, {.now = {}, .wall = {}});
    if (!transaction.request_headers(head)) transaction.request_body(body);
    transaction.logging();
    std::string seen = std::to_string(transaction.intervention().status);
    for (const MatchedRule& rule : transaction.matches()) seen += " " + std::to_string(rule.id);
    seen.append(" ").append(transaction.tx("s"));
    // What was given up is a match, and the prefilter spares some of it.
    return transaction.limits() > 0 ? "" : seen;
  }
  std::unique_ptr<Workspace> workspace;
  Collections collections;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Runs filtered(true), plain(false);
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto line = [&] {
    const std::string_view found = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(found.size() + 1, rest.size()));
    return found;
  };
  RequestHead head;
  head.method = "POST";
  head.protocol = "1.1";
  head.client_address = "192.0.2.1";
  head.target = line();
  const std::string_view type = line(), cookie = line();
  const HeaderField fields[] = {{"Content-Type", type}, {"Cookie", cookie}};
  head.fields = fields;
  const std::string a = filtered.run(head, rest), b = plain.run(head, rest);
  if (a != b && !a.empty() && !b.empty()) {
    std::fprintf(stderr, "with the prefilter: %s\nwithout it: %s\n", a.c_str(), b.c_str());
    std::abort();
  }
  return 0;
}
