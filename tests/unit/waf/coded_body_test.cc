// Request bodies with Content-Encoding under rules.
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/check.h"
#include "waf/transaction.h"

namespace leeward::waf {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBodyMax = 4u << 20;
constexpr std::string_view kRules =
    "SecRule ARGS \"@rx ^evil$\" \"id:1,phase:2,deny,status:403\"\n"
    "SecRule REQUEST_BODY \"@rx =evil\" \"id:2,phase:2,pass\"\n";

std::string gzip(std::string_view text) {
  z_stream stream{};
  LEEWARD_CHECK(deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY) ==
                Z_OK);
  std::string packed(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  LEEWARD_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

class Firewall {
 public:
  explicit Firewall(CodedBody coded, std::size_t body_max = kBodyMax) {
    auto rules = RuleSet::parse(kRules, "r.conf",
                                {.files = false,
                                 .cache_file = {},
                                 .overrule = {.in_force = true, .request_body_bytes_max = body_max},
                                 .coded_body = coded});
    LEEWARD_CHECK(rules);
    workspace_.emplace(*rules);
  }

  // The status that it is refused with; 0: it passes.
  int ask(std::string_view body, std::vector<std::string_view> codings) {
    std::vector<HeaderField> fields = {{"Content-Type", "application/x-www-form-urlencoded"}};
    for (const std::string_view coding : codings) fields.push_back({"content-encoding", coding});
    RequestHead head;
    head.client_address = "192.0.2.7";
    head.method = "POST";
    head.target = "/";
    head.protocol = "1.1";
    head.fields = fields;
    Transaction transaction(*workspace_, collections_,
                            {.now = std::chrono::steady_clock::time_point(1h),
                             .wall = std::chrono::system_clock::time_point(0s)});
    const bool refused = transaction.request_headers(head) || transaction.request_body(body);
    why = transaction.intervention().why;
    return refused ? transaction.intervention().status : 0;
  }
  std::string why;

 private:
  std::optional<Workspace> workspace_;
  Collections collections_{3600s};
};

TEST(CodedBody, IsInspectedUnpacked) {
  Firewall firewall(CodedBody::kRefused);
  EXPECT_EQ(firewall.ask(gzip("q=evil"), {"gzip"}), 403);
  EXPECT_EQ(firewall.ask(gzip("q=evil"), {" X-GZip "}), 403);
  EXPECT_EQ(firewall.ask(gzip("q=good"), {"gzip"}), 0);
  EXPECT_EQ(firewall.ask("q=evil", {"identity"}), 403);
  EXPECT_EQ(firewall.ask("", {"gzip"}), 0);
  Firewall as_sent(CodedBody::kAsSent);
  EXPECT_EQ(as_sent.ask(gzip("q=evil"), {"gzip"}), 0);
}

TEST(CodedBody, ThatCannotBeUnpackedIsRefusedWithItsReason) {
  Firewall firewall(CodedBody::kRefused);
  EXPECT_EQ(firewall.ask("q=evil", {"compress"}), 415);
  EXPECT_NE(firewall.why.find("not known: compress"), std::string::npos) << firewall.why;
  EXPECT_EQ(firewall.ask(gzip(gzip("q=evil")), {"gzip", "gzip"}), 415);
  EXPECT_EQ(firewall.ask("q=evil", {"gzip"}), 400);
  EXPECT_NE(firewall.why.find("corrupt"), std::string::npos) << firewall.why;
  const std::string cut = gzip("q=evil").substr(0, 12);
  EXPECT_EQ(firewall.ask(cut, {"gzip"}), 400);
}

TEST(CodedBody, ThatIsABombIsRefused) {
  Firewall firewall(CodedBody::kRefused);
  EXPECT_EQ(firewall.ask(gzip("q=" + std::string(3u << 20, 'x')), {"gzip"}), 413);
  EXPECT_NE(firewall.why.find("100 times"), std::string::npos) << firewall.why;
  Firewall small(CodedBody::kRefused, 1000);
  EXPECT_EQ(small.ask(gzip("q=" + std::string(2000, 'x')), {"gzip"}), 413);
  EXPECT_NE(small.why.find("1000 bytes"), std::string::npos) << small.why;
}

TEST(CodedBody, MayBeInspectedAsFarAsItUnpacks) {
  Firewall firewall(CodedBody::kPartly, 1000);
  EXPECT_EQ(firewall.ask(gzip("q=evil&r=" + std::string(2000, 'x')), {"gzip"}), 403);
  EXPECT_EQ(firewall.ask(gzip("r=" + std::string(2000, 'x') + "&q=evil"), {"gzip"}), 0);
  EXPECT_EQ(firewall.ask("q=evil", {"compress"}), 403);
}

}  // namespace
}  // namespace leeward::waf
