// Rules from a text, files switched off: no crash, an error names its place, and what is accepted
// runs over a request to an end.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "waf/transaction.h"

using namespace leeward::waf;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size < 4096 ? size : 4096);
  // No prefilter: to compile patterns for a scan takes seconds for some that rules may well have.
  auto rules = RuleSet::parse(text, "r.conf", {.files = false, .prefilter = false});
  if (!rules) {
    if (!rules.error().message.starts_with("r.conf:")) std::abort();
    return 0;
  }
  Workspace workspace(*rules);
  Collections collections;
  Transaction transaction(workspace, collections, {.now = {}, .wall = {}});
  const HeaderField fields[] = {{"Host", "a.test"},
                                {"Cookie", "a=1; b=2"},
                                {"Content-Type", "application/x-www-form-urlencoded"}};
  RequestHead head;
  head.client_address = "192.0.2.1";
  head.method = "POST";
  head.target = "/a/b.php?x=1&y=%27%20or%201=1&z";
  head.protocol = "1.1";
  head.fields = fields;
  if (!transaction.request_headers(head)) transaction.request_body("n=v&x=2");
  transaction.logging();
  if (transaction.intervention().due &&
      (transaction.intervention().status < 100 || transaction.intervention().status > 599))
    std::abort();
  return 0;
}
