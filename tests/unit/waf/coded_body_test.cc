// Request bodies with Content-Encoding under rules.
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/check.h"
#include "packed.h"
#include "waf/transaction.h"

namespace leeward::waf {
namespace {

using namespace std::chrono_literals;
using namespace std::string_view_literals;

constexpr std::size_t kBodyMax = 4u << 20;
constexpr std::string_view kForm = "application/x-www-form-urlencoded";
constexpr std::string_view kParts = "multipart/form-data; boundary=b";
constexpr std::string_view kRules = R"(
SecRule REQUEST_HEADERS:Content-Type "@contains json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule ARGS "@rx ^evil$" "id:2,phase:2,deny,status:403"
SecRule REQUEST_BODY "@rx =evil" "id:3,phase:2,pass"
SecRule ARGS:q "@streq attack" "id:4,phase:2,deny,status:406"
SecRule &ARGS "@gt 3" "id:5,phase:2,deny,status:409"
)";

std::string gzip(std::string_view text) { return zlib_packed(text, MAX_WBITS + 16); }

// A member of gzip, made of its parts (RFC 1952 §2.3).
enum Flags : char { kNothing = 0, kExtra = 4, kName = 8, kComment = 16 };
std::string member(Flags flags, std::string_view beside, std::string_view blocks,
                   std::string_view text) {
  std::string out = "\x1f\x8b\x08";
  out += static_cast<char>(flags);
  out.append("\0\0\0\0\0\x03"sv).append(beside).append(blocks);
  const uLong check =
      crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size()));
  for (const uLong number : {check, static_cast<uLong>(text.size())})
    for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(number >> shift & 0xff);
  return out;
}

// A block of deflate that is not packed (RFC 1951 §3.2.4): its length and the complement of that
// stand in front of its text.
std::string stored(std::string_view text, bool last) {
  std::string block(1, last ? '\1' : '\0');
  for (const std::size_t number : {text.size(), ~text.size()})
    for (int shift = 0; shift < 16; shift += 8) block += static_cast<char>(number >> shift & 0xff);
  return block.append(text);
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
  int ask(std::string_view body, std::vector<std::string_view> codings,
          std::string_view type = kForm) {
    std::vector<HeaderField> fields = {{"Content-Type", type}};
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
  EXPECT_EQ(firewall.ask(gzip(gzip("q=evil")), {"gzip", "br"}), 415);
  EXPECT_NE(firewall.why.find("not known: gzip, br"), std::string::npos) << "a list, in its order";
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

TEST(CodedBody, ThatWasNeverPackedIsInspectedAsItCame) {
  Firewall firewall(CodedBody::kPartly);
  for (const char* coding : {"gzip", "deflate", "br", "zstd"}) {
    EXPECT_EQ(firewall.ask("q=attack", {coding}), 406) << coding;
    EXPECT_EQ(firewall.ask("q=good", {coding}), 0) << coding;
  }
  const std::string packed = gzip("q=attack");
  EXPECT_EQ(firewall.ask(packed.substr(0, packed.size() - 3), {"gzip"}), 406)
      << "and what came out of it";
}

TEST(CodedBody, HasNothingBesideTheData) {
  Firewall firewall(CodedBody::kRefused), partly(CodedBody::kPartly);
  const auto packed = [](Flags flags, std::string_view beside) {
    return member(flags, beside, stored("a=1", true), "a=1");
  };
  EXPECT_EQ(firewall.ask(packed(kNothing, ""), {"gzip"}), 0);
  EXPECT_EQ(firewall.ask(packed(kName, "\xeb\xb3\xb4 (1)_a-b.json\0"sv), {"gzip"}), 0)
      << "as the program gzip writes it";
  for (const std::string& text :
       {packed(kComment, "&q=attack&\0"sv), packed(kName, "&q=attack&\0"sv),
        packed(kExtra, "\x0a\0&q=attack&"sv)}) {
    EXPECT_EQ(firewall.ask(text, {"gzip"}), 400);
    EXPECT_NE(firewall.why.find("beside"), std::string::npos) << firewall.why;
    EXPECT_EQ(partly.ask(text, {"gzip"}), 406);
  }
}

// Most applications leave Content-Encoding alone. Between two blocks stands a length that the
// sender chooses: here it ends with "&", which parts the form for who does not unpack it.
TEST(CodedBody, IsAlsoReadAsItCame) {
  std::string second = "q=attack&";
  second.resize(0xd941, 'x');
  const std::string text = "a=" + second;
  const std::string packed = member(kNothing, "", stored("a=", false) + stored(second, true), text);
  ASSERT_NE(packed.find("&q=attack&"), std::string::npos);
  for (const CodedBody coded : {CodedBody::kRefused, CodedBody::kPartly}) {
    Firewall firewall(coded);
    EXPECT_EQ(firewall.ask(packed, {"gzip"}), 406);
    EXPECT_EQ(firewall.ask(text, {}), 0) << "who unpacks it sees no attack";
  }
}

// The same with a line end in front of a boundary.
TEST(CodedBody, IsAlsoReadAsThePartsThatItHasAsItCame) {
  const std::string_view head = "--b\r\nContent-Disposition: form-data; name=\"q\"\r\n";
  const std::string first = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx";
  Firewall firewall(CodedBody::kRefused);
  const auto ask = [&](std::string_view rest) {
    std::string second = std::string(head).append(rest);
    second.resize(0xf5f2, 'x');
    EXPECT_EQ(firewall.ask(first + second, {}, kParts), 0) << "who unpacks it sees no attack";
    const std::string blocks = stored(first, false) + stored(second, true);
    return firewall.ask(member(kNothing, "", blocks, first + second), {"gzip"}, kParts);
  };
  EXPECT_EQ(ask("\r\nattack\r\n--b--\r\n"), 406);
  EXPECT_EQ(ask("no header\r\n\r\nattack\r\n--b--\r\n"), 400);
  EXPECT_NE(firewall.why.find("parts that cannot be read"), std::string::npos) << firewall.why;
}

TEST(CodedBody, AsItCameIsNoArgumentByItself) {
  Firewall firewall(CodedBody::kRefused);
  EXPECT_EQ(firewall.ask(gzip("q=good&r=fine&s=well"), {"gzip"}), 0);
  EXPECT_EQ(firewall.ask(gzip(R"({"q": "good", "r": [1, 2]})"), {"gzip"}, "application/json"), 0);
  EXPECT_EQ(firewall.ask(gzip(R"({"q": "evil"})"), {"gzip"}, "application/json"), 403);
  const std::string parts =
      "--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\ngood\r\n--b--\r\n";
  EXPECT_EQ(firewall.ask(gzip(parts), {"gzip"}, kParts), 0);
}

}  // namespace
}  // namespace leeward::waf
