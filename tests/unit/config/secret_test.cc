#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "config/config.h"

namespace leeward::config {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Secret : public ::testing::Test {
 protected:
  Secret() {
    std::string pattern = ::testing::TempDir() + "secret-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~Secret() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& text, mode_t mode) {
    std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
  }
  Result<std::string> resolve(const std::string& name) {
    return resolve_secret(SecretRef{SecretRef::Kind::kFile, name}, directory_);
  }

  std::string directory_;
};

TEST_F(Secret, AFileGivesItsTextWithoutTheLineBreak) {
  write("token", "s3cret\n", 0600);
  EXPECT_EQ(resolve("token").value(), "s3cret");
  write("windows", "s3cret\r\n", 0400);
  EXPECT_EQ(resolve("windows").value(), "s3cret");
  write("spaces", " two words \n\n", 0600);
  EXPECT_EQ(resolve("spaces").value(), " two words \n") << "only one line break is not the secret";
}

TEST_F(Secret, AFileThatOthersMayReadIsRefused) {
  for (mode_t mode : {0644, 0640, 0604, 0620}) {
    write("token", "s3cret", mode);
    auto value = resolve("token");
    ASSERT_FALSE(value) << std::oct << mode;
    EXPECT_EQ(value.error().code, Code::kRefused);
    EXPECT_THAT(value.error().message, HasSubstr("chmod 600 " + directory_ + "/token"));
    EXPECT_THAT(value.error().message, Not(HasSubstr("s3cret")));
  }
}

TEST_F(Secret, AMissingFileADirectoryAnEmptyOrAHugeFileIsAnError) {
  EXPECT_EQ(resolve("nowhere").error().code, Code::kNotFound);
  std::filesystem::create_directory(directory_ + "/folder");
  chmod((directory_ + "/folder").c_str(), 0700);
  EXPECT_EQ(resolve("folder").error().code, Code::kInvalid);
  write("empty", "\n", 0600);
  EXPECT_EQ(resolve("empty").error().code, Code::kInvalid);
  write("huge", std::string(70'000, 'x'), 0600);
  EXPECT_EQ(resolve("huge").error().code, Code::kInvalid);
}

TEST_F(Secret, AnEnvironmentVariableMustBeSet) {
  setenv("LEEWARD_TEST_SECRET", "from the environment", 1);
  SecretRef reference{SecretRef::Kind::kEnv, "LEEWARD_TEST_SECRET"};
  EXPECT_EQ(resolve_secret(reference, directory_).value(), "from the environment");
  unsetenv("LEEWARD_TEST_SECRET");
  auto value = resolve_secret(reference, directory_);
  EXPECT_EQ(value.error().code, Code::kInvalid);
  EXPECT_THAT(value.error().message, HasSubstr("LEEWARD_TEST_SECRET is not set"));
}

}  // namespace
}  // namespace leeward::config
