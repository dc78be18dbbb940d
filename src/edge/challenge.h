// The challenge: who has no pass gets a question that costs a browser some work, and for its answer
// a pass, a cookie that is good for some time.
//
//   question   ISSUED.BITS.RANDOM.MAC, in the page; good for kAnswerTime
//   answer     GET kPath?question=QUESTION&proof=N, where SHA-256 of "QUESTION.N" begins with BITS
//              zero bits; N has at most 20 digits
//   pass       cookie Leeward-Pass=EXPIRES.MAC
//
// Both MACs (HMAC-SHA256) are also of the client's network (/24 of IPv4, /64 of IPv6) and its
// User-Agent: neither question nor pass is of use to anybody else. Nothing is stored, so sites with
// the same secret know each other's passes, and a failover asks nobody again. An answer can be sent
// more than once; each time it gives the same client a pass.
//
// What it does: every client needs to have worked (2^BITS hashes on average) once in `pass_for` per
// network and User-Agent. It does not tell people from programs that run the page.
//
// Threading: everything from any thread. The time is passed in.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "edge/exchange.h"

namespace leeward::edge {

class Challenge {
 public:
  static constexpr std::string_view kPath = "/.well-known/leeward-challenge";
  static constexpr std::string_view kCookie = "Leeward-Pass";
  static constexpr Duration kAnswerTime = 10min;
  static constexpr std::size_t kSecretMin = 16;  // bytes

  struct Options {
    std::vector<std::string> secrets;  // the first signs, all are known; one at least
    Duration pass_for = 1h;
    int bits = 17;  // of work: 0 to 32
    bool operator==(const Options&) const = default;
  };
  explicit Challenge(Options options) : options_(std::move(options)) {}
  const Options& options() const { return options_; }

  // The request carries a pass that is good.
  bool passed(const RequestView& request, WallTime now) const;

  struct Page {
    std::string fields;  // field lines: content security policy
    std::string body;    // text/html in UTF-8
  };
  // The page that asks. Counts.
  Page page(const RequestView& request, WallTime now) const;
  // Whether the request is one that can show a page: a GET that accepts text/html by name.
  static bool shows_pages(const RequestView& request);
  void count_refusal() const { refused_.fetch_add(1, std::memory_order_relaxed); }

  static bool is_answer(std::string_view target);
  struct Outcome {
    std::string_view why;  // not good: static text
    std::string fields;    // good: "Set-Cookie: …\r\n"
    bool good() const { return why.empty(); }
  };
  // REQUIRES: is_answer(request.target). Counts.
  Outcome answer(const RequestView& request, WallTime now) const;

  std::string prometheus_text() const;
  // The same for challenges that know each other's passes and ask the same. For operators only: who
  // knows it can try secrets.
  std::string digest() const;

 private:
  Outcome judge(const RequestView& request, std::int64_t now) const;

  const Options options_;
  mutable std::atomic<std::uint64_t> pages_{0}, refused_{0}, solved_{0}, wrong_{0};
};

}  // namespace leeward::edge
