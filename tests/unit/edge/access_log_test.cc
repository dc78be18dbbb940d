// The log's lines when the disk is full: counted, never glued to each other.
#include "edge/internal/access_log.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/file.h"

namespace leeward::edge {
namespace {

class FullDisk : public ::testing::Test {
 protected:
  FullDisk() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeward.XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~FullDisk() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
};

TEST_F(FullDisk, CountsTheLinesThatAreLost) {
  auto log = AccessLog::open("/dev/full", 1);
  ASSERT_TRUE(log.has_value()) << log.error().message;
  for (int i = 0; i < 5; ++i) (*log)->append(0, "a line\n");
  for (int i = 0; i < 100 && (*log)->dropped() < 5; ++i) ::usleep(20'000);
  EXPECT_EQ((*log)->dropped(), 5u);
}

// A file may not grow beyond a limit, as when the disk is full: a line is written in part.
TEST_F(FullDisk, ALineThatWasCutOffStaysOne) {
  ::signal(SIGXFSZ, SIG_IGN);
  const std::string path = directory_ + "/access.log";
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto log = AccessLog::open(path, 1);
  ASSERT_TRUE(log.has_value()) << log.error().message;
  rlimit tight = before;
  tight.rlim_cur = 10;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  for (const char* line : {"first\n", "second\n", "third\n"}) (*log)->append(0, line);
  for (int i = 0; i < 100 && (*log)->dropped() < 2; ++i) ::usleep(20'000);
  const std::uint64_t dropped = (*log)->dropped();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(dropped, 2u) << "the one that was cut off, and the one after it";
  (*log)->append(0, "fourth\n");
  log->reset();  // writes it
  EXPECT_EQ(*read_file(path), "first\nseco\nfourth\n");
}

}  // namespace
}  // namespace leeward::edge
