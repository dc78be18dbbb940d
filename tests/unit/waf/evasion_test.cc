// What the evasions are worth, measured with libmodsecurity and CRS 3.3.4 at paranoia 1: each
// attack is stopped as it is, each technique is one that it stops for some attack, and it lets the
// controls pass. So a firewall that lets one of the stopped ones pass has a hole.
#include "evasion.h"

#include <gtest/gtest.h>
#include <modsecurity/intervention.h>

#include <map>

#include "corpus.h"
#include "reference_request.h"

namespace leeward::waf {
namespace {

constexpr char kRules[] = R"(
SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 1000000
SecRequestBodyNoFilesLimit 1000000
SecRequestBodyJsonDepthLimit 512
SecRule REQUEST_HEADERS:Content-Type "(?:application(?:/soap\+|/)|text/)xml" "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/(?:[a-z0-9.-]+[+])?json" "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:200003,phase:2,t:none,log,deny,status:400"
Include /etc/modsecurity/crs/crs-setup.conf
Include /usr/share/modsecurity-crs/rules/*.conf
)";

bool stopped(reference::Engine& engine, const evasion::Request& request) {
  modsecurity::Transaction transaction(&engine.library_, &engine.rules_, nullptr);
  modsecurity::ModSecurityIntervention verdict;
  const auto intervened = [&] {
    modsecurity::intervention::clean(&verdict);
    const bool due = transaction.intervention(&verdict);
    modsecurity::intervention::free(&verdict);
    return due;
  };
  transaction.processConnection("198.51.100.7", 50000, "192.0.2.1", 443);
  transaction.processURI(request.target.c_str(), request.method.c_str(), "1.1");
  for (const auto& [name, value] : request.fields) transaction.addRequestHeader(name, value);
  transaction.processRequestHeaders();
  if (intervened()) return true;
  if (!request.body.empty())
    transaction.appendRequestBody(reinterpret_cast<const unsigned char*>(request.body.data()),
                                  request.body.size());
  transaction.processRequestBody();
  return intervened();
}

TEST(Evasion, IsWorthStopping) {
  reference::Engine engine(kRules);
  const std::vector<evasion::Request> requests = evasion::all();
  EXPECT_GT(requests.size(), 8'000u);
  struct Count {
    std::size_t tried = 0;
    std::size_t stopped = 0;
  };
  std::map<std::string, Count> of_technique;
  std::map<std::string, Count> of_attack;
  std::mt19937_64 random(20260601);
  for (const evasion::Request& request : requests) {
    const bool plain = request.technique == "plain" && request.place == "query";
    if (random() % requests.size() >= cases(800) && !plain) continue;
    const bool verdict = stopped(engine, request);
    if (request.attack == "benign") {
      if (plain) {
        EXPECT_FALSE(verdict) << request.name();
      }
      continue;
    }
    if (plain) {
      EXPECT_TRUE(verdict) << request.name() << ' ' << request.target;
    }
    for (Count* count : {&of_technique[request.technique], &of_attack[request.attack]}) {
      ++count->tried;
      count->stopped += verdict;
    }
  }
  for (const std::string& technique : evasion::techniques()) {
    const Count& count = of_technique[technique];
    // The rarest is stopped one time in twelve.
    if (count.tried >= 80) {
      EXPECT_GT(count.stopped, 0u) << technique << ", of " << count.tried;
    }
    std::printf("%-28s %4zu of %4zu stopped\n", technique.c_str(), count.stopped, count.tried);
  }
  for (const auto& [attack, count] : of_attack)
    EXPECT_GT(count.stopped * 3, count.tried)
        << attack << ": " << count.stopped << " of " << count.tried;
}

}  // namespace
}  // namespace leeward::waf
