#include "waf/bot_signals.h"

#include <algorithm>
#include <cstddef>

#include "waf/internal/words.h"

namespace leeward::waf {
namespace {

enum Signal : std::uint32_t {
  kNoUserAgent = 1u << 0,
  kTool = 1u << 1,
  kHeadless = 1u << 2,
  kCrawler = 1u << 3,
  kNoAccept = 1u << 4,
  kNoAcceptLanguage = 1u << 5,
  kNoAcceptEncoding = 1u << 6,
  kOldProtocol = 1u << 7,
  kHostNotFirst = 1u << 8,
};

// Of a User-Agent, in lower case: what it begins with, when it is one.
constexpr std::array<std::string_view, 26> kTools = {"aiohttp/",
                                                     "apache-httpclient/",
                                                     "axios/",
                                                     "curl/",
                                                     "dart/",
                                                     "fasthttp",
                                                     "go-http-client/",
                                                     "got ",
                                                     "got/",
                                                     "guzzlehttp",
                                                     "httpie/",
                                                     "java/",
                                                     "libwww-perl/",
                                                     "lwp::",
                                                     "node",
                                                     "okhttp/",
                                                     "perl",
                                                     "php",
                                                     "postmanruntime/",
                                                     "python",
                                                     "reqwest/",
                                                     "ruby",
                                                     "scrapy/",
                                                     "undici",
                                                     "wget/",
                                                     "winhttp"};
// What is anywhere in it.
constexpr std::array<std::string_view, 5> kHeadlessWords = {"headlesschrome", "phantomjs",
                                                            "slimerjs", "electron/", "puppeteer"};
constexpr std::array<std::string_view, 8> kCrawlerWords = {
    "bot/", "bot;", "crawler", "spider", "googlebot", "bingpreview", "slurp", "archiver"};
// Longer ones are looked at up to here.
constexpr std::size_t kAgentMax = 512;

bool same(std::string_view a, std::string_view b) { return same_ignoring_case(a, b); }

std::uint32_t of_agent(std::string_view agent, bool& browser) {
  char lower[kAgentMax];
  const std::size_t size = std::min(agent.size(), kAgentMax);
  std::transform(agent.begin(), agent.begin() + static_cast<std::ptrdiff_t>(size), lower,
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  const std::string_view text(lower, size);
  const auto has = [text](std::string_view word) { return text.find(word) != text.npos; };
  std::uint32_t signals = 0;
  if (text.empty()) signals |= kNoUserAgent;
  if (std::any_of(kTools.begin(), kTools.end(),
                  [text](std::string_view tool) { return text.starts_with(tool); }))
    signals |= kTool;
  if (std::any_of(kHeadlessWords.begin(), kHeadlessWords.end(), has)) signals |= kHeadless;
  if (std::any_of(kCrawlerWords.begin(), kCrawlerWords.end(), has) || text.ends_with("bot"))
    signals |= kCrawler;
  browser = signals == 0 && text.starts_with("mozilla/5.0 (");
  return signals;
}

}  // namespace

std::uint32_t bot_signals(std::span<const HeaderField> fields, std::string_view protocol) {
  std::string_view agent;
  bool accept = false, language = false, encoding = false;
  for (const HeaderField& field : fields) {
    if (same(field.name, "user-agent")) agent = agent.empty() ? field.value : agent;
    accept = accept || same(field.name, "accept");
    language = language || same(field.name, "accept-language");
    encoding = encoding || same(field.name, "accept-encoding");
  }
  bool browser = false;
  std::uint32_t signals = of_agent(agent, browser);
  if (!accept) signals |= kNoAccept;
  if (!browser) return signals;
  if (!language) signals |= kNoAcceptLanguage;
  if (!encoding) signals |= kNoAcceptEncoding;
  if (protocol == "1.0") signals |= kOldProtocol;
  if (protocol.starts_with("1.") && !fields.empty() && !same(fields.front().name, "host"))
    signals |= kHostNotFirst;
  return signals;
}

}  // namespace leeward::waf
