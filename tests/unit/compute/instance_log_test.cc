#include "compute/instance_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "processes.h"

namespace leeward::compute {
namespace {

using ::testing::ElementsAre;

TEST(CappedLog, KeepsTwoFilesOfAtMostTheCap) {
  TemporaryDirectory directory;
  std::string path = directory.path() + "/app-0.log";
  CappedLog log(path, 1000);
  for (int i = 0; i < 500; ++i) log.append(fmt::format("line {:04}\n", i));
  EXPECT_LE(std::filesystem::file_size(path), 1000u);
  EXPECT_LE(std::filesystem::file_size(path + ".1"), 1000u);
  auto lines = tail_of_log(path, 2);
  ASSERT_TRUE(lines.has_value()) << lines.error().message;
  EXPECT_THAT(*lines, ElementsAre("line 0498", "line 0499"));
}

TEST(CappedLog, GoesOnWhereAnEarlierLifeEnded) {
  TemporaryDirectory directory;
  std::string path = directory.path() + "/app-0.log";
  CappedLog(path, 100).append("first life\n");
  CappedLog(path, 100).append("second life\n");
  EXPECT_THAT(*tail_of_log(path), ElementsAre("first life", "second life"));
  CappedLog(path, 100).append(std::string(90, 'x'));
  EXPECT_EQ(std::filesystem::file_size(path), 90u) << "the size of the old file counts";
}

TEST(CappedLog, HugeWriteIsCutToItsEnd) {
  TemporaryDirectory directory;
  std::string path = directory.path() + "/app-0.log";
  CappedLog log(path, 10);
  log.append("0123456789abcdef");
  EXPECT_EQ(*read_file(path), "6789abcdef");
}

TEST(CappedLog, DropsWhatCannotBeWrittenAndRecovers) {
  TemporaryDirectory directory;
  std::string later = directory.path() + "/later";
  CappedLog log(later + "/app-0.log", 100);
  log.append("lost\n");
  ASSERT_TRUE(make_directories(later).has_value());
  log.append("kept\n");
  EXPECT_EQ(*read_file(later + "/app-0.log"), "kept\n");
}

TEST(LastLines, AreSafeToShow) {
  EXPECT_THAT(last_lines("a\r\nb\x1b[31m\n\xc3\xa4\tx\n", 20, true),
              ElementsAre("a", "b?[31m", "??\tx"));
  EXPECT_EQ(last_lines(std::string(1000, 'x'), 1, true).front().size(), 400u);
}

TEST(LastLines, TornFirstLineIsLeftOutUnlessItIsAllThereIs) {
  EXPECT_THAT(last_lines("orn\nwhole", 20, false), ElementsAre("whole"));
  EXPECT_THAT(last_lines("first\nwhole", 20, true), ElementsAre("first", "whole"));
  EXPECT_THAT(last_lines("orn", 20, false), ElementsAre("orn"));
  EXPECT_TRUE(last_lines("", 20, true).empty());
  EXPECT_THAT(last_lines("a\n\nb\n", 2, true), ElementsAre("", "b"));
}

TEST(TailOfLog, MissingFileIsNotFound) {
  TemporaryDirectory directory;
  EXPECT_EQ(tail_of_log(directory.path() + "/none.log").error().code, Code::kNotFound);
}

}  // namespace
}  // namespace leeward::compute
