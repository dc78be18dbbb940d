// None of the evasions passes the engine that libmodsecurity stops with the same rules, CRS 3.3.4
// at paranoia 1. And they are worth the name: each attack is stopped as it is, each technique is
// one that libmodsecurity sees through for some attack, and the controls pass.
#include "evasion.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <modsecurity/intervention.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>

#include "corpus.h"
#include "reference_request.h"
#include "waf/transaction.h"

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

// Of a multipart value libmodsecurity loses the line ends, and looks at text that the application
// does not get. What it stops for that reason only, it lets pass as the same value of a form.
bool only_joined_lines_are_stopped(reference::Engine& engine, const evasion::Request& request) {
  const std::size_t first = request.body.find("\r\n\r\n");
  const std::size_t last = request.body.find("\r\n--XyZ--");
  if (!request.body.starts_with("--XyZ") || first == std::string::npos || last == std::string::npos)
    return false;
  const std::string value = request.body.substr(first + 4, last - first - 4);
  if (value.find('\n') == std::string::npos) return false;
  evasion::Request form = request;
  form.body = "q=";
  for (const char c : value) form.body += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  for (auto& [name, text] : form.fields) {
    if (name == "Content-Type") text = "application/x-www-form-urlencoded";
    if (name == "Content-Length") text = std::to_string(form.body.size());
  }
  return !stopped(engine, form);
}

// Ours, under the same rules.
class Ours {
 public:
  Ours() {
    // Only rules from a file may include others.
    const std::string path = fmt::format("{}/evasion-{}.conf", testing::TempDir(), getpid());
    std::ofstream(path) << kRules;
    auto rules = RuleSet::load(path, {});
    std::filesystem::remove(path);
    if (!rules) throw std::runtime_error(rules.error().message);
    workspace_.emplace(*rules);
  }

  bool stopped(const evasion::Request& request) {
    Collections collections;
    Transaction transaction(*workspace_, collections,
                            {std::chrono::steady_clock::now(), std::chrono::system_clock::now()});
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : request.fields) fields.push_back({name, value});
    RequestHead head;
    head.client_address = "198.51.100.7";
    head.client_port = 50000;
    head.server_address = "192.0.2.1";
    head.server_port = 443;
    head.method = request.method;
    head.target = request.target;
    head.protocol = "1.1";
    head.fields = fields;
    head.unique_id = "evasion";
    return transaction.request_headers(head) || transaction.request_body(request.body);
  }

 private:
  std::optional<Workspace> workspace_;
};

TEST(Evasion, NonePassesThatTheReferenceStops) {
  reference::Engine engine(kRules);
  Ours ours;
  const std::vector<evasion::Request> requests = evasion::all();
  EXPECT_GT(requests.size(), 8'000u);
  struct Count {
    std::size_t tried = 0;
    std::size_t stopped = 0;
  };
  std::size_t only_ours = 0;
  std::map<std::string, Count> of_technique;
  std::map<std::string, Count> of_attack;
  std::mt19937_64 random(20260601);
  for (const evasion::Request& request : requests) {
    const bool plain = request.technique == "plain" && request.place == "query";
    if (random() % requests.size() >= cases(100) && !plain) continue;
    const bool verdict = stopped(engine, request);
    const bool our_verdict = ours.stopped(request);
    if (verdict && !our_verdict && only_joined_lines_are_stopped(engine, request)) continue;
    EXPECT_FALSE(verdict && !our_verdict)
        << request.name() << " passes: " << shown(request.target) << " | " << shown(request.body);
    only_ours += our_verdict && !verdict;
    if (request.attack == "benign") {
      if (plain) {
        EXPECT_FALSE(verdict || our_verdict) << request.name();
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
  std::printf("stopped by ours alone: %zu\n", only_ours);
  for (const auto& [attack, count] : of_attack) {
    if (count.tried >= 80) {
      EXPECT_GT(count.stopped * 3, count.tried)
          << attack << ": " << count.stopped << " of " << count.tried;
    }
  }
}

}  // namespace
}  // namespace leeward::waf
