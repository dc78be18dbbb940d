// The caching rules, class by class: each row is a response (and what was asked), and what a shared
// cache must make of it. The classes are those of RFC 9111, RFC 9213 and RFC 5861.
#include "edge/cache_core.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "edge/internal/cache_date.h"
#include "edge/internal/cache_range.h"
#include "edge/internal/cache_structured.h"
#include "edge/internal/cache_vary.h"

namespace leeward::edge {
namespace {

using Lines = std::vector<Field>;
constexpr std::int64_t kWall = 1'700'000'000;
const Now kNow{BootTime{} + std::chrono::hours(100), WallTime{} + Seconds(kWall)};

std::string date(std::int64_t offset) { return format_http_date(kWall + offset); }

struct Outcome {
  StoreVerdict verdict;
  Freshness freshness;
};
Outcome judge(const Lines& response_fields, int status = 200, const Lines& request_fields = {},
              const CachePolicy& policy = {}, Method method = Method::kGet) {
  RequestView request;
  request.method = method;
  request.scheme = "http";
  request.host = "h";
  request.target = "/a/b?c";
  request.fields = request_fields;
  ResponseView response{status, response_fields, std::nullopt, true};
  ResponseDirectives d = response_directives(response.fields);
  Freshness f = freshness_of(response, d, policy, {kNow.boot, kNow});
  return {may_store(request, response, d, f, policy), f};
}
std::int64_t lifetime(const Lines& fields) {
  return std::chrono::floor<Seconds>(judge(fields).freshness.lifetime).count();
}
bool fresh_after(const Lines& fields, std::int64_t seconds) {
  Outcome o = judge(fields);
  return o.verdict == StoreVerdict::kStored && o.freshness.fresh(kNow.boot + Seconds(seconds));
}

TEST(CacheFreshness, LifetimeIsReadAsSharedCachesDo) {
  struct Row {
    Lines fields;
    std::int64_t lifetime;
  };
  const std::string past = date(-10000), future = date(10000), now = date(0);
  const Row rows[] = {
      {{{"Cache-Control", "max-age=3600"}}, 3600},
      {{{"Cache-Control", "MaX-AgE=3600"}}, 3600},
      {{{"Cache-Control", "max-age=003600"}}, 3600},
      {{{"Cache-Control", "max-age=\"3600\""}}, 3600},
      {{{"Cache-Control", "max-age=2147483649"}}, 2147483648},
      {{{"Cache-Control", "max-age=99999999999"}}, 2147483648},
      {{{"Cache-Control", "max-age='3600'"}}, 0},
      {{{"Cache-Control", "max-age=-3600"}}, 0},
      {{{"Cache-Control", "max-age=3600.5"}}, 0},
      {{{"Cache-Control", "max-age=a100"}}, 0},
      {{{"Cache-Control", "max-age=100a"}}, 0},
      {{{"Cache-Control", "max-age =100"}}, 0},
      {{{"Cache-Control", "max-age= 100"}}, 0},
      {{{"Cache-Control", "max-age"}}, 0},
      {{{"Cache-Control", "max-age=10, max-age=20"}}, 0},
      {{{"Cache-Control", "max-age=10"}, {"Cache-Control", "max-age=10"}}, 10},
      {{{"Cache-Control", "extension=\"max-age=3600\", max-age=1"}}, 1},
      {{{"Cache-Control", "max-age=1, extension=\"max-age=3600\""}}, 1},
      {{{"Cache-Control", "extension=\"a\\\"b, max-age=3600\", max-age=\"1\""}}, 1},
      {{{"Cache-Control", "foo, max-age=7, bar=baz"}}, 7},
      {{{"Cache-Control", "max-age=3600, s-maxage=1"}}, 1},
      {{{"Cache-Control", "s-maxage=3600"}, {"Cache-Control", "max-age=1"}}, 3600},
      {{{"Cache-Control", "max-age=3600"}, {"Expires", past}, {"Date", now}}, 3600},
      {{{"Cache-Control", "max-age=3600"}, {"Expires", "0"}}, 3600},
      {{{"Cache-Control", "max-age=0"}, {"Expires", future}, {"Date", now}}, 0},
      {{{"Expires", future}, {"Date", now}}, 10000},
      {{{"Expires", future}, {"Date", "not a date"}}, 10000},
      {{{"Expires", past}, {"Date", now}}, 0},
      {{{"Expires", now}, {"Date", now}}, 0},
      {{{"Expires", "0"}, {"Date", now}}, 0},
      {{{"Expires", future}, {"Expires", past}, {"Date", now}}, 0},
      {{{"CDN-Cache-Control", "max-age=3600"}, {"Cache-Control", "max-age=1"}}, 3600},
      {{{"CDN-Cache-Control", "max-age=1"}, {"Cache-Control", "max-age=3600"}}, 1},
      {{{"CDN-Cache-Control", "max-age=2147483648"}}, 2147483648},
      {{{"CDN-Cache-Control", "max-age=99999999999"}}, 2147483648},
      {{{"CDN-Cache-Control", "foobar, max-age=60"}, {"Expires", past}, {"Date", now}}, 60},
      {{{"CDN-Cache-Control", "max-age=60"}, {"Cache-Control", "no-store"}}, 60},
      {{{"CDN-Cache-Control", "public"}, {"Cache-Control", "max-age=60"}}, 0},
      {{{"CDN-Cache-Control", "max-age=60, &&&"}, {"Cache-Control", "max-age=1"}}, 1},
      {{{"CDN-Cache-Control", "max-age=\"60\""}, {"Cache-Control", "max-age=1"}}, 1},
      {{{"CDN-Cache-Control", "max-age =60"}, {"Cache-Control", "max-age=1"}}, 1},
      {{{"CDN-Cache-Control", ""}, {"Cache-Control", "max-age=1"}}, 1},
      {{{"Last-Modified", past}, {"Date", now}}, 0},  // no heuristics unless asked for
  };
  for (const Row& row : rows) {
    EXPECT_EQ(lifetime(row.fields), row.lifetime)
        << row.fields[0].name << ": " << row.fields[0].value;
  }
}

TEST(CacheFreshness, AgeOfTheUpstreamCounts) {
  const std::string cc = "max-age=3600";
  auto with_age = [&](std::string_view age) { return Lines{{"Cache-Control", cc}, {"Age", age}}; };
  EXPECT_FALSE(fresh_after(with_age("7200"), 0));
  EXPECT_FALSE(fresh_after(with_age("2147483648"), 0));
  EXPECT_FALSE(fresh_after(with_age("7200, 0"), 0));
  for (std::string_view age : {"0", "0, 7200", "abc", "-7200", "7200.0", "7200;foo=1", ""}) {
    EXPECT_TRUE(fresh_after(with_age(age), 3)) << age;
  }
  EXPECT_FALSE(fresh_after({{"Cache-Control", cc}, {"Age", "7200"}, {"Age", "0"}}, 0));
  EXPECT_TRUE(fresh_after({{"Cache-Control", cc}, {"Age", "0"}, {"Age", "7200"}}, 3));
  EXPECT_TRUE(fresh_after(with_age("3590"), 9));
  EXPECT_FALSE(fresh_after(with_age("3590"), 10));
  EXPECT_FALSE(fresh_after({{"Cache-Control", cc}, {"Date", "Tue, 14 Nov 2023 20:13:20 GMT"}}, 0));
}

TEST(CacheStorage, FollowsTheRulesForSharedCaches) {
  struct Row {
    Lines response;
    Lines request;
    int status;
    StoreVerdict verdict;
  };
  using V = StoreVerdict;
  const Field fresh{"Cache-Control", "max-age=60"}, etag{"ETag", "\"a\""};
  const Field auth{"Authorization", "Basic eA=="};
  const Row rows[] = {
      {{fresh}, {}, 200, V::kStored},
      {{}, {}, 200, V::kNoLifetime},
      {{etag}, {}, 200, V::kStored},
      {{etag}, {}, 201, V::kNoLifetime},
      {{{"Cache-Control", "max-age=0"}}, {}, 200, V::kNoLifetime},
      {{{"Cache-Control", "no-cache"}, etag}, {}, 200, V::kStored},
      {{{"Cache-Control", "no-cache, max-age=60"}}, {}, 200, V::kNoLifetime},
      {{{"Cache-Control", "nO-StOrE, max-age=60"}}, {}, 200, V::kNoStore},
      {{{"Cache-Control", "max-age=60, foo=\"bar"}}, {}, 200, V::kNoStore},
      {{{"Cache-Control", "private, max-age=60"}}, {}, 200, V::kPrivate},
      {{{"Cache-Control", "private=\"x\", max-age=60"}}, {}, 200, V::kStored},
      {{{"CDN-Cache-Control", "private"}, fresh}, {}, 200, V::kPrivate},
      {{{"CDN-Cache-Control", "no-store"}, fresh}, {}, 200, V::kNoStore},
      {{fresh}, {auth}, 200, V::kAuthorization},
      {{{"Cache-Control", "max-age=60, public"}}, {auth}, 200, V::kStored},
      {{{"Cache-Control", "max-age=60, must-revalidate"}}, {auth}, 200, V::kStored},
      {{{"Cache-Control", "s-maxage=60"}}, {auth}, 200, V::kStored},
      {{fresh, {"Vary", "*"}}, {}, 200, V::kVaryStar},
      {{fresh, {"Vary", "a, *"}}, {}, 200, V::kVaryStar},
      {{fresh, {"Vary", ""}, {"Vary", ", *"}}, {}, 200, V::kVaryStar},
      {{fresh, {"Set-Cookie", "a=b"}}, {}, 200, V::kSetCookie},
      {{{"Cache-Control", "public, max-age=60"}, {"Set-Cookie", "a=b"}}, {}, 200, V::kStored},
      {{fresh}, {}, 299, V::kStored},
      {{fresh}, {}, 404, V::kStored},
      {{fresh}, {}, 503, V::kStored},
      {{fresh}, {}, 599, V::kStored},
      {{{"Cache-Control", "max-age=60, must-understand"}}, {}, 599, V::kStatus},
      {{{"Cache-Control", "max-age=60, must-understand, no-store"}}, {}, 200, V::kStored},
      {{fresh}, {}, 103, V::kStatus},
      {{fresh}, {}, 304, V::kStatus},
      {{fresh, {"Content-Range", "bytes 0-4/10"}}, {}, 206, V::kStored},
      {{fresh, {"Content-Range", "bytes */10"}}, {}, 206, V::kPartial},
      {{fresh}, {}, 206, V::kPartial},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(name(judge(row.response, row.status, row.request).verdict), name(row.verdict))
        << row.status << " " << (row.response.empty() ? "-" : std::string(row.response[0].value));
  }
  EXPECT_EQ(judge({fresh}, 200, {}, {}, Method::kPost).verdict, V::kMethod);
  EXPECT_EQ(judge({fresh, {"Content-Location", "b?c"}}, 200, {}, {}, Method::kPost).verdict,
            V::kStored);
}

TEST(CacheStorage, HeuristicsAndTtlsOnlyByPolicy) {
  CachePolicy heuristic;
  heuristic.heuristic_percent = 10;
  const std::string modified = date(-1000), now = date(0);
  Lines fields = {{"Last-Modified", modified}, {"Date", now}};
  for (int status : {200, 203, 204, 404, 405, 410, 414, 501}) {
    EXPECT_EQ(judge(fields, status, {}, heuristic).freshness.lifetime, Seconds(100)) << status;
  }
  for (int status : {201, 202, 403, 502, 503, 504, 599}) {
    EXPECT_EQ(judge(fields, status, {}, heuristic).freshness.lifetime, Seconds(0)) << status;
  }
  Lines explicit_public = fields;
  explicit_public.push_back({"Cache-Control", "public"});
  EXPECT_EQ(judge(explicit_public, 599, {}, heuristic).freshness.lifetime, Seconds(100));

  CachePolicy bounds;
  bounds.ttl_min = Seconds(30);
  bounds.ttl_max = Seconds(90);
  bounds.negative_ttl = Seconds(31);
  EXPECT_EQ(judge({{"Cache-Control", "max-age=1"}}, 200, {}, bounds).freshness.lifetime,
            Seconds(30));
  EXPECT_EQ(judge({{"Cache-Control", "max-age=1000"}}, 200, {}, bounds).freshness.lifetime,
            Seconds(90));
  EXPECT_EQ(judge({{"Cache-Control", "max-age=0"}}, 200, {}, bounds).freshness.lifetime,
            Seconds(0));
  EXPECT_EQ(judge({}, 404, {}, bounds).freshness.lifetime, Seconds(31));
  EXPECT_EQ(judge({}, 404, {}, bounds).verdict, StoreVerdict::kStored);
  EXPECT_EQ(judge({}, 503, {}, bounds).verdict, StoreVerdict::kNoLifetime);
}

TEST(CacheReuse, StaleOnlyWhereAllowed) {
  auto at = [](const char* cc, std::int64_t after, RequestDirectives asked = {}) {
    return may_reuse(judge({{"Cache-Control", cc}, {"ETag", "\"a\""}}).freshness, asked,
                     kNow.boot + Seconds(after));
  };
  EXPECT_EQ(at("max-age=2", 1), Reuse::kFresh);
  EXPECT_EQ(at("max-age=2", 2), Reuse::kValidate);
  EXPECT_EQ(at("max-age=2, stale-while-revalidate=5", 6), Reuse::kStaleWhileRevalidate);
  EXPECT_EQ(at("max-age=2, stale-while-revalidate=5", 7), Reuse::kValidate);
  EXPECT_EQ(at("max-age=2, no-cache, stale-while-revalidate=5", 1), Reuse::kValidate);
  for (const char* strict :
       {"max-age=2, must-revalidate, stale-while-revalidate=5",
        "max-age=2, proxy-revalidate, stale-if-error=60", "s-maxage=2", "max-age=2, no-cache"}) {
    EXPECT_EQ(at(strict, 3), Reuse::kValidate) << strict;
    EXPECT_FALSE(may_serve_stale_on_error(judge({{"Cache-Control", strict}}).freshness,
                                          kNow.boot + Seconds(3)))
        << strict;
  }
  Freshness sie = judge({{"Cache-Control", "max-age=2, stale-if-error=60"}}).freshness;
  EXPECT_TRUE(may_serve_stale_on_error(sie, kNow.boot + Seconds(61)));
  EXPECT_FALSE(may_serve_stale_on_error(sie, kNow.boot + Seconds(62)));
  RequestDirectives asked;
  asked.max_age = Seconds(1);
  EXPECT_EQ(at("max-age=10", 3, asked), Reuse::kValidate);
  asked = {};
  asked.min_fresh = Seconds(8);
  EXPECT_EQ(at("max-age=10", 3, asked), Reuse::kValidate);
  asked = {};
  asked.max_stale = Seconds(4);
  EXPECT_EQ(at("max-age=2", 5, asked), Reuse::kFresh);
}

TEST(CacheRequest, DirectivesAndPragma) {
  EXPECT_TRUE(request_directives(Lines{{"Pragma", "no-cache"}}).no_cache);
  EXPECT_FALSE(request_directives(Lines{{"Pragma", "foo"}}).no_cache);
  EXPECT_FALSE(
      request_directives(Lines{{"Pragma", "no-cache"}, {"Cache-Control", "foo"}}).no_cache);
  EXPECT_EQ(request_directives(Lines{{"Cache-Control", "max-stale"}}).max_stale, kDeltaMax);
  EXPECT_TRUE(request_directives(Lines{{"Cache-Control", "only-if-cached"}}).only_if_cached);
}

TEST(CacheUpdate, A304ReplacesFieldsButNotThoseOfTheBytes) {
  Lines fields = {{"Test", "2"},           {"Content-Encoding", "x"},
                  {"Content-Length", "9"}, {"ETag", "\"b\""},
                  {"Content-Type", "a/b"}, {"Set-Cookie", "c=2"},
                  {"Connection", "Extra"}, {"Extra", "1"},
                  {"Content-Range", "q"}};
  ResponseView update{304, fields, std::nullopt, false};
  ResponseDirectives d;
  d.is_public = true;  // or its Set-Cookie would be for one client only
  CachePolicy policy;
  std::string lines = updated_lines(
      "Test: 1\r\nOther: 1\r\nETag: \"a\"\r\nContent-Length: 5\r\nSet-Cookie: c=1\r\n"
      "Set-Cookie: d=1\r\nContent-Type: t/p\r\n",
      update, FieldFilter(update.fields, d, policy));
  EXPECT_EQ(lines,
            "Other: 1\r\nETag: \"a\"\r\nContent-Length: 5\r\nTest: 2\r\nContent-Type: a/b\r\n"
            "Set-Cookie: c=2\r\n");
}

TEST(CacheFields, HopByHopNamedAndWithheldAreNotStored) {
  Lines fields = {{"A", "1"},
                  {"Connection", "a, close"},
                  {"Keep-Alive", "x"},
                  {"TE", "x"},
                  {"Upgrade", "x"},
                  {"Proxy-Authenticate", "x"},
                  {"Age", "5"},
                  {"Transfer-Encoding", "x"},
                  {"Cache-Tag", "t"},
                  {"B", "2"},
                  {"C", "3"},
                  {"Proxy-Connection", "x"},
                  {"Cache-Control", "max-age=5, no-cache=\"c\""},
                  {"Date", "d"}};
  ResponseView r{200, fields, std::nullopt, true};
  ResponseDirectives d = response_directives(r.fields);
  CachePolicy policy;
  EXPECT_EQ(stored_lines(r, FieldFilter(r.fields, d, policy), 7, kNow.wall),
            "B: 2\r\nCache-Control: max-age=5, no-cache=\"c\"\r\nDate: d\r\nContent-Length: 7\r\n");
}

TEST(CacheInvalidation, TargetAndSameOriginLocations) {
  RequestView request;
  request.method = Method::kPost;
  request.scheme = "http";
  request.host = "h";
  request.target = "/a/b?c";
  auto urls = [&](int status, Lines fields) {
    return invalidated_urls(request, {status, fields, std::nullopt, false});
  };
  using Urls = std::vector<std::string>;
  EXPECT_EQ(urls(200, {}), Urls{"h/a/b?c"});
  EXPECT_EQ(urls(500, {}), Urls{});
  EXPECT_EQ(urls(201, {{"Location", "d"}}), (Urls{"h/a/b?c", "h/a/d"}));
  EXPECT_EQ(urls(201, {{"Location", "http://H:80/x#f"}}), (Urls{"h/a/b?c", "h/x"}));
  EXPECT_EQ(urls(201, {{"Location", "http://other/x"}}), Urls{"h/a/b?c"});
  EXPECT_EQ(urls(201, {{"Location", "https://h/x"}}), Urls{"h/a/b?c"});
  EXPECT_EQ(urls(200, {{"Content-Location", "/x?y"}}), (Urls{"h/a/b?c", "h/x?y"}));
  request.method = Method::kOther;  // M-SEARCH and what else there may be
  EXPECT_EQ(urls(200, {}), Urls{"h/a/b?c"});
  request.method = Method::kGet;
  EXPECT_EQ(urls(200, {{"Location", "/x"}}), Urls{});
}

TEST(CacheVary, NormalFormJoinsWhatMeansTheSame) {
  auto form = [](std::string_view names, Lines request) {
    std::string out;
    append_variant(names, request, out);
    return out;
  };
  EXPECT_EQ(vary_names(Lines{{"Vary", "Foo, accept"}, {"Vary", "foo"}}), "accept,foo");
  EXPECT_EQ(form("foo", {{"Foo", "1, 2"}}), form("foo", {{"Foo", "1"}, {"foo", "2"}}));
  EXPECT_EQ(form("foo", {{"Foo", "1,2"}}), form("foo", {{"Foo", "1 ,  2"}}));
  EXPECT_NE(form("foo", {{"Foo", ""}}), form("foo", {}));
  EXPECT_NE(form("a,b", {{"a", "1"}}), form("a,b", {{"b", "1"}}));
  EXPECT_EQ(form("accept-language", {{"Accept-Language", "en, de"}}),
            form("accept-language", {{"Accept-Language", "DE,en"}}));
  EXPECT_NE(form("accept-language", {{"Accept-Language", "en, de;q=0.5"}}),
            form("accept-language", {{"Accept-Language", "de, en;q=0.5"}}));
  EXPECT_EQ(form("accept-encoding", {{"Accept-Encoding", "gzip, deflate, br"}}),
            form("accept-encoding", {{"Accept-Encoding", "br;q=1.0,gzip;q=0.8, x"}}));
  EXPECT_NE(form("accept-encoding", {{"Accept-Encoding", "gzip"}}),
            form("accept-encoding", {{"Accept-Encoding", "gzip;q=0"}}));
  EXPECT_EQ(preferred_language(Lines{{"Accept-Language", "fr;q=0.5, de"}}), "de");
  EXPECT_EQ(preferred_language(Lines{{"Accept-Language", "fr, de"}}), "");
}

TEST(CacheConditions, IfNoneMatchBeforeIfModifiedSince) {
  auto ask = [](Lines request, std::string_view etag, std::string_view modified = {}) {
    return evaluate_conditions(request, etag, modified, date(-100), kWall) ==
           Condition::kNotModified;
  };
  EXPECT_TRUE(ask({{"If-None-Match", "\"a\""}}, "\"a\""));
  EXPECT_TRUE(ask({{"If-None-Match", "\"x\", \"a,b\", \"y\""}}, "\"a,b\""));
  EXPECT_TRUE(ask({{"If-None-Match", "W/\"a\""}}, "\"a\""));
  EXPECT_TRUE(ask({{"If-None-Match", "*"}}, ""));
  EXPECT_FALSE(ask({{"If-None-Match", "\"b\""}}, "\"a\""));
  const std::string old = date(-50), older = date(-200);
  EXPECT_FALSE(ask({{"If-None-Match", "\"b\""}, {"If-Modified-Since", old}}, "\"a\"", older));
  EXPECT_TRUE(ask({{"If-Modified-Since", old}}, "", old));
  EXPECT_TRUE(ask({{"If-Modified-Since", old}}, "", older));
  EXPECT_FALSE(ask({{"If-Modified-Since", older}}, "", old));
  EXPECT_TRUE(ask({{"If-Modified-Since", old}}, ""));  // by Date
  EXPECT_FALSE(ask({{"If-Modified-Since", "yesterday"}}, "", older));
}

TEST(CacheRanges, AreReadToTheLetter) {
  auto of = [](std::string_view text, std::uint64_t length) -> std::string {
    auto spec = parse_range(text);
    if (!spec) return "ignored";
    auto r = resolve(*spec, length);
    return r ? std::to_string(r->first) + "-" + std::to_string(r->last) : "416";
  };
  EXPECT_EQ(of("bytes=0-1", 10), "0-1");
  EXPECT_EQ(of("bytes=1-", 10), "1-9");
  EXPECT_EQ(of("bytes=-1", 10), "9-9");
  EXPECT_EQ(of("bytes=-100", 10), "0-9");
  EXPECT_EQ(of("bytes=5-100", 10), "5-9");
  EXPECT_EQ(of("bytes=10-", 10), "416");
  EXPECT_EQ(of("bytes=-0", 10), "416");
  EXPECT_EQ(of("bytes=0-0", 0), "416");
  EXPECT_EQ(of("bytes=3-1", 10), "ignored");
  EXPECT_EQ(of("bytes=0-1,3-4", 10), "ignored");
  EXPECT_EQ(of("lines=0-1", 10), "ignored");
  EXPECT_EQ(of("bytes=a-", 10), "ignored");
  EXPECT_EQ(of("bytes=-", 10), "ignored");
  EXPECT_FALSE(parse_content_range("bytes 4-10/10"));
  EXPECT_FALSE(parse_content_range("bytes 5-4/10"));
  EXPECT_FALSE(parse_content_range("bytes 0-4/*"));
  EXPECT_TRUE(if_range_holds(Lines{{"If-Range", "\"a\""}}, "\"a\"", ""));
  EXPECT_FALSE(if_range_holds(Lines{{"If-Range", "W/\"a\""}}, "W/\"a\"", ""));
}

TEST(CacheDates, ThreeFormatsAndNothingElse) {
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", kWall), 784111777);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", kWall), 784111777);
  EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994", kWall), 784111777);
  EXPECT_EQ(parse_http_date("sUN, 06 nOV 1994 08:49:37 gmt", kWall), 784111777);  // RFC 9111 §4.2
  for (std::string_view bad : {"0", "", "Sun, 06 Nov 1994 08:49:37 UTC",
                               "Sun, 06 Nov 94 08:49:37 GMT", "Sun 06 Nov 1994 08:49:37 GMT",
                               "Sun,  06 Nov 1994 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT",
                               "Sun, 06 Nov 1994 08.49.37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT",
                               "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT "}) {
    EXPECT_FALSE(parse_http_date(bad, kWall)) << bad;
  }
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    auto t = static_cast<std::int64_t>(random() % 4'000'000'000u);
    EXPECT_EQ(parse_http_date(format_http_date(t), kWall), t);
  }
}

