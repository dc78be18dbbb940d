#include "edge/match_path.h"

#include <gtest/gtest.h>

namespace leeward::edge {
namespace {

std::string matched(std::string_view target) {
  std::string storage;
  return std::string(match_path(target, storage));
}

TEST(MatchPath, APlainPathIsItself) {
  for (const char* path : {"/", "/shop", "/shop/", "/shop/a.b", "/a..b/c.", "/~x"})
    EXPECT_EQ(matched(path), path);
  EXPECT_EQ(matched("/shop?x=/../y"), "/shop");
  EXPECT_EQ(matched("*"), "/");
  EXPECT_EQ(matched("?x"), "/");
}

TEST(MatchPath, HoweverAPathIsWrittenItIsTheSame) {
  for (const char* path :
       {"/films/1", "//films/1", "/films//1", "/x/../films/1", "/./films/./1", "/%66ilms/1",
        "/x/%2e%2E/films/1", "/x/%2e./films/1", "/x%2F..%2Ffilms/1", "/../films/1", "/films%2f1",
        "/films/x/y/../../1", "/%2Ffilms/1"})
    EXPECT_EQ(matched(path), "/films/1") << path;
  EXPECT_EQ(matched("/films/.."), "/");
  EXPECT_EQ(matched("/films/."), "/films/");
  EXPECT_EQ(matched("/films/x/.."), "/films/");
  EXPECT_EQ(matched("/films//"), "/films/");
  EXPECT_EQ(matched("/.."), "/");
}

TEST(MatchPath, IsDecodedOnceAndNoMore) {
  EXPECT_EQ(matched("/%2566ilms"), "/%66ilms");
  EXPECT_EQ(matched("/100%"), "/100%");
  EXPECT_EQ(matched("/%4"), "/%4");
  EXPECT_EQ(matched("/%zz/a"), "/%zz/a");
  EXPECT_EQ(matched("/%-1/a"), "/%-1/a");
  EXPECT_EQ(matched("/.hidden"), "/.hidden");
  EXPECT_EQ(matched("/..hidden/x"), "/..hidden/x");
}

}  // namespace
}  // namespace leeward::edge
