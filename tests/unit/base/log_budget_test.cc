#include "base/log_budget.h"

#include <gtest/gtest.h>

namespace leeward {
namespace {

TEST(LogBudget, SoManyLinesASecondAndThenHowManyWereLeftOut) {
  LogBudget budget;
  const auto at = [](Duration since) { return BootTime(since); };
  int granted = 0;
  for (int i = 0; i < LogBudget::kLinesPerSecond + 7; ++i) {
    const LogBudget::Grant grant = budget.take(at(5s + i * 1ms));
    granted += grant.granted;
    EXPECT_EQ(grant.left_out, 0u);
  }
  EXPECT_EQ(granted, LogBudget::kLinesPerSecond);
  const LogBudget::Grant next = budget.take(at(6s));
  EXPECT_TRUE(next.granted);
  EXPECT_EQ(next.left_out, 7u);
  EXPECT_EQ(budget.take(at(5900ms)).left_out, 0u);  // another thread's clock, a little behind
  EXPECT_EQ(budget.take(at(7s)).left_out, 0u);
}

}  // namespace
}  // namespace leeward
