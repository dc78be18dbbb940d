// Signatures of URLs and cookies: no crash, nothing is good that no key has signed, and what we
// sign ourselves is good, without its parameters what was signed, and for nobody else.
#include <cstdlib>
#include <string>
#include <vector>

#include "edge/http1.h"
#include "edge/signed_url.h"

using namespace leeward;
using namespace leeward::edge;

static void expect(bool condition) {
  if (!condition) std::abort();
}

// Input: a target, and in further lines a cookie and a URL.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t first = std::min(text.find('\n'), size);
  const std::size_t second = std::min(text.find('\n', std::min(first + 1, size)), size);
  const std::string target(text.substr(0, first));
  const std::string cookie(
      text.substr(std::min(first + 1, size), second - std::min(first + 1, second)));
  const std::vector<SigningKey> keys = {{"k", "a secret that no input can guess"},
                                        {"l", "and a second one, as good"}};
  SignedRequest request{
      .scheme = "https", .host = "shop.test", .target = target, .cookie = cookie, .client = {}};
  expect(!check_signature(request, keys, 1000).good);

  for (const bool prefix : {false, true}) {
    SigningOrder order{.url = std::string(text.substr(std::min(second + 1, size))),
                       .prefix = prefix,
                       .expires = 2000,
                       .client_network = ""};
    const auto made = sign_url(order, keys[0]);
    if (!made) continue;
    const std::size_t scheme = made->url.find("://") + 3;
    const std::size_t slash = made->url.find('/', scheme);
    const std::string signed_target = made->url.substr(slash);
    request.scheme = std::string_view(made->url).substr(0, scheme - 3);
    request.host = std::string_view(made->url).substr(scheme, slash - scheme);
    request.target = signed_target;
    request.cookie = {};
    const SignatureCheck check = check_signature(request, keys, 1999);
    // A prefix may lead where its own path is refused: through "..".
    expect(check.good || (prefix && check.reason == "signature:wrong-prefix"));
    expect(!check_signature(request, keys, 2000).good);
    expect(!check_signature(request, {keys[1]}, 1999).good);
    if (!check.good) continue;
    expect(signed_target.find("Signature=", check.target_size) != std::string::npos);
    request.host = "other.test";
    if (made->url.substr(scheme, slash - scheme) != request.host)
      expect(!check_signature(request, keys, 1999).good);
  }
  return 0;
}
