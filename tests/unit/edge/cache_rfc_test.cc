// What RFC 9111 (and 9110, 9213, 5861) asks of a shared cache, one class of behaviour a test: each
// asks the cache as a client would, and looks at what the origin is asked and what comes back.
#include <gtest/gtest.h>

#include "cache_driver.h"

namespace leeward::edge {
namespace {

using Seconds = std::chrono::seconds;
using std::chrono_literals::operator""s;

using OriginOf = std::function<Reply(const std::string& lines)>;
OriginOf always(Reply r) {
  return [r](const std::string&) { return r; };
}
Reply ok(Pairs fields, std::string body = "0123456789") {
  return Reply{200, std::move(fields), std::move(body)};
}
const Reply kUnreachable{0, {}, ""};
const Ask kGet{"GET", "/a"};

struct Second {
  Seconds after{0};
  Pairs request = {};
};
// Whether the answer to a first request is used for a second one.
bool reused(const Reply& first, const Second& second = {}, const CachePolicy& policy = {},
            Pairs first_request = {}) {
  Driver d;
  d.policy = policy;
  d.get({"GET", "/a", std::move(first_request)}, always(first));
  d.sleep(second.after);
  d.get({"GET", "/a", second.request}, always(ok({{"Cache-Control", "no-store"}}, "new")));
  return d.origin_fetches == 1;
}
bool reused(const char* cache_control, Seconds after = 0s) {
  return reused(ok({{"Cache-Control", cache_control}}), {after});
}

// ---- RFC 9111 §4.2: freshness

TEST(CacheRfc, AResponseIsUsedUntilItsLifetimeEnds) {
  Driver d;
  const std::string soon = d.date(30), now = d.date();
  EXPECT_TRUE(reused("max-age=10", 9s));
  EXPECT_FALSE(reused("max-age=10", 10s));
  EXPECT_TRUE(reused(ok({{"Expires", soon}, {"Date", now}}), {29s}));
  EXPECT_FALSE(reused(ok({{"Expires", soon}, {"Date", now}}), {30s}));
  EXPECT_TRUE(
      reused(ok({{"Cache-Control", "max-age=60"}, {"Expires", now}, {"Date", now}}), {59s}));
  EXPECT_FALSE(
      reused(ok({{"Cache-Control", "max-age=5"}, {"Expires", soon}, {"Date", now}}), {5s}));
  EXPECT_TRUE(reused("max-age=1, s-maxage=60", 59s));
  EXPECT_FALSE(reused("max-age=60, s-maxage=1", 1s));
}

TEST(CacheRfc, AResponseThatSaysNothingIsAskedForAgain) {
  Driver d;
  const std::string old = d.date(-86400), now = d.date();
  EXPECT_FALSE(reused(ok({})));
  EXPECT_FALSE(reused(ok({{"Last-Modified", old}, {"Date", now}})));
  CachePolicy guess;
  guess.heuristic_percent = 10;
  EXPECT_TRUE(reused(ok({{"Last-Modified", old}, {"Date", now}}), {8639s}, guess));
  EXPECT_FALSE(reused(ok({{"Last-Modified", old}, {"Date", now}}), {8640s}, guess));
  // §4.2.2: explicit information rules, and only statuses that are cacheable by default are
  // guessed.
  EXPECT_FALSE(reused(ok({{"Last-Modified", old}, {"Date", now}, {"Cache-Control", "max-age=0"}}),
                      {}, guess));
  EXPECT_FALSE(reused(Reply{403, {{"Last-Modified", old}, {"Date", now}}, "x"}, {}, guess));
}

TEST(CacheRfc, WhatIsNoLifetimeIsNone) {
  for (const char* bad : {"max-age=-60", "max-age='60'", "max-age=60.0", "max-age=sixty", "max-age",
                          "max-age=", "max-age =60", "max-age= 60", "s-maxage=x, max-age=60",
                          "max-age=60, max-age=61", "x=\"max-age=60\""})
    EXPECT_FALSE(reused(bad)) << bad;
  for (const char* good :
       {"MAX-AGE=60", "max-age=\"60\"", "max-age=060", "max-age=99999999999", " , max-age=60 ,",
        "max-age=60, max-age=60", "x, max-age=60;y", "x=\",\", max-age=60"}) {
    if (std::string_view(good).find(';') != std::string_view::npos) {
      EXPECT_FALSE(reused(good, 59s)) << good;
    } else {
      EXPECT_TRUE(reused(good, 59s)) << good;
    }
  }
  Driver d;
  for (const char* date : {"0", "-1", "", "tomorrow", "Thu, 18 Aug 2050 02:01:18 UTC",
                           "Thu, 18 Aug 50 02:01:18 GMT", "Thu, 18-Aug-2050 02:01:18 GMT"})
    EXPECT_FALSE(reused(ok({{"Expires", date}, {"Date", d.date()}}))) << date;
  for (const char* date : {"Thu, 18 Aug 2050 02:01:18 GMT", "THU, 18 aug 2050 02:01:18 gmt",
                           "Thursday, 18-Aug-50 02:01:18 GMT", "Thu Aug 18 02:01:18 2050"})
    EXPECT_TRUE(reused(ok({{"Expires", date}, {"Date", d.date()}}))) << date;
}

TEST(CacheRfc, AgeIsCountedFromWhenTheOriginSaidIt) {
  Driver d;
  EXPECT_FALSE(reused(ok({{"Cache-Control", "max-age=60"}, {"Age", "60"}})));
  EXPECT_FALSE(reused(ok({{"Cache-Control", "max-age=60"}, {"Date", d.date(-60)}})));
  EXPECT_FALSE(reused(ok({{"Cache-Control", "max-age=60"}, {"Age", "61, 0"}})));
  EXPECT_TRUE(reused(ok({{"Cache-Control", "max-age=60"}, {"Age", "0, 61"}})));
  EXPECT_TRUE(reused(ok({{"Cache-Control", "max-age=60"}, {"Age", "old"}})));
  EXPECT_TRUE(reused(ok({{"Cache-Control", "max-age=60"}, {"Date", d.date(60)}}), {59s}));
  d.get(kGet, always(ok({{"Cache-Control", "max-age=60"}, {"Age", "30"}, {"Date", d.date()}})));
  const std::string first_date = d.date();
  d.sleep(7s);
  Reply r = d.get(kGet, always(kUnreachable));
  EXPECT_EQ(Driver::field(r, "age"), "37");
  EXPECT_EQ(Driver::field(r, "date"), first_date);  // RFC 9110 §6.6.1
}

// ---- RFC 9111 §3: storing

TEST(CacheRfc, EveryFinalStatusIsKeptForAsLongAsItSays) {
  for (int status :
       {200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 451, 499, 500, 503, 504, 599}) {
    const Reply reply{status, {{"Cache-Control", "max-age=60"}}, status == 204 ? "" : "x"};
    EXPECT_TRUE(reused(reply, {59s})) << status;
    EXPECT_FALSE(reused(reply, {60s})) << status;
  }
  const Reply understood{200, {{"Cache-Control", "max-age=60, must-understand, no-store"}}, "x"};
  EXPECT_TRUE(reused(understood));
  const Reply unknown{299, {{"Cache-Control", "max-age=60, must-understand, no-store"}}, "x"};
  EXPECT_FALSE(reused(unknown));
}

TEST(CacheRfc, WhatMayNotBeStoredIsNot) {
  for (const char* cc :
       {"no-store, max-age=60", "NO-STORE, max-age=60", "private, max-age=60",
        "private=, max-age=60", "no-store=x, max-age=60", "max-age=60, a=\"no-store"})
    EXPECT_FALSE(reused(cc)) << cc;
  EXPECT_FALSE(reused(ok({{"Cache-Control", "max-age=60"}, {"Cache-Control", "no-store"}})));
  EXPECT_FALSE(reused(ok({{"Cache-Control", "max-age=60"}, {"Vary", "*"}})));
}

TEST(CacheRfc, AuthorizedResponsesAreSharedOnlyIfTheySaySo) {
  const Pairs who{{"Authorization", "Basic eA=="}};
  auto shared = [&](const char* cc) { return reused(ok({{"Cache-Control", cc}}), {}, {}, who); };
  EXPECT_FALSE(shared("max-age=60"));
  EXPECT_TRUE(shared("max-age=60, public"));
  EXPECT_TRUE(shared("max-age=60, must-revalidate"));
  EXPECT_TRUE(shared("s-maxage=60"));
  EXPECT_FALSE(shared("max-age=60, proxy-revalidate"));
}

TEST(CacheRfc, NamedFieldsGoToTheOneWhoAskedOnly) {
  for (const char* cc : {"max-age=60, private=\"set-cookie, x-user\"",
                         "max-age=60, no-cache=\"Set-Cookie\", no-cache=\"X-User\""}) {
    Driver d;
    const Pairs fields{{"Cache-Control", cc}, {"Set-Cookie", "a=b"}, {"X-User", "u"}, {"B", "2"}};
    d.policy.set_cookie = SetCookiePolicy::kStore;
    Reply first = d.get(kGet, always(ok(fields)));
    EXPECT_EQ(Driver::field(first, "x-user"), "u");
    EXPECT_EQ(Driver::field(first, "set-cookie"), "a=b");
    EXPECT_EQ(first.body, "0123456789");
    Reply second = d.get(kGet, always(kUnreachable));
    EXPECT_EQ(d.origin_fetches, 1);
    EXPECT_EQ(Driver::field(second, "x-user"), "(none)");
    EXPECT_EQ(Driver::field(second, "set-cookie"), "(none)");
    EXPECT_EQ(Driver::field(second, "b"), "2");
  }
}

TEST(CacheRfc, ConnectionFieldsAreNobodyElses) {
  Driver d;
  d.get(kGet, always(ok({{"Cache-Control", "max-age=60"},
                         {"Connection", "X-Hop"},
                         {"X-Hop", "1"},
                         {"Keep-Alive", "1"},
                         {"Proxy-Authenticate", "x"},
                         {"X-End", "2"}})));
  Reply r = d.get(kGet, always(kUnreachable));
  for (const char* hop : {"connection", "x-hop", "keep-alive", "proxy-authenticate"})
    EXPECT_EQ(Driver::field(r, hop), "(none)") << hop;
  EXPECT_EQ(Driver::field(r, "x-end"), "2");
}

TEST(CacheRfc, CookiesAreSharedByPolicyOnly) {
  const Reply cookie = ok({{"Cache-Control", "max-age=60"}, {"Set-Cookie", "a=b"}});
  CachePolicy policy;
  EXPECT_FALSE(reused(cookie, {}, policy));
  EXPECT_TRUE(reused(ok({{"Cache-Control", "public, max-age=60"}, {"Set-Cookie", "a=b"}})));
  policy.set_cookie = SetCookiePolicy::kStore;
  EXPECT_TRUE(reused(cookie, {}, policy));
  EXPECT_TRUE(reused(ok({{"Cache-Control", "max-age=60"}}), {0s, {{"Cookie", "a=b"}}}));
}

TEST(CacheRfc, AnAnswerToAPostIsKeptForItsOwnUrl) {  // RFC 9110 §9.3.3
  for (const char* location : {"/a", "http://h/a", "a", "/b"}) {
    Driver d;
    d.policy.store_post = true;
    d.get({"POST", "/a"},
          always(ok({{"Cache-Control", "max-age=60"}, {"Content-Location", location}}, "made")));
    Reply r = d.get(kGet, always(ok({}, "asked")));
    EXPECT_EQ(r.body, std::string_view(location) == "/b" ? "asked" : "made") << location;
  }
}

// ---- RFC 9111 §4.1: keys

TEST(CacheRfc, VaryNamesWhatMustBeTheSame) {
  const Reply varies = ok({{"Cache-Control", "max-age=60"}, {"Vary", "Foo, bar"}});
  const Pairs first{{"Foo", "1"}, {"Bar", "2"}};
  auto same = [&](Pairs second) { return reused(varies, {0s, std::move(second)}, {}, first); };
  EXPECT_TRUE(same({{"bar", "2"}, {"foo", "1"}, {"Other", "3"}}));
  EXPECT_TRUE(same({{"Foo", " 1 "}, {"Bar", "2"}}));
  EXPECT_FALSE(same({{"Foo", "2"}, {"Bar", "2"}}));
  EXPECT_FALSE(same({{"Foo", "1"}}));
  EXPECT_FALSE(same({}));
  EXPECT_FALSE(reused(varies, {0s, first}, {}, {{"Foo", "1"}}));
}

TEST(CacheRfc, TheWholeQueryIsPartOfTheKey) {
  Driver d;
  auto origin = [&](std::string body) {
    return always(ok({{"Cache-Control", "max-age=60"}}, body));
  };
  d.get({"GET", "/q?a=1&b=2"}, origin("one"));
  EXPECT_EQ(d.get({"GET", "/q?a=1&b=2"}, origin("x")).body, "one");
  for (const char* other : {"/q", "/q?", "/q?b=2&a=1", "/q?a=1&b=2&", "/q?A=1&b=2", "/Q?a=1&b=2"})
    EXPECT_EQ(d.get({"GET", other}, origin(other)).body, other);
}

// ---- RFC 9111 §4.3: validation

TEST(CacheRfc, StaleResponsesAreValidatedWithWhatTheyHave) {
  Driver d;
  const std::string old = d.date(-1000);
  auto conditions = [&](Pairs validators) {
    Driver inner;
    validators.emplace_back("Cache-Control", "max-age=1");
    inner.get(kGet, always(ok(validators)));
    inner.sleep(2s);
    inner.get(kGet, always(ok({})));
    return inner.last_lines;
  };
  EXPECT_EQ(conditions({{"ETag", "\"e\""}}), "If-None-Match: \"e\"\r\n");
  EXPECT_EQ(conditions({{"ETag", "W/\"e\""}}), "If-None-Match: W/\"e\"\r\n");
  EXPECT_EQ(conditions({{"Last-Modified", old}}), "If-Modified-Since: " + old + "\r\n");
  EXPECT_EQ(conditions({}), "");
}

TEST(CacheRfc, NoCacheIsStoredAndValidatedBeforeEachUse) {
  for (const char* cc : {"no-cache", "No-Cache, max-age=60", "no-cache=, max-age=60"}) {
    Driver d;
    d.get(kGet, always(ok({{"Cache-Control", cc}, {"ETag", "\"e\""}})));
    for (int i = 0; i < 2; ++i) {
      Reply r = d.get(kGet, always(Reply{304, {{"ETag", "\"e\""}}, ""}));
      EXPECT_EQ(d.last_lines, "If-None-Match: \"e\"\r\n") << cc;
      EXPECT_EQ(r.status, 200);
      EXPECT_EQ(r.body, "0123456789");
    }
  }
}

TEST(CacheRfc, A304RenewsFieldsAndLifetime) {
  Driver d;
  d.get(kGet, always(ok({{"Cache-Control", "max-age=5"},
                         {"ETag", "\"e\""},
                         {"A", "1"},
                         {"B", "1"},
                         {"Content-Type", "t/p"}})));
  d.sleep(6s);
  Reply r = d.get(
      kGet, always(Reply{
                304,
                {{"ETag", "\"e\""}, {"A", "2"}, {"A", "3"}, {"C", "1"}, {"Content-Length", "99"}},
                ""}));
  EXPECT_EQ(Driver::field(r, "a"), "2");
  EXPECT_EQ(Driver::field(r, "b"), "1");
  EXPECT_EQ(Driver::field(r, "c"), "1");
  EXPECT_EQ(Driver::field(r, "content-length"), "10");
  d.sleep(4s);  // a 304 that says no lifetime begins the stored one again
  EXPECT_EQ(Driver::field(d.get(kGet, always(kUnreachable)), "a"), "2");
  EXPECT_EQ(d.origin_fetches, 2);
  d.sleep(1s);
  d.get(kGet, always(Reply{304, {{"ETag", "\"e\""}, {"Cache-Control", "max-age=60"}}, ""}));
  d.sleep(59s);
  d.get(kGet, always(kUnreachable));
  EXPECT_EQ(d.origin_fetches, 3);
}

TEST(CacheRfc, A304OfSomethingElseIsNotBelievedTwice) {
  Driver d;
  d.get(kGet, always(ok({{"Cache-Control", "max-age=5"}, {"ETag", "\"e\""}})));
  d.sleep(6s);
  d.get(kGet, always(Reply{304, {{"ETag", "\"f\""}, {"Cache-Control", "max-age=60"}}, ""}));
  EXPECT_EQ(d.get(kGet, always(ok({}, "new"))).body, "new");
  EXPECT_EQ(d.last_lines, "");
}

TEST(CacheRfc, ConditionsAreJudgedByTheStoredResponse) {
  Driver d;
  const std::string modified = d.date(-100), later = d.date(-50), before = d.date(-200);
  d.get(kGet, always(ok({{"Cache-Control", "max-age=600"},
                         {"ETag", "\"e\""},
                         {"Vary", "X"},
                         {"Last-Modified", modified},
                         {"Content-Type", "t/p"}})));
  auto status = [&](Pairs request) {
    return d.get({"GET", "/a", std::move(request)}, always(kUnreachable)).status;
  };
  EXPECT_EQ(status({{"If-None-Match", "\"x\", W/\"e\""}}), 304);
  EXPECT_EQ(status({{"If-None-Match", "*"}}), 304);
  EXPECT_EQ(status({{"If-None-Match", "\"x\""}, {"If-Modified-Since", later}}), 200);
  EXPECT_EQ(status({{"If-Modified-Since", modified}}), 304);
  EXPECT_EQ(status({{"If-Modified-Since", later}}), 304);
  EXPECT_EQ(status({{"If-Modified-Since", before}}), 200);
  EXPECT_EQ(status({{"If-Modified-Since", "now"}}), 200);
  Reply r = d.get({"GET", "/a", {{"If-None-Match", "\"e\""}}}, always(kUnreachable));
  for (const char* kept : {"etag", "cache-control", "date", "vary"})  // RFC 9110 §15.4.5
    EXPECT_NE(Driver::field(r, kept), "(none)") << kept;
  EXPECT_EQ(Driver::field(r, "content-type"), "(none)");
  EXPECT_EQ(d.origin_fetches, 1);
}

// ---- RFC 9111 §3.3, §3.4; RFC 9110 §14: parts

TEST(CacheRfc, PartsAreCutFromTheWhole) {
  Driver d;
  d.get(kGet, always(ok({{"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}})));
  auto part = [&](Pairs request) {
    Reply r = d.get({"GET", "/a", std::move(request)}, always(kUnreachable));
    return std::to_string(r.status) + " " + r.body;
  };
  EXPECT_EQ(part({{"Range", "bytes=0-1"}}), "206 01");
  EXPECT_EQ(part({{"Range", "bytes=7-"}}), "206 789");
  EXPECT_EQ(part({{"Range", "bytes=-3"}}), "206 789");
  EXPECT_EQ(part({{"Range", "bytes=10-"}}), "416 ");
  EXPECT_EQ(part({{"Range", "lines=1-2"}}), "200 0123456789");
  EXPECT_EQ(part({{"Range", "bytes=0-1"}, {"If-Range", "\"e\""}}), "206 01");
  EXPECT_EQ(part({{"Range", "bytes=0-1"}, {"If-Range", "\"f\""}}), "200 0123456789");
  EXPECT_EQ(part({{"Range", "bytes=0-1"}, {"If-None-Match", "\"e\""}}), "304 ");
  EXPECT_EQ(d.origin_fetches, 1);
}

TEST(CacheRfc, APartIsGoodForWhatLiesInIt) {
  Driver d;
  const Pairs fields{
      {"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}, {"Content-Range", "bytes 4-8/10"}};
  auto ask = [&](const char* range) {
    return d.get({"GET", "/a", {{"Range", range}}}, always(Reply{206, fields, "45678"}));
  };
  EXPECT_EQ(ask("bytes=4-8").body, "45678");
  EXPECT_EQ(ask("bytes=5-6").body, "56");
  EXPECT_EQ(Driver::field(ask("bytes=5-6"), "content-range"), "bytes 5-6/10");
  EXPECT_EQ(d.origin_fetches, 1);
  ask("bytes=8-9");
  EXPECT_EQ(d.origin_fetches, 2);
  d.get(kGet, always(ok({}, "whole")));
  EXPECT_EQ(d.last_lines, "");  // its beginning is not here
}

TEST(CacheRfc, APartThatIsNotAsLongAsItSaysIsForTheSameRangeOnly) {
  Driver d;
  const Pairs fields{
      {"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}, {"Content-Range", "bytes 4-9/10"}};
  auto ask = [&](Pairs request) {
    return d.get({"GET", "/a", std::move(request)}, always(Reply{206, fields, "45678"}));
  };
  ask({{"Range", "bytes=-5"}});
  Reply again = ask({{"Range", "bytes=-5"}});
  EXPECT_EQ(d.origin_fetches, 1);
  EXPECT_EQ(again.status, 206);
  EXPECT_EQ(again.body, "45678");
  EXPECT_EQ(Driver::field(again, "content-range"), "bytes 4-9/10");
  EXPECT_EQ(Driver::field(again, "content-length"), "5");
  ask({{"Range", "bytes=4-5"}});
  EXPECT_EQ(d.origin_fetches, 2);
  ask({{"Range", "bytes=-5"}, {"If-Range", "\"f\""}});
  EXPECT_EQ(d.origin_fetches, 3);
  d.get(kGet, always(ok({}, "whole")));
  EXPECT_EQ(d.origin_fetches, 4);
  d.get({"HEAD", "/a", {{"Range", "bytes=-5"}}}, always(ok({})));
  EXPECT_EQ(d.origin_fetches, 5);
}

TEST(CacheRfc, PartsAreJoinedUnderAStrongValidatorOnly) {
  for (const char* etag : {"\"e\"", "W/\"e\"", ""}) {
    Driver d;
    Pairs fields{{"Cache-Control", "max-age=60"}, {"Content-Range", "bytes 0-4/10"}};
    if (*etag != '\0') fields.emplace_back("ETag", etag);
    d.get({"GET", "/a", {{"Range", "bytes=0-4"}}}, always(Reply{206, fields, "01234"}));
    d.get(kGet, always(ok({}, "whole")));
    EXPECT_EQ(d.last_lines,
              std::string_view(etag) == "\"e\"" ? "Range: bytes=5-\r\nIf-Range: \"e\"\r\n" : "")
        << etag;
  }
}

// ---- RFC 9111 §4.3.5: HEAD

TEST(CacheRfc, AHeadIsAnsweredFromTheGet) {
  Driver d;
  d.get(kGet, always(ok({{"Cache-Control", "max-age=60"}, {"A", "1"}})));
  Reply r = d.get({"HEAD", "/a"}, always(kUnreachable));
  EXPECT_EQ(Driver::field(r, "a"), "1");
  EXPECT_EQ(Driver::field(r, "content-length"), "10");
  EXPECT_EQ(r.body, "");
}

TEST(CacheRfc, AHeadUpdatesWhatItShowsUnchanged) {
  Driver d;
  d.get(kGet,
        always(ok({{"Cache-Control", "max-age=5"}, {"ETag", "\"e\""}, {"A", "1"}, {"B", "1"}})));
  d.sleep(6s);
  d.get({"HEAD", "/a"},
        always(ok({{"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}, {"A", "2"}})));
  d.sleep(59s);
  Reply r = d.get(kGet, always(kUnreachable));
  EXPECT_EQ(r.body, "0123456789");
  EXPECT_EQ(Driver::field(r, "a"), "2");
  EXPECT_EQ(Driver::field(r, "b"), "1");
}

TEST(CacheRfc, AHeadOfSomethingElseMakesItStale) {
  auto stale_after = [](Reply head, Pairs request = {}) {
    Driver d;
    d.policy.honour_request_directives = true;  // so that a HEAD reaches the origin meanwhile
    d.get(kGet, always(ok({{"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}, {"Vary", "V"}})));
    request.emplace_back("Cache-Control", "no-cache");
    d.get({"HEAD", "/a", std::move(request)}, always(std::move(head)));
    d.get(kGet, always(ok({})));
    return d.origin_fetches == 3;
  };
  const Pairs same{{"ETag", "\"e\""}, {"Cache-Control", "max-age=60"}};
  EXPECT_FALSE(stale_after(ok(same)));
  EXPECT_TRUE(stale_after(ok(same, "longer than it was")));
  EXPECT_TRUE(stale_after(ok({{"ETag", "\"f\""}})));
  EXPECT_TRUE(stale_after(ok({{"ETag", "\"e\""}, {"Cache-Control", "no-store"}})));
  EXPECT_FALSE(stale_after(ok({{"ETag", "\"f\""}}), {{"V", "another variant"}}));
  EXPECT_FALSE(stale_after(Reply{404, {}, ""}));
}

// ---- RFC 9111 §4.4: invalidation

TEST(CacheRfc, UnsafeMethodsInvalidateWhatTheyChanged) {
  auto kept_after = [](const Ask& unsafe, const Reply& reply, const char* target) {
    Driver d;
    d.get({"GET", target}, always(ok({{"Cache-Control", "max-age=60"}})));
    d.get(unsafe, always(reply));
    d.get({"GET", target}, always(ok({})));
    return d.origin_fetches == 2;
  };
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "M-SEARCH"}) {
    EXPECT_FALSE(kept_after({method, "/a"}, ok({}), "/a")) << method;
    EXPECT_FALSE(kept_after({method, "/a"}, Reply{303, {}, ""}, "/a")) << method;
    EXPECT_TRUE(kept_after({method, "/a"}, Reply{500, {}, ""}, "/a")) << method;
    EXPECT_TRUE(kept_after({method, "/a"}, Reply{404, {}, ""}, "/a")) << method;
    EXPECT_TRUE(kept_after({method, "/a"}, ok({}), "/b")) << method;
    for (const char* field : {"Location", "Content-Location"}) {
      EXPECT_FALSE(kept_after({method, "/a"}, Reply{201, {{field, "/b"}}, ""}, "/b")) << method;
      EXPECT_FALSE(kept_after({method, "/a"}, Reply{201, {{field, "http://h/b"}}, ""}, "/b"));
      EXPECT_TRUE(kept_after({method, "/a"}, Reply{201, {{field, "http://other/b"}}, ""}, "/b"));
    }
  }
  for (const char* method : {"OPTIONS", "HEAD"})
    EXPECT_TRUE(kept_after({method, "/a"}, Reply{404, {{"Location", "/b"}}, ""}, "/b")) << method;
}

// ---- RFC 9111 §4.2.4, RFC 5861: stale responses

// What comes when the origin cannot be reached `after` the response was stored: 200 or 502.
int when_unreachable(const char* cache_control, Seconds after, const CachePolicy& policy = {}) {
  Driver d;
  d.policy = policy;
  d.get(kGet, always(ok({{"Cache-Control", cache_control}, {"ETag", "\"e\""}})));
  d.sleep(after);
  return d.get(kGet, always(kUnreachable)).status;
}

TEST(CacheRfc, StaleIsServedOnErrorUnlessForbidden) {
  EXPECT_EQ(when_unreachable("max-age=2", 3s), 200);  // the policy's hour
  EXPECT_EQ(when_unreachable("max-age=2", 3602s), 502);
  EXPECT_EQ(when_unreachable("max-age=2, stale-if-error=10", 11s), 200);
  EXPECT_EQ(when_unreachable("max-age=2, stale-if-error=10", 12s), 502);
  for (const char* strict : {"max-age=2, must-revalidate", "max-age=2, proxy-revalidate",
                             "s-maxage=2", "max-age=2, no-cache", "max-age=2, stale-if-error=0",
                             "max-age=2, must-revalidate, stale-if-error=60"})
    EXPECT_EQ(when_unreachable(strict, 3s), 502) << strict;
  CachePolicy never;
  never.stale_if_error = Duration{0};
  EXPECT_EQ(when_unreachable("max-age=2", 3s, never), 502);
}

TEST(CacheRfc, StaleIsServedWhileItIsValidated) {
  Driver d;
  d.get(kGet,
        always(ok({{"Cache-Control", "max-age=2, stale-while-revalidate=4"}, {"ETag", "\"e\""}},
                  "old")));
  d.sleep(3s);
  Reply r = d.get(kGet, [](const std::string& lines) {
    EXPECT_EQ(lines, "If-None-Match: \"e\"\r\n");
    return ok({{"Cache-Control", "max-age=2, stale-while-revalidate=4"}, {"ETag", "\"f\""}}, "new");
  });
  EXPECT_EQ(r.body, "old");
  EXPECT_EQ(Driver::field(r, "age"), "3");
  EXPECT_EQ(d.get(kGet, always(kUnreachable)).body, "new");
  d.sleep(6s);
  EXPECT_EQ(d.get(kGet, always(ok({}, "newest"))).body, "newest");  // the window is over
}

// ---- RFC 9213: CDN-Cache-Control

TEST(CacheRfc, CdnCacheControlHoldsInsteadOfCacheControl) {
  Driver clock;
  const std::string past = clock.date(-100), now = clock.date();
  auto both = [&](const char* targeted, const char* general, Seconds after = 0s) {
    return reused(ok({{"CDN-Cache-Control", targeted}, {"Cache-Control", general}}), {after});
  };
  EXPECT_TRUE(both("max-age=60", "no-store"));
  EXPECT_TRUE(both("max-age=60", "private, max-age=1", 59s));
  EXPECT_FALSE(both("max-age=1", "max-age=60", 1s));
  EXPECT_FALSE(both("no-store", "max-age=60"));
  EXPECT_FALSE(both("private", "max-age=60"));
  EXPECT_FALSE(both("no-cache", "max-age=60"));
  EXPECT_FALSE(both("public", "max-age=60"));  // no lifetime there is no lifetime
  EXPECT_TRUE(reused(ok({{"CDN-Cache-Control", "max-age=60"}, {"Expires", past}, {"Date", now}})));
  EXPECT_FALSE(reused(ok({{"CDN-Cache-Control", "max-age=60"}, {"Age", "60"}})));
  EXPECT_TRUE(reused(ok({{"CDN-Cache-Control", "x"}, {"CDN-Cache-Control", "max-age=60"}})));
  // What is no dictionary, or has a member of a wrong type, does not count.
  for (const char* broken : {"", "max-age=60, &", "max-age=\"60\"", "max-age=60.5", "max-age =60",
                             "Max-Age=60", "max-age=60,", "no-store=1, max-age=60", "max-age=(60)"})
    EXPECT_FALSE(both(broken, "no-store")) << broken;
  EXPECT_TRUE(both("max-age=-1, &", "max-age=60"));
  EXPECT_FALSE(both("max-age=-1", "max-age=60"));
}

TEST(CacheRfc, CdnCacheControlIsPassedOn) {  // §2.3: caches behind us may be targets, too
  Driver d;
  d.get(kGet, always(ok({{"CDN-Cache-Control", "max-age=60"}, {"Cache-Control", "max-age=1"}})));
  d.sleep(5s);
  Reply r = d.get(kGet, always(kUnreachable));
  EXPECT_EQ(Driver::field(r, "cdn-cache-control"), "max-age=60");
  EXPECT_EQ(Driver::field(r, "cache-control"), "max-age=1");
  EXPECT_EQ(Driver::field(r, "age"), "5");
}

// ---- RFC 9111 §5.2.1, §5.4: what a request says

// Whether a response that is 5 s old, and good for 10, is used for a request with these fields.
bool used_for(Pairs request, bool honour) {
  CachePolicy policy;
  policy.honour_request_directives = honour;
  return reused(ok({{"Cache-Control", "max-age=10"}}), {5s, std::move(request)}, policy);
}

TEST(CacheRfc, RequestsCannotPassTheCacheUnlessThePolicyLetsThem) {
  for (const char* cc : {"no-cache", "max-age=0", "max-age=4", "min-fresh=6"}) {
    EXPECT_TRUE(used_for({{"Cache-Control", cc}}, false)) << cc;
    EXPECT_FALSE(used_for({{"Cache-Control", cc}}, true)) << cc;
  }
  for (const char* cc : {"max-age=5", "min-fresh=4", "no-transform", "max-stale", "only-if-cached"})
    EXPECT_TRUE(used_for({{"Cache-Control", cc}}, true)) << cc;
  EXPECT_FALSE(used_for({{"Pragma", "no-cache"}}, true));
  EXPECT_TRUE(used_for({{"Pragma", "no-cache"}, {"Cache-Control", "max-age=9"}}, true));
  EXPECT_TRUE(used_for({{"Pragma", "other"}}, true));
}

TEST(CacheRfc, RequestsMayTakeStaleOrRefuseToWait) {
  CachePolicy policy;
  policy.honour_request_directives = true;
  auto stale_used = [&](const char* first, const char* second) {
    return reused(ok({{"Cache-Control", first}}), {5s, {{"Cache-Control", second}}}, policy);
  };
  EXPECT_TRUE(stale_used("max-age=2", "max-stale=3"));
  EXPECT_FALSE(stale_used("max-age=2", "max-stale=2"));
  EXPECT_TRUE(stale_used("max-age=2", "max-stale"));
  EXPECT_FALSE(stale_used("max-age=2, must-revalidate", "max-stale"));
  EXPECT_FALSE(
      reused(ok({{"Cache-Control", "max-age=60"}}), {}, policy, {{"Cache-Control", "no-store"}}));
  Driver d;
  d.policy = policy;
  EXPECT_EQ(d.get({"GET", "/a", {{"Cache-Control", "only-if-cached"}}}, always(ok({}))).status,
            504);
  EXPECT_EQ(d.origin_fetches, 0);
}

TEST(CacheRfc, PragmaOfAResponseMeansNothing) {
  EXPECT_TRUE(reused(ok({{"Cache-Control", "max-age=60"}, {"Pragma", "no-cache"}})));
}

// ---- RFC 9211: Cache-Status

TEST(CacheRfc, CacheStatusSaysWhatWasDone) {
  Driver d;
  auto status = [&](const Ask& ask, const Reply& reply) {
    return Driver::field(d.get(ask, always(reply)), "cache-status");
  };
  const Reply fresh = ok({{"Cache-Control", "max-age=10"}, {"ETag", "\"e\""}});
  EXPECT_EQ(status(kGet, fresh), "leeward; fwd=miss; fwd-status=200; stored");
  d.sleep(4s);
  EXPECT_EQ(status(kGet, fresh), "leeward; hit; ttl=6");
  d.sleep(8s);
  EXPECT_EQ(status(kGet, kUnreachable), "leeward; fwd=stale; detail=origin-unreachable");
  d.sleep(2s);
  EXPECT_EQ(status(kGet, Reply{304, {{"ETag", "\"e\""}}, ""}),
            "leeward; fwd=stale; fwd-status=304; stored");
}

}  // namespace
}  // namespace leeward::edge
