// Heads of requests and responses. Whatever the bytes: no crash, the same outcome however they are
// cut into pieces, and what is accepted has one framing only.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "edge/http1.h"

using namespace leeward::edge;

static void expect(bool condition) {
  if (!condition) std::abort();
}

static std::size_t count_of(Fields fields, std::string_view name) {
  return static_cast<std::size_t>(std::count_if(
      fields.begin(), fields.end(), [&](const Field& f) { return same_name(f.name, name); }));
}

static void check_head(const Head& head) {
  const Fields fields = head.fields();
  expect(count_of(fields, "content-length") <= 1 && count_of(fields, "transfer-encoding") <= 1);
  for (const Field& f : fields) {
    expect(!f.name.empty() && f.name.find_first_of(" \t\r\n:") == std::string_view::npos);
    expect(f.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  }
  if (count_of(fields, "transfer-encoding") != 0) expect(!head.has_length);
  if (head.framing == Framing::kLength) expect(head.has_length);
}

// Octet by octet must come to the same end as all at once.
template <typename Parse>
static Outcome check_pieces(std::string_view text, Parse parse) {
  HeadScan whole_scan;
  const Outcome whole = parse(text, whole_scan);
  HeadScan scan;
  for (std::size_t n = 0; n <= text.size(); ++n) {
    const Outcome part = parse(text.substr(0, n), scan);
    if (part.kind == Outcome::Kind::kMore && n < text.size()) continue;
    if (part.kind == Outcome::Kind::kDone) {
      expect(whole.kind == Outcome::Kind::kDone && part.consumed == whole.consumed);
      expect(part.consumed <= n);
    } else if (n == text.size()) {
      expect(part.kind == whole.kind);
    } else {
      expect(whole.kind == Outcome::Kind::kBad);  // seen early
    }
    break;
  }
  return whole;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data),
                              std::min<std::size_t>(size, 4096));
  const Http1Limits limits{.target_bytes_max = 256, .head_bytes_max = 2048, .fields_max = 32};
  auto request = std::make_unique<RequestHead>();
  const Outcome asked = check_pieces(text, [&](std::string_view bytes, HeadScan& scan) {
    return parse_request(bytes, limits, scan, *request);
  });
  if (asked.kind == Outcome::Kind::kDone) {
    HeadScan scan;
    parse_request(text, limits, scan, *request);
    check_head(*request);
    expect(request->framing != Framing::kUntilClose && !request->host.empty());
    expect(count_of(request->fields(), "host") == 1 || request->minor_version == 0);
    expect(request->target == "*" || request->target.starts_with('/'));
    HostText host;
    if (normalize_host(request->host, true, host)) expect(valid_host(host.view()));
  }
  for (const bool to_head : {false, true}) {
    auto response = std::make_unique<ResponseHead>();
    const Outcome answered = check_pieces(text, [&](std::string_view bytes, HeadScan& scan) {
      return parse_response(bytes, limits, to_head, scan, *response);
    });
    if (answered.kind != Outcome::Kind::kDone) continue;
    check_head(*response);
    expect(response->status >= 100 && response->status <= 999);
    if (response->status == 101)
      expect(response->framing == Framing::kTunnel);  // whatever was asked
    else if (to_head || response->status == 204 || response->status == 304)
      expect(response->framing == Framing::kNone);
  }
  return 0;
}
