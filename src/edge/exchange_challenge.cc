// Exchange: the challenge, asked and answered (challenge.h). Neither is ever stored: the request's
// fill is dropped, and the answers say no-store.
#include "edge/internal/exchange_flow.h"

namespace leeward::edge {
namespace {

// As AWS WAF's Challenge action has it (x-amzn-waf-action), for programs to know it by.
constexpr std::string_view kAction = "Leeward-Action: challenge\r\n";

}  // namespace

// A browser gets the page. To everybody else, and to what cannot be asked again by loading a page,
// it is a refusal: a 202, as for the page, would tell an API's client that its order was accepted.
void Exchange::pose_challenge() {
  end_inspection();
  fill_.reset();
  const Challenge* challenge = loop_.snapshot().config.challenge.get();  // null after some reloads
  const RequestView request = view();
  if (challenge == nullptr || down_ == nullptr || !Challenge::shows_pages(request)) {
    if (challenge != nullptr) challenge->count_refusal();
    return say(403, kAction,
               "403 Forbidden: this needs a pass, which a browser gets by opening a page here\n");
  }
  Challenge::Page page = challenge->page(request, loop_.both().wall);
  say(202, page.fields.append(kAction), page.body, "text/html; charset=utf-8");
}

void Exchange::take_answer() {
  const auto outcome = loop_.snapshot().config.challenge->answer(view(), loop_.both().wall);
  if (!outcome.good()) return reply(403, outcome.why);
  say(200, outcome.fields, "passed\n");
}

}  // namespace leeward::edge
