#include "waf/internal/byte_classes.h"

#include <gtest/gtest.h>

namespace leeward::waf {
namespace {

TEST(ByteClasses, SayOfNoTransformationThatItLeavesAloneWhatItChanges) {
  std::uint64_t state = 7;
  const auto next = [&](std::size_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>(state >> 33) % bound;
  };
  for (std::size_t t = 0; t < kTransformCount; ++t) {
    const auto transform = static_cast<Transform>(t);
    // Texts of few kinds of bytes, so that many of them are said to stay.
    int stayed = 0;
    for (int round = 0; round < 30'000; ++round) {
      const std::uint16_t kinds = static_cast<std::uint16_t>(1u << next(15) | 1u << next(15));
      std::string text;
      for (std::size_t i = next(12); i > 0; --i) {
        const auto c = static_cast<unsigned char>(next(256));
        if ((kByteClasses[c] & kinds) != 0) text += static_cast<char>(c);
      }
      if (next(4) == 0) text += text;
      if (may_change(transform, classes_in(text))) continue;
      ++stayed;
      std::string after = text;
      apply(transform, after);
      EXPECT_EQ(after, text) << name(transform);
      if (after != text) break;
    }
    if (changed_classes(transform) != kAny) {
      EXPECT_GT(stayed, 1000) << name(transform);
    }
  }
}

TEST(ByteClasses, AreThoseOfAllBytesOfAText) {
  EXPECT_EQ(classes_in(""), kAny);
  EXPECT_EQ(classes_in("aB 1"), kAny | kLower | kUpper | kSpace | kDigit);
}

}  // namespace
}  // namespace leeward::waf
