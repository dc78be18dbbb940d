#include "dns/state.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"

namespace leeward::dns {
namespace {

class StateFile : public ::testing::Test {
 protected:
  StateFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeward-dns-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~StateFile() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
  const SavedState state_{"aws", Epoch{7}, 42, 4000000000};
};

TEST_F(StateFile, ReturnsWhatWasSaved) {
  std::string path = directory_ / "state";
  ASSERT_TRUE(save_state(path, state_));
  EXPECT_EQ(load_state(path).value(), state_);
  SavedState later{"gcp", Epoch{8}, 50, 1};
  ASSERT_TRUE(save_state(path, later));
  EXPECT_EQ(load_state(path).value(), later);
}

TEST_F(StateFile, AbsentIsNotAnError) {
  EXPECT_EQ(load_state(directory_ / "state").value(), std::nullopt);
}

TEST_F(StateFile, AnySingleDamagedOctetIsNoticed) {
  const std::string good = format_state(state_);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    auto parsed = parse_state(bad);
    ASSERT_FALSE(parsed) << i;
    EXPECT_EQ(parsed.error().code, Code::kCorrupt);
  }
}

TEST_F(StateFile, AnyTruncationIsNoticed) {
  const std::string good = format_state(state_);
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_state(good.substr(0, n))) << n;
  EXPECT_FALSE(parse_state(good + "\n"));
}

TEST_F(StateFile, AFileThatIsTooLargeIsCorrupt) {
  std::string path = directory_ / "state";
  std::ofstream(path) << std::string(100000, 'x');
  EXPECT_EQ(load_state(path).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace leeward::dns
