#include "compute/notify.h"

#include <gtest/gtest.h>

namespace leeward::compute {
namespace {

TEST(Notify, ReadsWhatMeansSomethingHere) {
  Notification n = parse_notification("MAINPID=12\nREADY=1\nSTATUS=two \x1b[31mred\nFDSTORE=1");
  EXPECT_TRUE(n.ready);
  EXPECT_FALSE(n.stopping);
  EXPECT_EQ(n.status, "two ?[31mred");
  EXPECT_TRUE(parse_notification("STOPPING=1\n").stopping);
}

TEST(Notify, TakesNoHalfWords) {
  for (const char* text : {"", "\n\n", "READY", "READY=0", "READY=10", "XREADY=1", "ready=1"})
    EXPECT_FALSE(parse_notification(text).ready) << text;
  EXPECT_EQ(parse_notification("STATUS=").status, "");
  EXPECT_EQ(parse_notification("STATUS=" + std::string(5000, 'x')).status->size(),
            kNotifyStatusMax);
}

}  // namespace
}  // namespace leeward::compute
