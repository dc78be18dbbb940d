// libmodsecurity behind the firewall's seam: it says what our engine says.
#include "edge/modsecurity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "edge/seclang_engine.h"

namespace leeward::edge {
namespace {

constexpr const char* kRules = R"(
SecRule REQUEST_HEADERS:X-Quiet "@streq yes" "id:20,phase:1,deny,status:406,nolog"
SecRule ARGS:to "@streq away" "id:30,phase:2,redirect:https://shop.test/away,log,msg:'moved'"
SecRule ARGS:note "@streq odd" "id:40,phase:2,pass,log,msg:'odd'"
SecRule ARGS "@detectSQLi" "id:942100,phase:2,deny,status:403,log,msg:'SQL injection'"
)";

TEST(ModSecurity, SaysWhatOurEngineSays) {
  char name[] = "/tmp/leeward-modsecurity-XXXXXX";
  const int file = mkstemp(name);
  ASSERT_GE(file, 0);
  close(file);
  std::ofstream(name) << kRules;
  EdgeWaf settings;
  settings.rules_file = name;
  auto theirs = ModSecurityEngine::load(settings);
  auto ours = SecLangEngine::load(settings);
  ASSERT_TRUE(theirs) << theirs.error().message;
  ASSERT_TRUE(ours) << ours.error().message;
  EXPECT_EQ((*theirs)->rules(), 4u);
  EXPECT_EQ((*ours)->rules(), 4u);
  for (const char* target : {"/", "/?note=odd", "/?to=away", "/?id=1%27%20or%20%271%27=%271"})
    for (const char* quiet : {"no", "yes"}) {
      InspectedRequest request;
      request.method = "GET";
      request.target = target;
      request.protocol = "1.1";
      request.host = "shop.test";
      request.fields = {{"Host", "shop.test"}, {"X-Quiet", quiet}};
      const WafVerdict a = (*theirs)->inspect(request), b = (*ours)->inspect(request);
      EXPECT_EQ(a.kind, b.kind) << target << quiet;
      EXPECT_EQ(a.status, b.status) << target << quiet;
      EXPECT_EQ(a.location, b.location);
      EXPECT_EQ(a.decisive.rule, b.decisive.rule);
      EXPECT_EQ(a.matches.size(), b.matches.size());
    }
  unlink(name);
}

}  // namespace
}  // namespace leeward::edge
