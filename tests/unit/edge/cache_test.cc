// The cache as a loop sees it: who goes to the origin, who waits, what is served. The rules
// themselves are in cache_core_test.cc.
#include "edge/cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "cache_driver.h"
#include "edge/internal/cache_purge.h"

namespace leeward::edge {
namespace {

using Kind = CacheDecision::Kind;
using Seconds = std::chrono::seconds;

Reply ok(std::string body, std::vector<std::pair<std::string, std::string>> fields = {
                               {"Cache-Control", "max-age=60"}}) {
  return Reply{200, std::move(fields), std::move(body)};
}
std::function<Reply(const std::string&)> always(Reply r) {
  return [r](const std::string&) { return r; };
}
Reply unreachable() { return Reply{0, {}, ""}; }

TEST(HttpCache, ServesAHitWithItsAgeAndSaysSo) {
  Driver d;
  d.get({"GET", "/a"}, always(ok("body", {{"Cache-Control", "max-age=60"}, {"Date", d.date()}})));
  d.sleep(Seconds(7));
  Reply r = d.get({"GET", "/a"}, always(ok("other")));
  EXPECT_EQ(d.origin_fetches, 1);
  EXPECT_EQ(r.body, "body");
  EXPECT_EQ(Driver::field(r, "age"), "7");
  EXPECT_EQ(Driver::field(r, "date"), d.date(-7));
  EXPECT_EQ(Driver::field(r, "cache-status"), "leeward; hit; ttl=53");
  EXPECT_EQ(Driver::field(r, "content-length"), "4");
  Reply head = d.get({"HEAD", "/a"}, always(ok("")));
  EXPECT_EQ(Driver::field(head, "content-length"), "4");
  EXPECT_EQ(head.body, "");
  d.sleep(Seconds(60));
  EXPECT_EQ(d.get({"GET", "/a"}, always(ok("new"))).body, "new");
  EXPECT_EQ(d.get({"GET", "/a?x"}, always(ok("query"))).body, "query");
  EXPECT_EQ(d.get({"GET", "/a", {}, "other"}, always(ok("host"))).body, "host");
}

TEST(HttpCache, AHundredColdRequestsAreOneFetch) {
  Driver d;
  CacheDecision leader = d.look({"GET", "/herd"}, 1);
  ASSERT_EQ(leader.kind, Kind::kFetch);
  for (std::uint64_t i = 2; i <= 100; ++i) EXPECT_EQ(d.look({"GET", "/herd"}, i).kind, Kind::kWait);
  CacheAnswer first;
  Reply head = ok("", {{"Cache-Control", "max-age=60"}});
  head.body = "0123456789";
  ASSERT_EQ(d.respond(*leader.fill, head, first), Fill::Start::kStore);
  EXPECT_EQ(d.tokens_woken(), 99u);
  // They read along while the body arrives.
  leader.fill->append("01234", {&d, 1});
  CacheDecision follower = d.look({"GET", "/herd"}, 2);
  ASSERT_EQ(follower.kind, Kind::kServe);
  EXPECT_EQ(follower.answer.size, 10u);
  Body::Piece p = follower.answer.body->read(0, {&d, 2});
  EXPECT_EQ(std::string_view(p.data, p.size), "01234");
  EXPECT_EQ(follower.answer.body->read(5, {&d, 222}).kind, Body::Piece::Kind::kWait);
  leader.fill->append("56789", {&d, 1});
  EXPECT_EQ(d.woken(222), 1);
  leader.fill->finish();
  EXPECT_EQ(d.read(follower.answer).body, "0123456789");
  EXPECT_EQ(d.read(first).body, "0123456789");
  EXPECT_EQ(d.look({"GET", "/herd"}).kind, Kind::kServe);
}

TEST(HttpCache, WaitersOfWhatCannotBeSharedGoOnAllAtOnce) {
  Driver d;
  CacheDecision leader = d.look({"GET", "/me"}, 1);
  EXPECT_EQ(d.look({"GET", "/me"}, 2).kind, Kind::kWait);
  EXPECT_EQ(d.look({"GET", "/me"}, 3).kind, Kind::kWait);
  CacheAnswer unused;
  EXPECT_EQ(d.respond(*leader.fill, ok("x", {{"Cache-Control", "private"}}), unused),
            Fill::Start::kPass);
  EXPECT_EQ(d.woken(2) + d.woken(3), 2);
  CacheDecision two = d.look({"GET", "/me"}, 2), three = d.look({"GET", "/me"}, 3);
  EXPECT_EQ(two.kind, Kind::kFetch);
  EXPECT_EQ(three.kind, Kind::kFetch);
}

TEST(HttpCache, AFetchThatIsGivenUpWakesTheNext) {
  Driver d;
  CacheDecision leader = d.look({"GET", "/a"}, 1);
  EXPECT_EQ(d.look({"GET", "/a"}, 2).kind, Kind::kWait);
  leader.fill.reset();
  EXPECT_EQ(d.woken(2), 1);
  EXPECT_EQ(d.look({"GET", "/a"}, 2).kind, Kind::kFetch);
}

TEST(HttpCache, ABodyThatBreaksOffIsNotKept) {
  Driver d;
  CacheDecision leader = d.look({"GET", "/a"}, 1);
  CacheAnswer answer;
  Reply r = ok("0123456789");
  d.respond(*leader.fill, r, answer);
  CacheDecision follower = d.look({"GET", "/a"}, 2);
  leader.fill->append("012", {&d, 1});
  leader.fill->abort();
  EXPECT_EQ(d.read(follower.answer).status, -1);
  EXPECT_EQ(d.look({"GET", "/a"}, 3).kind, Kind::kFetch);
  // Nor one that is shorter than it said.
  CacheDecision again = d.look({"GET", "/b"}, 1);
  d.respond(*again.fill, r, answer);
  again.fill->append("012", {&d, 1});
  again.fill->finish();
  EXPECT_EQ(d.look({"GET", "/b"}, 3).kind, Kind::kFetch);
  EXPECT_EQ(d.cache.stats().bytes, 0u);
}

TEST(HttpCache, ValidatesWhatIsStaleAndKeepsTheBytes) {
  Driver d;
  std::string large(100'000, 'x');
  for (const std::string& body : {std::string("small"), large}) {
    Ask ask{"GET", "/v" + std::to_string(body.size())};
    d.get(ask, always(ok(body, {{"Cache-Control", "max-age=2"},
                                {"ETag", "\"1\""},
                                {"A", "1"},
                                {"Last-Modified", d.date(-9)}})));
    d.sleep(Seconds(3));
    Reply r = d.get(ask, [&](const std::string& lines) {
      EXPECT_EQ(lines, "If-None-Match: \"1\"\r\nIf-Modified-Since: " + d.date(-12) + "\r\n");
      return Reply{304, {{"ETag", "\"1\""}, {"A", "2"}, {"Cache-Control", "max-age=9"}}, ""};
    });
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.body, body);
    EXPECT_EQ(Driver::field(r, "a"), "2");
    EXPECT_EQ(Driver::field(r, "cache-status"), "leeward; fwd=stale; fwd-status=304; stored");
    d.sleep(Seconds(8));
    EXPECT_EQ(d.get(ask, always(unreachable())).body, body);  // fresh by the 304's lifetime
  }
}

// A 304 is an answer to one client as any other is.
TEST(HttpCache, WhatAValidationBringsForOneClientIsNotGivenToOthers) {
  for (const bool head : {false, true}) {
    Driver d;
    const Pairs fresh = {{"Cache-Control", "max-age=10"}, {"ETag", "\"e\""}};
    d.get({"GET", "/page"}, always(ok("page", fresh)));
    d.sleep(Seconds(20));
    Pairs with_cookie = fresh;
    with_cookie.emplace_back("Set-Cookie", "session=of-the-first");
    const Reply first = d.get({head ? "HEAD" : "GET", "/page"},
                              always(Reply{head ? 200 : 304, with_cookie, "", head}));
    EXPECT_EQ(Driver::field(first, "set-cookie"), "session=of-the-first");
    const Reply second = d.get({"GET", "/page"}, always(unreachable()));
    EXPECT_EQ(second.body, "page");
    EXPECT_EQ(Driver::field(second, "set-cookie"), "(none)");
  }
}

TEST(HttpCache, AValidationMaySayThatItIsNobodyElsesAnyMore) {
  for (const auto& [name, value] :
       Pairs{{"Cache-Control", "private, max-age=60"}, {"Vary", "*"}, {"Vary", "X-New"}}) {
    Driver d;
    d.get({"GET", "/page"},
          always(ok("page", {{"Cache-Control", "max-age=10"}, {"ETag", "\"e\""}})));
    d.sleep(Seconds(20));
    Reply same{304, {{"ETag", "\"e\""}, {name, value}}, ""};
    if (name != "Cache-Control") same.fields.emplace_back("Cache-Control", "max-age=60");
    EXPECT_EQ(d.get({"GET", "/page"}, always(same)).body, "page");
    EXPECT_EQ(d.look({"GET", "/page"}).kind, Kind::kFetch) << name << ": " << value;
  }
}

TEST(HttpCache, AnswersConditionsAndRangesItself) {
  Driver d;
  d.get({"GET", "/a"},
        always(ok("0123456789",
                  {{"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}, {"Content-Type", "t/p"}})));
  auto ask = [&](std::string name, std::string value) {
    return d.get({"GET", "/a", {{std::move(name), std::move(value)}}}, always(unreachable()));
  };
  Reply same = ask("If-None-Match", "W/\"e\"");
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(Driver::field(same, "etag"), "\"e\"");
  EXPECT_EQ(Driver::field(same, "content-length"), "(none)");
  Reply part = ask("Range", "bytes=2-4");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "234");
  EXPECT_EQ(Driver::field(part, "content-range"), "bytes 2-4/10");
  EXPECT_EQ(Driver::field(part, "content-length"), "3");
  EXPECT_EQ(Driver::field(part, "content-type"), "t/p");
  Reply outside = ask("Range", "bytes=10-");
  EXPECT_EQ(outside.status, 416);
  EXPECT_EQ(Driver::field(outside, "content-range"), "bytes */10");
  EXPECT_EQ(ask("Range", "bytes=0-1,4-5").status, 200);
  EXPECT_EQ(d.origin_fetches, 1);
  EXPECT_EQ(d.look({"GET", "/a", {{"If-Match", "\"e\""}}}).kind, Kind::kPass);
}

TEST(HttpCache, StoresPartsAndCompletesThem) {
  Driver d;
  const std::vector<std::pair<std::string, std::string>> part = {
      {"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}, {"Content-Range", "bytes 0-4/10"}};
  Ask first{"GET", "/p", {{"Range", "bytes=0-4"}}};
  Reply r = d.get(first, [&](const std::string& lines) {
    EXPECT_EQ(lines, "Range: bytes=0-4\r\n");
    return Reply{206, part, "01234"};
  });
  EXPECT_EQ(r.status, 206);
  EXPECT_EQ(r.body, "01234");
  EXPECT_EQ(Driver::field(r, "content-range"), "bytes 0-4/10");
  EXPECT_EQ(d.get({"GET", "/p", {{"Range", "bytes=2-3"}}}, always(unreachable())).body, "23");
  EXPECT_EQ(d.origin_fetches, 1);
  Reply whole = d.get({"GET", "/p"}, [&](const std::string& lines) {
    EXPECT_EQ(lines, "Range: bytes=5-\r\nIf-Range: \"e\"\r\n");
    return Reply{
        206,
        {{"Cache-Control", "max-age=60"}, {"ETag", "\"e\""}, {"Content-Range", "bytes 5-9/10"}},
        "56789"};
  });
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body, "0123456789");
  EXPECT_EQ(Driver::field(whole, "content-range"), "(none)");
  EXPECT_EQ(d.get({"GET", "/p"}, always(unreachable())).body, "0123456789");
}

TEST(HttpCache, KeepsVariantsApart) {
  Driver d;
  auto reply = [](std::string body) {
    return always(ok(std::move(body), {{"Cache-Control", "max-age=60"}, {"Vary", "Foo, Bar"}}));
  };
  d.get({"GET", "/v", {{"Foo", "1"}}}, reply("one"));
  d.get({"GET", "/v", {{"Foo", "2"}}}, reply("two"));
  d.get({"GET", "/v"}, reply("none"));
  EXPECT_EQ(d.get({"GET", "/v", {{"Foo", "1"}, {"X", "y"}}}, reply("")).body, "one");
  EXPECT_EQ(d.get({"GET", "/v", {{"foo", "2"}}}, reply("")).body, "two");
  EXPECT_EQ(d.get({"GET", "/v"}, reply("")).body, "none");
  EXPECT_EQ(d.origin_fetches, 3);
  EXPECT_EQ(d.get({"GET", "/v", {{"Foo", "1"}, {"Bar", "1"}}}, reply("both")).body, "both");
  // Two variants are two fetches at once: neither waits for the other.
  EXPECT_EQ(d.look({"GET", "/v", {{"Foo", "8"}}}, 8).kind, Kind::kFetch);
  EXPECT_EQ(d.look({"GET", "/v", {{"Foo", "9"}}}, 9).kind, Kind::kFetch);
}

TEST(HttpCache, ServesStaleWhileOneValidates) {
  Driver d;
  d.get({"GET", "/s"},
        always(ok("old", {{"Cache-Control", "max-age=2, stale-while-revalidate=30"}})));
  d.sleep(Seconds(3));
  CacheDecision first = d.look({"GET", "/s"}, 1), second = d.look({"GET", "/s"}, 2);
  EXPECT_EQ(first.kind, Kind::kServe);
  EXPECT_NE(first.fill, nullptr);
  EXPECT_EQ(second.kind, Kind::kServe);
  EXPECT_EQ(second.fill, nullptr);
  EXPECT_EQ(d.read(second.answer).body, "old");
  CacheAnswer ignored;
  d.feed(*first.fill, ok("new"), ignored);
  EXPECT_EQ(d.get({"GET", "/s"}, always(unreachable())).body, "new");
}

TEST(HttpCache, ServesStaleWhenTheOriginFailsAndSparesItForASecond) {
  Driver d;
  d.policy.stale_if_error = Seconds(100);
  d.get({"GET", "/s"}, always(ok("old", {{"Cache-Control", "max-age=2"}})));
  d.get({"GET", "/m"}, always(ok("old", {{"Cache-Control", "max-age=2, must-revalidate"}})));
  d.sleep(Seconds(3));
  Reply r = d.get({"GET", "/s"}, always(unreachable()));
  EXPECT_EQ(r.body, "old");
  EXPECT_EQ(Driver::field(r, "cache-status"), "leeward; fwd=stale; detail=origin-unreachable");
  EXPECT_EQ(d.get({"GET", "/m"}, always(unreachable())).status, 502);
  int before = d.origin_fetches;
  EXPECT_EQ(d.get({"GET", "/s"}, always(unreachable())).body, "old");
  EXPECT_EQ(d.origin_fetches, before);
  d.sleep(Seconds(2));
  EXPECT_EQ(d.get({"GET", "/s"}, always(Reply{503, {}, "sorry"})).body, "old");
  EXPECT_EQ(d.origin_fetches, before + 1);
  d.sleep(Seconds(100));
  EXPECT_EQ(d.get({"GET", "/s"}, always(Reply{503, {}, "sorry"})).status, 503);
}

TEST(HttpCache, UnsafeRequestsInvalidateEvenWhatIsOnItsWay) {
  Driver d;
  d.get({"GET", "/x"}, always(ok("1")));
  d.get({"GET", "/y"}, always(ok("1")));
  CacheDecision running = d.look({"GET", "/z"}, 1);
  CacheAnswer answer;
  d.respond(*running.fill, ok("12345"), answer);
  Reply r{201, {{"Location", "/y"}, {"Content-Location", "http://h/z"}}, ""};
  d.get({"POST", "/x"}, always(r));
  EXPECT_EQ(d.look({"GET", "/x"}).kind, Kind::kFetch);
  EXPECT_EQ(d.look({"GET", "/y"}).kind, Kind::kFetch);
  running.fill->append("12345", {&d, 1});
  running.fill->finish();
  EXPECT_EQ(d.read(answer).body, "12345");  // who asked before gets it
  EXPECT_EQ(d.look({"GET", "/z"}).kind, Kind::kFetch);
  d.get({"GET", "/x"}, always(ok("2")));
  d.get({"DELETE", "/x"}, always(Reply{500, {}, ""}));
  EXPECT_EQ(d.look({"GET", "/x"}).kind, Kind::kServe);
}

TEST(HttpCache, InvalidationGoesByThePolicysKey) {
  Driver d;
  d.policy.query = QueryKey::kNone;
  d.get({"GET", "/p?x=1"}, always(ok("1")));
  EXPECT_EQ(d.look({"GET", "/p?x=2"}).kind, Kind::kServe);
  d.get({"POST", "/p?x=1"}, always(Reply{200, {}, ""}));
  EXPECT_EQ(d.look({"GET", "/p?x=2"}).kind, Kind::kFetch);
}

// A rest of another representation is never glued on.
TEST(HttpCache, ACompletionThatDoesNotFitIsAskedForAsAWhole) {
  Driver d;
  const Pairs part = {{"Cache-Control", "max-age=60"}, {"ETag", "\"1\""}};
  Reply beginning{206, part, "01234"};
  beginning.fields.emplace_back("Content-Range", "bytes 0-4/10");
  d.get({"GET", "/film", {{"Range", "bytes=0-4"}}}, always(beginning));
  int asked = 0;
  Reply r = d.get({"GET", "/film"}, [&](const std::string& lines) {
    ++asked;
    if (lines.find("Range: bytes=5-") == std::string::npos) return ok("abcdefghij");
    Reply other{206, part, "fghij"};  // of another representation, though If-Range said which
    other.fields[1].second = "\"2\"";
    other.fields.emplace_back("Content-Range", "bytes 5-9/10");
    return other;
  });
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.body, "abcdefghij");
  EXPECT_EQ(asked, 2);
}

TEST(HttpCache, PurgesReadBackBeyondTheirBoundTakeWhatIsOlder) {
  PurgeRules rules;
  std::uint64_t number = 0;
  for (; number < PurgeRules::kTagsMax; ++number)
    rules.restore_tag(number + 1, number + 1, PurgeKind::kHard);
  const std::uint64_t one_more = number + 1;
  rules.restore_tag(one_more, one_more, PurgeKind::kHard);
  rules.restore_sequence(one_more);
  StoredObject::Parts parts;
  parts.key_text = "h/a";
  parts.url_size = 3;
  parts.tags = {one_more};
  parts.purge_sequence = number;  // stored before the last purge
  StoredObject purged(parts);
  EXPECT_FALSE(rules.check(purged));
  parts.purge_sequence = one_more;
  StoredObject newer(parts);
  EXPECT_TRUE(rules.check(newer));
}

TEST(HttpCache, PurgesByUrlKeyAndPrefix) {
  Driver d;
  auto tagged = [](std::string tags) {
    return always(ok("b", {{"Cache-Control", "max-age=60, stale-while-revalidate=60"},
                           {"Surrogate-Key", std::move(tags)}}));
  };
  auto fill_all = [&] {
    d.get({"GET", "/img/a"}, tagged("red blue"));
    d.get({"GET", "/img/b"}, tagged("blue"));
    d.get({"GET", "/doc"}, tagged("green"));
  };
  auto kept = [&](const char* target) { return d.look({"GET", target}).kind == Kind::kServe; };
  using K = PurgeRequest::Kind;
  fill_all();
  EXPECT_EQ(*d.cache.purge({K::kUrl, "http://H/doc", false}), 1u);
  EXPECT_FALSE(kept("/doc"));
  ASSERT_TRUE(d.cache.purge({K::kTag, "red", false}));
  EXPECT_FALSE(kept("/img/a"));
  EXPECT_TRUE(kept("/img/b"));
  fill_all();
  EXPECT_TRUE(kept("/img/a"));  // stored after the purge
  CacheDecision running = d.look({"GET", "/img/c"});
  ASSERT_TRUE(d.cache.purge({K::kPrefix, "h/img/", false}));
  EXPECT_FALSE(kept("/img/a"));
  EXPECT_TRUE(kept("/doc"));
  CacheAnswer answer;  // asked for before the purge, answered after it
  d.feed(*running.fill, ok("old"), answer);
  EXPECT_FALSE(kept("/img/c"));
  fill_all();
  ASSERT_TRUE(d.cache.purge({K::kTag, "blue", true}));
  CacheDecision soft = d.look({"GET", "/img/b"});
  EXPECT_EQ(soft.kind, Kind::kServe);
  EXPECT_NE(soft.fill, nullptr);  // stale: validated behind it
  ASSERT_TRUE(d.cache.purge({K::kAll, "", false}));
  EXPECT_FALSE(kept("/doc"));
  EXPECT_FALSE(d.cache.purge({K::kTag, "", false}));
}

TEST(HttpCache, PurgeRulesDoNotPileUp) {
  Driver d;
  d.get({"GET", "/kept"},
        always(ok("b", {{"Cache-Control", "max-age=60"}, {"Cache-Tag", "k, z"}})));
  CacheDecision running = d.look({"GET", "/running"});
  for (int i = 0; i < 1100; ++i) {
    ASSERT_TRUE(d.cache.purge({PurgeRequest::Kind::kPrefix, "other/" + std::to_string(i), false}));
  }
  EXPECT_EQ(d.look({"GET", "/kept"}).kind, Kind::kServe);
  CacheAnswer answer;  // it began before rules that are forgotten by now: not trusted
  d.feed(*running.fill, ok("x"), answer);
  EXPECT_EQ(d.look({"GET", "/running"}).kind, Kind::kFetch);
  ASSERT_TRUE(d.cache.purge({PurgeRequest::Kind::kTag, "z", false}));
  EXPECT_EQ(d.look({"GET", "/kept"}).kind, Kind::kFetch);
}

TEST(HttpCache, KeyFollowsThePolicy) {
  Driver d;
  d.policy.query = QueryKey::kAllow;
  d.policy.query_names = {"id", "page"};
  d.policy.sort_query = true;
  d.policy.key_cookies = {"lang"};
  d.policy.bypass_cookies = {"session"};
  d.get({"GET", "/k?page=2&id=1&utm=x", {{"Cookie", "a=b; lang=de"}}}, always(ok("de")));
  EXPECT_EQ(d.get({"GET", "/k?id=1&utm=y&page=2", {{"Cookie", "lang=de"}}}, always(ok(""))).body,
            "de");
  EXPECT_EQ(d.get({"GET", "/k?id=1&page=2", {{"Cookie", "lang=fr"}}}, always(ok("fr"))).body, "fr");
  EXPECT_EQ(d.look({"GET", "/k?id=1&page=2", {{"Cookie", "session=1; lang=de"}}}).kind,
            Kind::kPass);
  EXPECT_EQ(*d.cache.purge({PurgeRequest::Kind::kUrl, "h/k?id=1&page=2", false}), 2u);
}

TEST(HttpCache, CompressesInTheBackgroundForThoseWhoTakeIt) {
  Driver d;
  std::string text;
  for (int i = 0; i < 500; ++i) text += "the same words again and again ";
  d.get({"GET", "/t"}, always(ok(text, {{"Cache-Control", "max-age=600"},
                                        {"Content-Type", "text/html; charset=utf-8"},
                                        {"ETag", "\"s\""}})));
  for (auto [accept, coding] :
       {std::pair("gzip", "gzip"), {"zstd;q=0.1", "zstd"}, {"gzip, br", "br"}}) {
    Ask ask{"GET", "/t", {{"Accept-Encoding", accept}}};
    Reply r;
    for (int tries = 0; tries < 5000; ++tries) {
      r = d.get(ask, always(unreachable()));
      if (Driver::field(r, "content-encoding") == coding) break;
      usleep(1000);
    }
    EXPECT_EQ(Driver::field(r, "content-encoding"), coding);
    EXPECT_LT(r.body.size(), text.size() / 10);
    EXPECT_EQ(Driver::field(r, "etag"), "W/\"s\"");
    EXPECT_EQ(Driver::field(r, "vary"), "Accept-Encoding");
    EXPECT_EQ(Driver::field(r, "content-length"), std::to_string(r.body.size()));
  }
  EXPECT_EQ(d.get({"GET", "/t"}, always(unreachable())).body, text);
  d.cache.purge({PurgeRequest::Kind::kUrl, "h/t", false});
  EXPECT_EQ(d.look({"GET", "/t", {{"Accept-Encoding", "br"}}}).kind, Kind::kFetch);
}

TEST(HttpCache, ACompressedFormIsNeverValidatedInPlaceOfThePlainOne) {
  Driver d;
  d.policy.honour_request_directives = true;
  const std::string text(5000, 't');
  d.get({"GET", "/t"}, always(ok(text, {{"Cache-Control", "max-age=600"},
                                        {"Content-Type", "text/plain"},
                                        {"ETag", "\"s\""}})));
  Ask ask{"GET", "/t", {{"Accept-Encoding", "gzip"}}};
  for (int tries = 0; tries < 5000; ++tries) {
    if (Driver::field(d.get(ask, always(unreachable())), "content-encoding") == "gzip") break;
    usleep(1000);
  }
  ask.fields.emplace_back("Cache-Control", "no-cache");
  d.get(ask, always(Reply{304, {{"ETag", "\"s\""}}, ""}));
  EXPECT_EQ(d.last_lines, "If-None-Match: \"s\"\r\n");
  Reply plain = d.get({"GET", "/t"}, always(unreachable()));
  EXPECT_EQ(Driver::field(plain, "content-encoding"), "(none)");
  EXPECT_EQ(plain.body, text);
}

TEST(HttpCache, ABodyTooLargeToKeepFlowsThroughAWindow) {
  CacheOptions options;
  options.memory_bytes_max = 8u << 20;
  Driver d(options);
  d.policy.object_bytes_max = 1u << 20;
  CacheDecision leader = d.look({"GET", "/big"}, 1);
  Reply head = ok("x");
  head.chunked = true;
  CacheAnswer answer;
  ASSERT_EQ(d.respond(*leader.fill, head, answer), Fill::Start::kStore);
  std::string chunk(64u << 10, 'c');
  std::uint64_t sent = 0, read = 0;
  bool paused = false;
  while (sent < (16u << 20)) {
    Fill::More more = leader.fill->append(chunk, {&d, 42});
    sent += chunk.size();
    ASSERT_NE(more, Fill::More::kStop);
    if (more != Fill::More::kPause) continue;
    paused = true;
    EXPECT_LT(sent - read, 4u << 20);
    int before = d.woken(42);
    while (d.woken(42) == before) {
      Body::Piece p = answer.body->read(read, {&d, 7});
      ASSERT_EQ(p.kind, Body::Piece::Kind::kMemory);
      read += p.size;
    }
  }
  EXPECT_TRUE(paused);
  EXPECT_LE(d.cache.stats().bytes, options.memory_bytes_max);
  EXPECT_EQ(d.look({"GET", "/big"}).kind, Kind::kFetch);
  answer = {};
  EXPECT_EQ(leader.fill->append(chunk, {&d, 42}), Fill::More::kStop);
}

TEST(HttpCache, ManyLoopsAtOnceNeverSeeAnothersBytes) {
  CacheOptions options;
  options.memory_bytes_max = 256u << 10;
  HttpCache cache(options);
  std::atomic<int> wrong{0};
  auto loop = [&](unsigned seed) {
    struct Idle final : Wakeup {
      void wake(std::uint64_t) override {}
    } idle;
    CachePolicy policy;
    Now now{BootTime{} + std::chrono::hours(1), WallTime{} + Seconds(kEpochSeconds)};
    for (unsigned i = 0; i < 3000; ++i) {
      seed = seed * 1664525 + 1013904223;
      std::string target = "/" + std::to_string(seed >> 24);
      RequestView r;
      r.scheme = "http";
      r.host = "h";
      r.target = target;
      CacheDecision d;
      cache.lookup(r, policy, now, {&idle, 1}, d);
      std::string body(100 + (seed >> 24) * 40, static_cast<char>('a' + (seed >> 24) % 26));
      CacheAnswer answer = d.answer;
      if (d.kind == Kind::kFetch) {
        Field cc{"Cache-Control", "max-age=60"};
        ResponseView response{200, Fields(&cc, 1), body.size(), true};
        d.fill->on_response(response, now, answer);
        d.fill->append(body, {&idle, 2});
        d.fill->finish();
      } else if (d.kind != Kind::kServe) {
        continue;
      }
      std::uint64_t at = 0;
      while (at < body.size()) {
        Body::Piece p = answer.body->read(at, {&idle, 3});
        if (p.kind != Body::Piece::Kind::kMemory) break;
        if (std::string_view(p.data, p.size) != std::string_view(body).substr(at, p.size)) ++wrong;
        at += p.size;
      }
      if (i % 500 == 0) cache.purge({PurgeRequest::Kind::kUrl, "h" + target, false});
    }
  };
  std::thread one(loop, 1u), two(loop, 2u), three(loop, 3u);
  one.join();
  two.join();
  three.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(cache.stats().bytes, options.memory_bytes_max);
}

}  // namespace
}  // namespace leeward::edge
