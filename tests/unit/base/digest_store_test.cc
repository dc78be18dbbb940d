#include "base/digest_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

namespace leeward {
namespace {

class Digests : public ::testing::Test {
 protected:
  Digests() {
    char name[] = "/tmp/leeward-digests-XXXXXX";
    directory = ::mkdtemp(name);
    store = *DigestStore::open(directory + "/a/store");
  }
  ~Digests() override { std::filesystem::remove_all(directory); }
  Status put(const std::string& digest, Status outcome = {}) {
    return store->put(digest, [&](const std::string& work) {
      ++filled;
      std::ofstream(work + "/file") << digest;
      return outcome;
    });
  }
  std::size_t count() const {
    std::filesystem::directory_iterator all(directory + "/a/store");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

  std::string directory;
  std::optional<DigestStore> store;
  int filled = 0;
};

TEST_F(Digests, AreMadeOnceAndWhole) {
  EXPECT_FALSE(store->has("one"));
  ASSERT_TRUE(put("one").has_value());
  ASSERT_TRUE(put("one").has_value());
  EXPECT_EQ(filled, 1);
  EXPECT_TRUE(std::filesystem::exists(store->directory_of("one") + "/file"));
  auto failed = put("two", fail(Code::kCorrupt, "no"));
  EXPECT_EQ(failed.error().code, Code::kCorrupt);
  EXPECT_FALSE(store->has("two"));
  EXPECT_EQ(count(), 1u) << "nothing is left of what failed";
}

TEST_F(Digests, TwoAtATimeMakeOne) {
  Status inner;
  Status outer = store->put("one", [&](const std::string&) {
    inner = put("one");
    return Status{};
  });
  EXPECT_TRUE(inner.has_value());
  EXPECT_TRUE(outer.has_value());
  EXPECT_TRUE(std::filesystem::exists(store->directory_of("one") + "/file")) << "the first to end";
  EXPECT_EQ(count(), 1u);
}

TEST_F(Digests, UnusedAndUnfinishedOnesGo) {
  ASSERT_TRUE(put("one").has_value());
  ASSERT_TRUE(put("two").has_value());
  std::filesystem::create_directories(directory + "/a/store/.unfinished-x/y");
  store->keep_only({"two", "three"});
  EXPECT_FALSE(store->has("one"));
  EXPECT_TRUE(store->has("two"));
  EXPECT_EQ(count(), 2u) << "what is being made is not touched";
  store->remove_unfinished();
  EXPECT_EQ(count(), 1u);
}

}  // namespace
}  // namespace leeward
