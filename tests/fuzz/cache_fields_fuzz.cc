// Field values that a cache reads: directives, structured fields, ranges, conditions, dates, Vary.
// Whatever the bytes, no crash; and what is accepted makes sense.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "edge/cache_core.h"
#include "edge/internal/cache_date.h"
#include "edge/internal/cache_range.h"
#include "edge/internal/cache_structured.h"
#include "edge/internal/cache_vary.h"

using namespace leeward;
using namespace leeward::edge;

static void expect(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  // Lines "name: value"; the rest of the input as one value everywhere.
  std::vector<Field> fields;
  for_each_line(text, [&](std::string_view n, std::string_view v) { fields.push_back({n, v}); });
  for (std::string_view name : {"cache-control", "cdn-cache-control", "vary", "age", "range",
                                "accept-encoding", "accept-language", "surrogate-key"}) {
    fields.push_back({name, text});
  }
  ResponseDirectives d = response_directives(fields);
  for (const auto& s : {d.max_age, d.s_maxage, d.stale_if_error, d.stale_while_revalidate}) {
    expect(!s || (*s >= Seconds{0} && *s <= kDeltaMax));
  }
  request_directives(fields);
  expect(age_value(fields) >= Seconds{0});
  parse_dictionary(text);
  tags_of(fields, 16);
  if (auto spec = parse_range(text)) {
    for (std::uint64_t length : {0ull, 1ull, 10ull, 1ull << 40}) {
      auto r = resolve(*spec, length);
      expect(!r || (r->first <= r->last && r->last < length));
    }
  }
  if (auto range = parse_content_range(text)) {
    expect(range->first <= range->last && range->last < range->complete);
  }
  if (auto t = parse_http_date(text, 1'700'000'000)) {
    expect(parse_http_date(format_http_date(*t), 1'700'000'000) == t);
  }
  std::string variant;
  append_variant(vary_names(fields), fields, variant);
  preferred_language(fields);

  RequestView request;
  request.scheme = "http";
  request.host = "h";
  request.target = "/a?b";
  request.fields = fields;
  ResponseView response{200, fields, std::nullopt, true};
  Now now{BootTime{} + std::chrono::hours(9), WallTime{} + Seconds(1'700'000'000)};
  CachePolicy policy;
  Freshness f = freshness_of(response, d, policy, {now.boot, now});
  expect(f.lifetime >= Duration{0} && f.age(now.boot) >= Duration{0});
  if (may_store(request, response, d, f, policy) == StoreVerdict::kStored) {
    expect(!d.is_private && (!d.no_store || d.must_understand));
  }
  updated_lines(text, response, FieldFilter(fields, d, policy));
  same_origin_url(request, text);
  return 0;
}
