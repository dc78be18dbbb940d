#include "edge/challenge.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

namespace leeward::edge {
namespace {

constexpr std::string_view kSecret = "a secret of enough bytes",
                           kOther = "another one as long as it";

WallTime at(Duration since) { return WallTime{} + 10000h + since; }

class Client {
 public:
  explicit Client(std::string address = "192.0.2.7", std::string agent = "Mozilla/5.0")
      : address_(std::move(address)), agent_(std::move(agent)) {}

  RequestView request(std::string_view target = "/", std::string_view cookie = {}) {
    fields_[0] = {"User-Agent", agent_};
    fields_[1] = {"Cookie", cookie};
    RequestView view;
    view.method = Method::kGet;
    view.scheme = "http";
    view.target = target;
    view.fields = {fields_, cookie.empty() ? 1u : 2u};
    view.client = *parse_client_address(address_);
    return view;
  }

 private:
  std::string address_, agent_;
  Field fields_[2];
};

std::string question_in(const std::string& page) {
  const std::string_view before = "const question = \"";
  const std::size_t begin = page.find(before) + before.size();
  return page.substr(begin, page.find('"', begin) - begin);
}

// The smallest number that works, as a browser finds it.
std::string work(const std::string& question, int bits) {
  for (int n = 0;; ++n) {
    const std::string text = fmt::format("{}.{}", question, n);
    unsigned char d[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), d);
    const std::uint32_t first =
        std::uint32_t{d[0]} << 24 | std::uint32_t{d[1]} << 16 | std::uint32_t{d[2]} << 8 | d[3];
    if (bits == 0 || first >> (32 - bits) == 0) return fmt::format("{}", n);
  }
}

std::string answer_target(const std::string& question, const std::string& proof) {
  return fmt::format("{}?question={}&proof={}", Challenge::kPath, question, proof);
}

// "Leeward-Pass=…" of a Set-Cookie field.
std::string cookie_of(const std::string& fields) {
  const std::size_t begin = fields.find(": ") + 2;
  return fields.substr(begin, fields.find(';') - begin);
}

std::string pass_for(const Challenge& challenge, Client client, WallTime now) {
  const std::string question = question_in(challenge.page(client.request(), now).body);
  const std::string target = answer_target(question, work(question, 8));
  const auto outcome = challenge.answer(client.request(target), now);
  EXPECT_TRUE(outcome.good()) << outcome.why;
  return cookie_of(outcome.fields);
}

Challenge challenge_of(std::vector<std::string_view> secrets) {
  return Challenge({.secrets = {secrets.begin(), secrets.end()}, .pass_for = 1h, .bits = 8});
}

TEST(Challenge, WhoWorksGetsAPassThatLastsItsTime) {
  const Challenge challenge = challenge_of({kSecret});
  Client client;
  EXPECT_FALSE(challenge.passed(client.request(), at(0s)));
  const std::string pass = pass_for(challenge, client, at(0s));
  EXPECT_TRUE(challenge.passed(client.request("/", pass), at(0s)));
  EXPECT_TRUE(challenge.passed(client.request("/", "a=b; " + pass + "; c=d"), at(59min)));
  EXPECT_FALSE(challenge.passed(client.request("/", pass), at(1h)));
}

TEST(Challenge, APassIsForItsNetworkAndItsBrowserOnly) {
  const Challenge challenge = challenge_of({kSecret});
  const std::string pass = pass_for(challenge, Client("192.0.2.7"), at(0s));
  EXPECT_TRUE(challenge.passed(Client("192.0.2.200").request("/", pass), at(0s))) << "same /24";
  EXPECT_FALSE(challenge.passed(Client("192.0.3.7").request("/", pass), at(0s)));
  EXPECT_FALSE(challenge.passed(Client("192.0.2.7", "curl/8").request("/", pass), at(0s)));
  std::string changed = pass;
  changed[std::string("Leeward-Pass=").size()] ^= 1;  // its time
  EXPECT_FALSE(challenge.passed(Client().request("/", changed), at(0s)));
}

TEST(Challenge, AnotherSiteWithTheSecretKnowsThePassAlsoWhileTheSecretChanges) {
  const std::string pass = pass_for(challenge_of({kSecret}), Client(), at(0s));
  EXPECT_TRUE(challenge_of({kSecret}).passed(Client().request("/", pass), at(1min)));
  EXPECT_TRUE(challenge_of({kOther, kSecret}).passed(Client().request("/", pass), at(1min)));
  EXPECT_FALSE(challenge_of({kOther}).passed(Client().request("/", pass), at(1min)));
}

TEST(Challenge, WrongLateAndStolenAnswersAreRefusedAndSayWhy) {
  const Challenge challenge = challenge_of({kSecret});
  Client client, other("198.51.100.1");
  const std::string question = question_in(challenge.page(client.request(), at(0s)).body);
  const std::string proof = work(question, 8);
  auto why = [&](const std::string& target, Client& who, Duration when) {
    return challenge.answer(who.request(target), at(when)).why;
  };
  EXPECT_EQ(why(answer_target(question, proof), client, 10min), "");
  EXPECT_EQ(why(answer_target(question, proof), client, 10min + 1s), "the answer comes too late");
  EXPECT_EQ(why(answer_target(question, proof), other, 0s),
            "the question is none that this client was asked");
  // Less work than asked: the question's bits are part of what is signed.
  std::string easier = question;
  easier.replace(easier.find(".8."), 3, ".0.");
  EXPECT_EQ(why(answer_target(easier, "1"), client, 0s),
            "the question is none that this client was asked");
  std::string wrong = "0";
  while (work(question, 8) == wrong) wrong += "0";
  EXPECT_EQ(why(answer_target(question, wrong), client, 0s), "the answer is wrong");
  for (const char* bad : {"", "-1", "1 ", "x", "123456789012345678901"})
    EXPECT_EQ(why(answer_target(question, bad), client, 0s), "the answer is malformed") << bad;
  for (const char* bad : {"", ".", "..", "1.8", "1.8.r.m", "x.8.r.m", "-1.8.r.m"})
    EXPECT_FALSE(challenge.answer(client.request(answer_target(bad, "1")), at(0s)).good()) << bad;
  EXPECT_NE(challenge.prometheus_text().find("{outcome=\"solved\"} 1"), std::string::npos);
}

TEST(Challenge, OnlyAGetThatAcceptsHtmlShowsAPage) {
  RequestView request;
  request.method = Method::kGet;
  const Field html{"accept", "text/html,*/*"}, any{"Accept", "*/*"};
  request.fields = {&html, 1};
  EXPECT_TRUE(Challenge::shows_pages(request));
  request.method = Method::kPost;
  EXPECT_FALSE(Challenge::shows_pages(request));
  request.method = Method::kGet;
  request.fields = {&any, 1};
  EXPECT_FALSE(Challenge::shows_pages(request));
}

}  // namespace
}  // namespace leeward::edge
