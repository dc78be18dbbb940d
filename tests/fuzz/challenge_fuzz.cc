// Passes and answers of the challenge: no crash; nothing that a client writes is good unless it has
// the secret, whatever it claims.
#include <cstdlib>
#include <string>

#include "edge/challenge.h"

using namespace leeward;
using namespace leeward::edge;

// Input: a cookie field, and in a second line what follows the answer's "?question=".
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Challenge challenge(
      {.secrets = {"a secret that no input can guess"}, .pass_for = 1h, .bits = 0});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t line = std::min(text.find('\n'), size);
  const Field fields[] = {{"User-Agent", "x"}, {"Cookie", text.substr(0, line)}};
  const std::string target = std::string(Challenge::kPath) +
                             "?question=" + std::string(text.substr(std::min(line + 1, size)));
  RequestView request;
  request.method = Method::kGet;
  request.target = target;
  request.fields = fields;
  const WallTime now = WallTime{} + 1h;
  if (challenge.passed(request, now)) std::abort();
  if (!Challenge::is_answer(target) || challenge.answer(request, now).good()) std::abort();
  return 0;
}
