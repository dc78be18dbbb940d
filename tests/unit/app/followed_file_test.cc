#include "app/followed_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

namespace leeward::app {
namespace {

TEST(FollowedFile, TellsWhatIsThereAndEachChange) {
  char name[] = "/tmp/leeward-followed-XXXXXX";
  const std::string directory = ::mkdtemp(name);
  const std::string path = directory + "/below/list";
  net::EventLoop loop;
  std::vector<std::string> told;
  auto file = FollowedFile::start(loop, path, [&](const Result<std::string>& text) {
    told.push_back(text.value_or("?"));
    loop.stop();
  });
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(told, std::vector<std::string>{""}) << "there is none yet";
  for (const char* text : {"one", "two"}) {
    ASSERT_TRUE(write_file_durably(path, text).has_value());
    const BootTime end = BootClock::now() + 10s;
    while (told.back() != text && BootClock::now() < end) {
      const auto timer = loop.call_after(100ms, [&] { loop.stop(); });
      loop.run();
      loop.cancel(timer);
    }
    EXPECT_EQ(told.back(), text);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace leeward::app
