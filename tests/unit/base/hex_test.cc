#include "base/hex.h"

#include <gtest/gtest.h>

#include <string_view>

namespace leeward {
namespace {

TEST(HexDigit, IsOneInEitherCaseAndNothingElse) {
  for (int c = -128; c < 128; ++c) {
    const auto at =
        std::string_view("0123456789abcdef")
            .find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : static_cast<char>(c));
    EXPECT_EQ(hex_digit(static_cast<char>(c)),
              at == std::string_view::npos ? -1 : static_cast<int>(at))
        << c;
  }
}

}  // namespace
}  // namespace leeward