TEST(CacheStructuredFields, WholeOrNothing) {
  auto d = parse_dictionary("a=1, b;x=?0, c=(1 \"t\" tok);q=1.5, d=:aGk=:, a=-2");
  ASSERT_TRUE(d);
  ASSERT_EQ(d->size(), 4u);
  EXPECT_EQ(std::get<std::int64_t>((*d)[0].item.value), -2);
  EXPECT_TRUE(std::get<bool>((*d)[1].item.value));
  EXPECT_EQ((*d)[2].items.size(), 3u);
  EXPECT_EQ(std::get<SfDecimal>((*d)[2].item.parameters[0].second).thousandths, 1500);
  EXPECT_EQ(std::get<SfBytes>((*d)[3].item.value).bytes, "hi");
  for (std::string_view bad : {"a=", "A=1", "a=1,", "a=1 b", "a=1.", "a=1.2345", "a=\"x", "a=(1",
                               "a=?2", "a=1234567890123456", "a=&", "a=\"\x80\"", "a=:a"}) {
    EXPECT_FALSE(parse_dictionary(bad)) << bad;
  }
}

// Whatever a response says, the cache must not serve it beyond what each single directive allows.
TEST(CacheProperties, MoreDirectivesNeverMakeAResponseLivelier) {
  static constexpr std::string_view kRestrictive[] = {"no-store", "private", "no-cache",
                                                      "max-age=0", "s-maxage=0"};
  static constexpr std::string_view kNoise[] = {
      "public", "foo", "bar=\"max-age=9\"", "x=y", "max-age=60", "immutable", "", "no-transform"};
  std::mt19937 random(11);
  for (int i = 0; i < 5000; ++i) {
    std::vector<std::string_view> parts;
    for (std::size_t n = random() % 5; n > 0; --n) parts.push_back(kNoise[random() % 8]);
    parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(random() % (parts.size() + 1)),
                 kRestrictive[random() % 5]);
    std::string cc;
    Lines fields;
    for (std::string_view p : parts) cc.append(cc.empty() ? "" : ", ").append(p);
    fields.push_back({"Cache-Control", cc});
    EXPECT_FALSE(fresh_after(fields, 0)) << cc;
  }
}

}  // namespace
}  // namespace leeward::edge
