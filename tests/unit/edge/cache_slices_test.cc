// Large objects in slices: what the origin is asked, and what clients get.
#include "edge/internal/cache_slices.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "cache_driver.h"
#include "edge/internal/cache_range.h"

namespace leeward::edge {
namespace {

constexpr std::uint64_t kSlice = 1000;

std::string bytes(std::size_t size, char seed = 'a') {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    out[i] = static_cast<char>(seed + static_cast<char>(i / 7 % 20));
  return out;
}

std::string asked(const std::string& lines, std::string_view name) {
  return std::string(find_line(lines, name));
}

// Answers as a file server does (RFC 9110 §13, §14) and keeps what it was asked.
struct FileServer {
  std::string body;
  std::string etag = "\"v1\"";
  std::string cache_control = "max-age=60";
  bool ranges = true;
  std::vector<std::string> ranges_asked;
  std::vector<std::uint64_t> sent;

  Reply operator()(const std::string& lines) {
    ranges_asked.push_back(asked(lines, "range"));
    Reply r{200, {{"ETag", etag}, {"Cache-Control", cache_control}}, body};
    if (!etag.empty() && asked(lines, "if-none-match") == etag) return with(304, {}, r);
    const auto spec = parse_range(asked(lines, "range"));
    const std::string if_range = asked(lines, "if-range");
    if (!ranges || !spec || (!if_range.empty() && if_range != etag)) return with(200, body, r);
    const auto range = resolve(*spec, body.size());
    if (!range) {
      r.fields.emplace_back("Content-Range", "bytes */" + std::to_string(body.size()));
      return with(416, {}, r);
    }
    r.fields.emplace_back("Content-Range", "bytes " + std::to_string(range->first) + "-" +
                                               std::to_string(range->last) + "/" +
                                               std::to_string(body.size()));
    return with(206, body.substr(range->first, range->size()), r);
  }
  Reply with(int status, std::string content, Reply r) {
    r.status = status;
    r.body = std::move(content);
    sent.push_back(r.body.size());
    return r;
  }
};

struct Sliced : Driver {
  explicit Sliced(std::size_t size, CacheOptions options = {}) : Driver(std::move(options)) {
    policy.slice_bytes = kSlice;
    policy.object_bytes_max = size / 2 + kSlice;  // the whole is no object
    server.body = bytes(size);
  }
  Reply ask(Pairs fields = {}, std::string method = "GET") {
    server.ranges_asked.clear();
    server.sent.clear();
    return get({std::move(method), "/big", std::move(fields)},
               [this](const std::string& lines) { return server(lines); });
  }
  FileServer server;
};

TEST(CacheSlices, TheWholeIsFetchedInSlicesOnceAndServedFromThem) {
  Sliced d(3500);
  Reply r = d.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == d.server.body);
  EXPECT_EQ(Driver::field(r, "content-length"), "3500");
  EXPECT_EQ(Driver::field(r, "content-range"), "(none)");
  EXPECT_EQ(d.server.ranges_asked,
            (std::vector<std::string>{"bytes=0-999", "bytes=1000-1999", "bytes=2000-2999",
                                      "bytes=3000-3999"}));
  r = d.ask();
  EXPECT_TRUE(r.body == d.server.body);
  EXPECT_TRUE(d.server.ranges_asked.empty());
}

TEST(CacheSlices, ARangeCostsTheOriginOnlyTheSlicesThatItTouches) {
  Sliced d(100'000);
  Reply r = d.ask({{"Range", "bytes=50500-51100"}});
  EXPECT_EQ(r.status, 206);
  EXPECT_TRUE(r.body == d.server.body.substr(50'500, 601));
  EXPECT_EQ(Driver::field(r, "content-range"), "bytes 50500-51100/100000");
  EXPECT_EQ(Driver::field(r, "content-length"), "601");
  EXPECT_EQ(d.server.ranges_asked,
            (std::vector<std::string>{"bytes=50000-50999", "bytes=51000-51999"}));
  r = d.ask({{"Range", "bytes=51999-52000"}});
  EXPECT_TRUE(r.body == d.server.body.substr(51'999, 2));
  EXPECT_EQ(d.server.ranges_asked, (std::vector<std::string>{"bytes=52000-52999"}));
  // From the end: the manifest knows the length.
  r = d.ask({{"Range", "bytes=-1"}});
  EXPECT_EQ(Driver::field(r, "content-range"), "bytes 99999-99999/100000");
  EXPECT_EQ(d.server.ranges_asked, (std::vector<std::string>{"bytes=99000-99999"}));
  r = d.ask({{"Range", "bytes=100000-"}});
  EXPECT_EQ(r.status, 416);
  EXPECT_EQ(Driver::field(r, "content-range"), "bytes */100000");
  EXPECT_TRUE(d.server.ranges_asked.empty());
}

TEST(CacheSlices, ASuffixOfSomethingUnknownCostsTheFirstSliceAsWell) {
  Sliced d(100'000);
  Reply r = d.ask({{"Range", "bytes=-600"}});
  EXPECT_EQ(r.status, 206);
  EXPECT_TRUE(r.body == d.server.body.substr(99'400));
  EXPECT_EQ(d.server.ranges_asked, (std::vector<std::string>{"bytes=0-999", "bytes=99000-99999"}));
}

TEST(CacheSlices, WhatFitsIntoOneSliceIsAnObjectLikeOthers) {
  Sliced d(999);
  Reply r = d.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == d.server.body);
  EXPECT_EQ(Driver::field(r, "content-length"), "999");
  r = d.ask({{"Range", "bytes=5-6"}});
  EXPECT_EQ(r.status, 206);
  EXPECT_TRUE(d.server.ranges_asked.empty());
  Sliced empty(0);  // an origin has no range to give of nothing
  r = empty.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(empty.server.ranges_asked, (std::vector<std::string>{"bytes=0-999", ""}));
}

TEST(CacheSlices, OriginsThatCannotBeCutAreAskedForTheWhole) {
  Sliced weak(5000);
  weak.policy.object_bytes_max = 5000;
  weak.server.etag = "W/\"v1\"";
  Reply r = weak.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == weak.server.body);
  EXPECT_EQ(weak.server.ranges_asked, (std::vector<std::string>{"bytes=0-999", ""}));
  r = weak.ask();
  EXPECT_TRUE(r.body == weak.server.body);
  EXPECT_TRUE(weak.server.ranges_asked.empty());  // stored whole

  Sliced plain(5000);
  plain.server.ranges = false;
  r = plain.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == plain.server.body);
  EXPECT_EQ(plain.server.ranges_asked.size(), 1u);

  Sliced secret(5000);
  secret.server.cache_control = "no-store";
  r = secret.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == secret.server.body);
  r = secret.ask({{"Range", "bytes=10-19"}});
  EXPECT_EQ(r.status, 206);
  EXPECT_TRUE(r.body == secret.server.body.substr(10, 10));
}

TEST(CacheSlices, ConditionsAndHeadAreAnsweredFromTheManifest) {
  Sliced d(3500);
  d.ask({{"Range", "bytes=0-0"}});
  Reply r = d.ask({{"If-None-Match", "\"v1\""}});
  EXPECT_EQ(r.status, 304);
  r = d.ask({}, "HEAD");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(Driver::field(r, "content-length"), "3500");
  EXPECT_TRUE(d.server.ranges_asked.empty());
  r = d.ask({{"Range", "bytes=0-4"}, {"If-Range", "\"other\""}});
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == d.server.body);
}

TEST(CacheSlices, AStaleManifestIsValidatedAndItsSlicesAreKept) {
  Sliced d(3500);
  d.ask();
  d.sleep(std::chrono::seconds(61));
  Reply r = d.ask();
  EXPECT_TRUE(r.body == d.server.body);
  EXPECT_EQ(d.server.ranges_asked.size(), 1u);
  EXPECT_EQ(d.server.sent, (std::vector<std::uint64_t>{0}));  // a 304
  // Changed meanwhile: all of it is another.
  d.sleep(std::chrono::seconds(61));
  d.server.body = bytes(2500, 'B');
  d.server.etag = "\"v2\"";
  r = d.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == d.server.body);
  EXPECT_EQ(d.server.sent, (std::vector<std::uint64_t>{1000, 1000, 500}));
}

TEST(CacheSlices, AnswersNeverMixTwoRepresentations) {
  Sliced d(3500);
  d.ask({{"Range", "bytes=0-0"}});
  d.server.body = bytes(3500, 'B');
  d.server.etag = "\"v2\"";
  Reply r = d.ask();  // fresh, so nobody asks before the second slice is needed
  EXPECT_EQ(r.status, -1) << "the answer must break off";
  EXPECT_EQ(r.body.size(), 1000u);
  r = d.ask();
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == d.server.body);
}

TEST(CacheSlices, APurgeTakesAllSlices) {
  for (const bool by_url : {true, false}) {
    Sliced d(3500);
    d.ask();
    ASSERT_TRUE(d.cache.purge({by_url ? PurgeRequest::Kind::kUrl : PurgeRequest::Kind::kPrefix,
                               by_url ? "h/big" : "h/", false}));
    d.server.body = bytes(3500, 'B');  // under the same entity tag: that is what purges are for
    EXPECT_TRUE(d.ask().body == d.server.body);
    EXPECT_EQ(d.server.sent.size(), 4u);
  }
}

TEST(CacheSlices, ASliceThatBreaksOffIsFetchedOnceMore) {
  Sliced d(3500);
  d.ask({{"Range", "bytes=0-0"}});
  int failures = 2;
  auto flaky = [&](const std::string& lines) {
    Reply r = d.server(lines);
    if (failures > 0 && asked(lines, "range") == "bytes=1000-1999") {
      --failures;
      if (failures == 0) return Reply{0, {}, ""};
      r.body.resize(300);
    }
    return r;
  };
  Reply r = d.get({"GET", "/big"}, flaky);
  EXPECT_EQ(r.status, 200);
  EXPECT_TRUE(r.body == d.server.body);
  // An origin that stays away ends the answer, and its requests are counted.
  Sliced gone(3500);
  gone.ask({{"Range", "bytes=0-0"}});
  int asked_again = 0;
  r = gone.get({"GET", "/big"}, [&](const std::string&) {
    ++asked_again;
    return Reply{0, {}, ""};
  });
  EXPECT_EQ(r.status, -1);
  EXPECT_TRUE(r.body == gone.server.body.substr(0, kSlice));
  EXPECT_LE(asked_again, 3);
}

TEST(CacheSlices, VariantsHaveSlicesOfTheirOwn) {
  Sliced d(2500);
  auto origin = [&](const char* language) {
    return [&d, language](const std::string& lines) {
      d.server.body = bytes(2500, *language == 'k' ? 'K' : 'e');
      d.server.etag = std::string("\"") + language + "\"";
      Reply r = d.server(lines);
      r.fields.emplace_back("Vary", "X-Language");
      return r;
    };
  };
  Reply english = d.get({"GET", "/big", {{"X-Language", "en"}}}, origin("en"));
  Reply korean = d.get({"GET", "/big", {{"X-Language", "ko"}}}, origin("ko"));
  EXPECT_TRUE(english.body == bytes(2500, 'e'));
  EXPECT_TRUE(korean.body == bytes(2500, 'K'));
  const int before = d.origin_fetches;
  EXPECT_TRUE(d.get({"GET", "/big", {{"X-Language", "en"}}}, origin("en")).body == english.body);
  EXPECT_TRUE(d.get({"GET", "/big", {{"X-Language", "ko"}}}, origin("ko")).body == korean.body);
  EXPECT_EQ(d.origin_fetches, before);
}

TEST(CacheSlices, ManyReadersOfOneSliceAreOneFetch) {
  Sliced d(3500);
  d.ask({{"Range", "bytes=0-0"}});
  CacheDecision a = d.look({"GET", "/big"}, 1), b = d.look({"GET", "/big"}, 2);
  using Kind = Body::Piece::Kind;
  EXPECT_EQ(a.answer.body->read(1500, {&d, 1}).kind, Kind::kFetch);
  EXPECT_EQ(b.answer.body->read(1500, {&d, 2}).kind, Kind::kWait);
  auto fill = a.answer.body->take_fetch();
  CacheAnswer ignored;
  EXPECT_EQ(d.respond(*fill, d.server("Range: bytes=1000-1999\r\n"), ignored), Fill::Start::kStore);
  EXPECT_EQ(d.woken(2), 1);
  EXPECT_EQ(b.answer.body->read(1500, {&d, 2}).kind, Kind::kWait);  // it grows
  fill->append(std::string_view(d.server.body).substr(1000, 600), {&d, 3});
  EXPECT_EQ(d.woken(2), 2);
  EXPECT_EQ(b.answer.body->read(1500, {&d, 2}).kind, Kind::kMemory);
}

TEST(CacheSlices, ManyMoreThanTheVariantsOfOneUrlAreKept) {
  Sliced d(200 * kSlice);
  d.ask();
  EXPECT_TRUE(d.ask().body == d.server.body);
  EXPECT_TRUE(d.server.ranges_asked.empty());
}

TEST(CacheSlices, WhatIsLargerThanTheCacheStillPasses) {
  CacheOptions options;
  options.memory_bytes_max = 64u << 10;
  Sliced d(1'000'000, options);
  d.policy.slice_bytes = 40'000;
  EXPECT_TRUE(d.ask().body == d.server.body);
  EXPECT_LE(d.cache.stats().bytes, options.memory_bytes_max);
  d.policy.slice_bytes = 400'000;  // not one fits
  d.server.etag = "\"v2\"";
  d.sleep(std::chrono::seconds(61));
  EXPECT_TRUE(d.ask().body == d.server.body);
  EXPECT_LE(d.cache.stats().bytes, options.memory_bytes_max);
}

TEST(CacheSlices, SurviveARestart) {
  const auto directory =
      std::filesystem::temp_directory_path() / ("leeward-slices-" + std::to_string(getpid()));
  std::filesystem::remove_all(directory);
  CacheOptions options;
  options.disk_directory = directory;
  std::string body;
  const char* long_lived = "max-age=31536000";  // the disk's clock is the machine's
  {
    Sliced d(150'000, options);
    d.server.cache_control = long_lived;
    d.policy.slice_bytes = 70'000;
    body = d.ask().body;
    d.cache.flush_disk();
  }
  Sliced d(150'000, options);
  d.policy.slice_bytes = 70'000;
  EXPECT_TRUE(d.ask().body == body);
  EXPECT_EQ(d.server.ranges_asked, std::vector<std::string>{});
  EXPECT_TRUE(d.ask({{"Range", "bytes=69999-70000"}}).body == body.substr(69'999, 2));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace leeward::edge
