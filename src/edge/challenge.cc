#include "edge/challenge.h"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/sha256.h"
#include "edge/internal/challenge_page.h"
#include "edge/internal/mac.h"
#include "edge/internal/proxy_fields.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kRandomBytes = 16;
constexpr std::size_t kProofDigits = 20;
constexpr std::string_view kQuery = "?question=";
constexpr std::string_view kProof = "&proof=";

std::int64_t seconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

// What question and pass are bound to; behind a text of ours that has no line end.
std::string bound(std::string_view text, const RequestView& request) {
  return fmt::format("{}\n{}\n{}", text, to_string(subscriber_network(request.client)),
                     find_field(request.fields, "user-agent"));
}

// Digits only, no sign, no leading blanks.
bool read_number(std::string_view text, std::int64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && text.front() != '-';
}

int leading_zero_bits(const std::array<unsigned char, SHA256_DIGEST_LENGTH>& digest) {
  int bits = 0;
  for (const unsigned char byte : digest) {
    if (byte == 0) {
      bits += 8;
      continue;
    }
    return bits + __builtin_clz(byte) - 24;
  }
  return bits;
}

// "A.B.C.MAC": the part in front of the MAC and the MAC.
std::pair<std::string_view, std::string_view> split_mac(std::string_view text) {
  const std::size_t dot = text.rfind('.');
  if (dot == std::string_view::npos) return {};
  return {text.substr(0, dot), text.substr(dot + 1)};
}

}  // namespace

bool Challenge::passed(const RequestView& request, WallTime now) const {
  for (const Field& field : request.fields) {
    if (!same_name(field.name, "cookie")) continue;
    const auto [expires, mac] = split_mac(cookie_value(field.value, kCookie));
    std::int64_t until = 0;
    if (expires.empty() || !read_number(expires, until) || until <= seconds_of(now)) continue;
    const std::string text = bound(fmt::format("pass.{}", expires), request);
    if (std::any_of(options_.secrets.begin(), options_.secrets.end(),
                    [&, given = mac](const std::string& s) { return is_mac(given, text, s); }))
      return true;
  }
  return false;
}

bool Challenge::shows_pages(const RequestView& request) {
  if (request.method != Method::kGet) return false;
  for (const Field& field : request.fields)
    if (same_name(field.name, "accept") && field.value.find("text/html") != std::string_view::npos)
      return true;
  return false;
}

Challenge::Page Challenge::page(const RequestView& request, WallTime now) const {
  pages_.fetch_add(1, std::memory_order_relaxed);
  std::string random(kRandomBytes, '\0');
  // Without randomness questions repeat, which helps nobody: they are bound to client and time.
  [[maybe_unused]] const ssize_t got = getrandom(random.data(), random.size(), GRND_NONBLOCK);
  std::string nonce = base64url(random);
  nonce.resize(nonce.find('='));
  const std::string begin = fmt::format("{}.{}.{}", seconds_of(now), options_.bits, nonce);
  std::string mac = mac_of(bound("question." + begin, request), options_.secrets.front());
  mac.resize(kMacText);
  Page page;
  page.body = challenge_page(fmt::format("{}.{}", begin, mac), options_.bits, nonce);
  page.fields = fmt::format(
      "Content-Security-Policy: default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; "
      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'\r\n"
      "X-Robots-Tag: noindex\r\n",
      nonce);
  return page;
}

bool Challenge::is_answer(std::string_view target) {
  return target.starts_with(kPath) && target.substr(kPath.size()).starts_with(kQuery);
}

Challenge::Outcome Challenge::answer(const RequestView& request, WallTime now) const {
  Outcome outcome = judge(request, seconds_of(now));
  (outcome.good() ? solved_ : wrong_).fetch_add(1, std::memory_order_relaxed);
  return outcome;
}

Challenge::Outcome Challenge::judge(const RequestView& request, std::int64_t now) const {
  const Outcome malformed{.why = "the answer is malformed", .fields = {}};
  const std::string_view query = request.target.substr(kPath.size() + kQuery.size());
  const std::size_t end = query.find(kProof);
  if (end == std::string_view::npos) return malformed;
  const std::string_view question = query.substr(0, end);
  const std::string_view proof = query.substr(end + kProof.size());
  const auto [begin, mac] = split_mac(question);
  const std::size_t dot = begin.find('.');
  std::int64_t issued = 0, bits = 0;
  if (dot == std::string_view::npos || dot == 0 || !read_number(begin.substr(0, dot), issued))
    return malformed;
  const std::string_view rest = begin.substr(dot + 1);
  const std::size_t second = rest.find('.');
  if (second == std::string_view::npos || second == 0 || !read_number(rest.substr(0, second), bits))
    return malformed;
  if (proof.empty() || proof.size() > kProofDigits ||
      proof.find_first_not_of("0123456789") != std::string_view::npos)
    return malformed;
  const std::string text = bound(fmt::format("question.{}", begin), request);
  if (std::none_of(options_.secrets.begin(), options_.secrets.end(),
                   [&, given = mac](const std::string& s) { return is_mac(given, text, s); }))
    return {.why = "the question is none that this client was asked", .fields = {}};
  if (now - issued > std::chrono::duration_cast<std::chrono::seconds>(kAnswerTime).count())
    return {.why = "the answer comes too late", .fields = {}};
  const std::string worked = fmt::format("{}.{}", question, proof);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(worked.data()), worked.size(), digest.data());
  if (leading_zero_bits(digest) < bits) return {.why = "the answer is wrong", .fields = {}};

  const std::int64_t lasts =
      std::chrono::duration_cast<std::chrono::seconds>(options_.pass_for).count();
  const std::string expires = fmt::format("{}", now + lasts);
  std::string pass = mac_of(bound("pass." + expires, request), options_.secrets.front());
  pass.resize(kMacText);
  return {.why = {},
          .fields = fmt::format(
              "Set-Cookie: {}={}.{}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{}\r\n", kCookie,
              expires, pass, lasts, request.scheme == "https" ? "; Secure" : "")};
}

std::string Challenge::digest() const {
  std::string all = fmt::format("{} {}", options_.pass_for.count(), options_.bits);
  for (const std::string& secret : options_.secrets)
    all.append(" ").append(mac_of("digest", secret));
  return sha256_hex(all);
}

std::string Challenge::prometheus_text() const {
  std::string text =
      "# HELP leeward_edge_challenges_total Challenges: pages sent, requests refused that could "
      "show none, answers that were good or not.\n"
      "# TYPE leeward_edge_challenges_total counter\n";
  const auto sample = [&text](std::string_view outcome, const std::atomic<std::uint64_t>& count) {
    text += fmt::format("leeward_edge_challenges_total{{outcome=\"{}\"}} {}\n", outcome,
                        count.load(std::memory_order_relaxed));
  };
  sample("page", pages_);
  sample("refused", refused_);
  sample("solved", solved_);
  sample("wrong", wrong_);
  return text;
}

}  // namespace leeward::edge
