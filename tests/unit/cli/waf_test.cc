// waf test and waf tune, as whole command lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/internal/commands.h"
#include "cli/internal/request_text.h"

namespace leeward::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Done {
  int status = 0;
  std::string out, err;
};
Done run(std::vector<std::string> args, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out, err;
  Io io{in, out, err};
  Done done;
  done.status = run_with(std::move(args), Roles{}, io);
  done.out = out.str();
  done.err = err.str();
  return done;
}

class WafCommands : public ::testing::Test {
 protected:
  WafCommands() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeward-waf-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    std::ofstream(directory_ + "/rules.conf")
        << "SecRuleEngine On\nSecRequestBodyAccess On\n"
           "SecRule ARGS \"@rx evil\" \"id:7,phase:2,deny,status:451,msg:'evil',tag:'t'\"\n";
  }
  ~WafCommands() override { std::filesystem::remove_all(directory_); }
  Done test(const std::string& request, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"waf", "test", "-", "--rules", directory_ + "/rules.conf"};
    args.insert(args.end(), more.begin(), more.end());
    return run(args, request);
  }
  std::string directory_;
};

TEST_F(WafCommands, ExplainWhatMatchedAndTheVerdict) {
  Done refused = test(
      "POST /x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\na=1&b=evil%20b");
  EXPECT_EQ(refused.status, 5);
  EXPECT_THAT(refused.out, HasSubstr("7  phase 2  evil"));
  EXPECT_THAT(refused.out, HasSubstr("ARGS:b = evil b"));
  EXPECT_THAT(refused.out, HasSubstr("refused: 451 by rule 7"));
  Done passes = test("GET /?a=good\nHost: x\n");
  EXPECT_EQ(passes.status, 0);
  EXPECT_EQ(passes.out, "GET /?a=good\npasses\n");
  Done json = test("GET /?a=evil HTTP/2\n\n", {"-o", "json"});
  EXPECT_EQ(json.status, 5);
  EXPECT_THAT(json.out, HasSubstr("\"status\": 451"));
}

TEST_F(WafCommands, MistakesAreNamedWithTheirLine) {
  EXPECT_THAT(test("GET\n").err, HasSubstr("standard input:1: write METHOD TARGET here"));
  EXPECT_THAT(test("GET /\nHost: x\nnonsense\n").err, HasSubstr("standard input:3: a field is"));
  std::ofstream(directory_ + "/rules.conf") << "SecRul A\nSecRule ARGS \"@rx (\" \"id:1\"\n";
  Done wrong = test("GET /\n");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("rules.conf:1:1: "));
  EXPECT_THAT(wrong.err, HasSubstr("\n" + directory_ + "/rules.conf:2:"));
}

TEST(WafTune, ProposesWhatManyClientsSetOff) {
  std::string log;
  auto line = [&log](const char* client, const char* url, const char* matched) {
    log += std::string(R"({"time":"t","component":"waf","message":"a request was refused",)") +
           R"("matched":")" + matched + R"(","client":")" + client + R"(","url":")" + url + "\"}\n";
  };
  for (const char* client : {"192.0.2.1", "192.0.2.2", "192.0.2.3"})
    line(client, "shop.test/notes/1?x=1", "942100 ARGS:text, 949110 TX:anomaly_score");
  for (int i = 0; i < 9; ++i)
    line("203.0.113.9", "shop.test/login", "942100 ARGS:user, 920350 REQUEST_HEADERS:Host");
  log += "no JSON\n{\"other\":1}\n";
  Done done = run({"waf", "tune", "-"}, log);
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.out,
            "# 3 requests of 3 clients, such as shop.test/notes/1?x=1\n"
            "- { path: '/notes', rules: ['942100'], values: ['arg(\"text\")'] }\n");
  EXPECT_THAT(done.err, HasSubstr("12 lines told of matches; 3 places, 1 of them"));
  done = run({"waf", "tune", "-", "--clients", "1", "-o", "json"}, log);
  EXPECT_THAT(done.out, HasSubstr("\"header(\\\"Host\\\")\""));
  EXPECT_THAT(done.out, Not(HasSubstr("949110")));
}

}  // namespace
}  // namespace leeward::cli
