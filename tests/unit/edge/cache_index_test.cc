#include "edge/internal/cache_index.h"

#include <gtest/gtest.h>

#include <random>

namespace leeward::edge {
namespace {

std::shared_ptr<StoredObject> object(const std::string& url, std::size_t size = 1000) {
  StoredObject::Parts p;
  std::string body(size, 'x');
  p.key_text = url;
  p.url_size = url.size();
  p.hash = hash_url(url);
  p.inline_body = body;
  return std::make_shared<StoredObject>(p);
}
bool has(CacheIndex& index, const std::string& url) {
  return index.find(hash_url(url), url, [](StoredObject&) { return 1; }) != nullptr;
}

TEST(CacheIndex, CountsWhatItHoldsToTheByte) {
  CacheIndex index(1u << 30);
  std::uint64_t expected = 0;
  std::vector<std::shared_ptr<StoredObject>> kept;
  for (int i = 0; i < 5000; ++i) {
    kept.push_back(object("u" + std::to_string(i), static_cast<std::size_t>(i)));
    expected += kept.back()->charge();
    ASSERT_TRUE(index.insert(kept.back()));
  }
  EXPECT_EQ(index.stats().bytes, expected);
  EXPECT_EQ(index.stats().objects, 5000u);
  ASSERT_TRUE(index.insert(object("u7", 9000)));  // in place of the other
  EXPECT_EQ(index.stats().objects, 5000u);
  EXPECT_FALSE(index.remove(*kept[7]));
  for (int i = 0; i < 5000; ++i) {
    std::string url = "u" + std::to_string(i);
    EXPECT_EQ(index.remove_url(hash_url(url), url), 1u);
  }
  EXPECT_EQ(index.stats().bytes, 0u);
}

TEST(CacheIndex, NeverExceedsItsBound) {
  constexpr std::uint64_t kMax = 1u << 20;
  CacheIndex index(kMax);
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string url = "u" + std::to_string(random() % 4000);
    if (!has(index, url)) index.insert(object(url, random() % 8000));
    ASSERT_LE(index.stats().bytes, kMax);
  }
  EXPECT_GT(index.stats().bytes, kMax * 9 / 10);
  EXPECT_FALSE(index.insert(object("huge", 2u << 20)));
  EXPECT_TRUE(index.reserve(kMax));  // everything goes for a fill
  EXPECT_EQ(index.stats().objects, 0u);
  EXPECT_FALSE(index.reserve(1));
  index.release(kMax);
}

TEST(CacheIndex, AScanDoesNotPushOutWhatIsInDemand) {
  CacheIndex index(4u << 20);
  auto use_hot = [&] {
    int found = 0;
    for (int i = 0; i < 500; ++i) found += has(index, "hot" + std::to_string(i));
    return found;
  };
  for (int i = 0; i < 500; ++i) index.insert(object("hot" + std::to_string(i)));
  for (int round = 0; round < 3; ++round) use_hot();
  // Ten times the cache's size in things that nobody asks for again.
  for (int i = 0; i < 40000; ++i) {
    index.insert(object("scan" + std::to_string(i)));
    if (i % 2000 == 0) use_hot();
  }
  EXPECT_GE(use_hot(), 495);
}

TEST(CacheIndex, BoundsTheVariantsOfAUrl) {
  CacheIndex index(64u << 20);
  for (int i = 0; i < 500; ++i) {
    StoredObject::Parts p;
    std::string variant = std::to_string(i);
    p.key_text = "u";
    p.url_size = 1;
    p.hash = hash_url("u");
    p.vary = "foo";
    p.variant = variant;
    index.insert(std::make_shared<StoredObject>(p));
  }
  EXPECT_EQ(index.stats().objects, CacheIndex::kVariantsMax);
}

}  // namespace
}  // namespace leeward::edge
