// The disk tier: what a restart finds, and that damage of any kind is a miss and never a wrong
// byte.
#include "edge/cache_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/file.h"
#include "cache_driver.h"

namespace leeward::edge {
namespace {

namespace fs = std::filesystem;

class CacheDisk : public ::testing::Test {
 protected:
  CacheDisk() {
    std::string pattern = (fs::temp_directory_path() / "leeward-cache-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~CacheDisk() override { fs::remove_all(directory_); }

  CacheOptions options() const {
    CacheOptions o;
    o.disk_directory = directory_;
    o.memory_bytes_max = 32u << 20;
    o.disk_bytes_max = 64u << 20;
    return o;
  }
  static Reply reply(int i) {
    return {200,
            {{"Cache-Control", "max-age=600"},
             {"ETag", "\"e\""},
             {"Surrogate-Key", "t" + std::to_string(i)}},
            body(i)};
  }
  static std::string body(int i) {
    std::mt19937 random(static_cast<unsigned>(i));
    std::string out(i % 3 == 0 ? 200'000 : i % 3 == 1 ? 30'000 : 100, '\0');
    for (char& c : out) c = static_cast<char>(random());
    return out;
  }
  static std::string url(int i) { return "/o" + std::to_string(i); }
  void fill(int count) {
    Driver d(options());
    d.now = SystemClock().now();
    for (int i = 0; i < count; ++i) {
      d.get({"GET", url(i)}, [&](const std::string&) { return reply(i); });
    }
    d.cache.flush_disk();
    EXPECT_EQ(d.cache.stats().disk_objects, static_cast<std::uint64_t>(count));
  }
  // How many of the objects a new process serves; every byte is compared.
  int served(int count) {
    Driver d(options());
    d.now = SystemClock().now();
    int found = 0;
    for (int i = 0; i < count; ++i) {
      Reply r = d.get({"GET", url(i)}, [&](const std::string&) { return Reply{404, {}, ""}; });
      if (r.status != 200) continue;
      EXPECT_EQ(r.body, body(i)) << i;
      ++found;
    }
    return found;
  }
  std::vector<std::string> segments() const {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(directory_)) {
      if (e.path().extension() == ".seg") out.push_back(e.path().string());
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  std::string directory_;
};

// A second request must not go to the origin because the first one has begun to read.
TEST_F(CacheDisk, WhoComesWhileItIsReadWaitsForItToo) {
  fill(60);
  Driver d(options());
  d.now = SystemClock().now();
  for (int i = 0; i < 60; ++i) {
    const BootTime until = BootClock::now() + std::chrono::seconds(20);
    std::uint64_t token = 1;
    for (auto kind = CacheDecision::Kind::kWait; kind == CacheDecision::Kind::kWait;) {
      kind = d.look({"GET", url(i)}, ++token).kind;
      ASSERT_NE(kind, CacheDecision::Kind::kFetch) << url(i) << " after " << token << " looks";
      ASSERT_LT(BootClock::now(), until);
    }
  }
}

TEST_F(CacheDisk, SurvivesARestart) {
  fill(30);
  EXPECT_EQ(served(30), 30);
  EXPECT_EQ(served(30), 30);  // and the next
}

TEST_F(CacheDisk, PurgesSurviveItToo) {
  fill(6);
  {
    Driver d(options());
    d.cache.purge({PurgeRequest::Kind::kTag, "t0", false});
    d.cache.purge({PurgeRequest::Kind::kUrl, "h/o1", false});
    d.cache.purge({PurgeRequest::Kind::kPrefix, "h/o2", false});
    d.cache.flush_disk();
  }
  EXPECT_EQ(served(6), 3);
}

TEST_F(CacheDisk, TornTailsAreCutOffAndWrittenOver) {
  fill(9);
  std::string last = segments().back();
  fs::resize_file(last, fs::file_size(last) - 10);
  EXPECT_EQ(served(9), 8);
  std::ofstream(last, std::ios::app | std::ios::binary) << std::string(5000, '\0');
  EXPECT_EQ(served(9), 8);
}

// Where a record cannot be read there may have been a purge.
TEST_F(CacheDisk, NothingOlderThanDamageIsServed) {
  fill(9);
  std::string last = segments().back();
  std::ofstream(last, std::ios::app | std::ios::binary) << std::string(5000, '\xee');
  EXPECT_EQ(served(9), 0);
  fill(9);
  {
    Driver d(options());
    d.cache.purge({PurgeRequest::Kind::kUrl, "h/o1", false});
    d.cache.flush_disk();
  }
  last = segments().back();
  int fd = open(last.c_str(), O_RDWR);
  const char odd = 'x';  // inside the purge's head, the last record
  ASSERT_EQ(pwrite(fd, &odd, 1, static_cast<off_t>(fs::file_size(last)) - 2), 1);
  close(fd);
  EXPECT_EQ(served(9), 0);
}

TEST_F(CacheDisk, FlippedBitsAreMissesNotWrongBytes) {
  fill(12);
  std::mt19937 random(5);
  int flips = 0;
  for (const std::string& path : segments()) {
    int fd = open(path.c_str(), O_RDWR);
    std::uint64_t size = fs::file_size(path);
    for (; flips < 8; ++flips) {
      char c = 0;
      off_t at = static_cast<off_t>(random() % size);
      ASSERT_EQ(pread(fd, &c, 1, at), 1);
      c = static_cast<char>(c ^ 0x10);
      ASSERT_EQ(pwrite(fd, &c, 1, at), 1);
    }
    close(fd);
  }
  EXPECT_LT(served(12), 12);  // served() compares every byte of what it gets
}

TEST_F(CacheDisk, StaysWithinItsBound) {
  CacheOptions o = options();
  o.disk_bytes_max = 4u << 20;
  Driver d(o);
  for (int i = 0; i < 60; ++i) {
    d.get({"GET", url(i * 3)}, [&](const std::string&) { return reply(i * 3); });
    d.cache.flush_disk();
    EXPECT_LE(d.cache.stats().disk_bytes, o.disk_bytes_max);
  }
  std::uint64_t on_disk = 0;
  for (const std::string& path : segments()) on_disk += fs::file_size(path);
  EXPECT_LE(on_disk, o.disk_bytes_max);
  EXPECT_GT(on_disk, o.disk_bytes_max / 2);
}

TEST_F(CacheDisk, AFullDiskOnlyMeansNoDisk) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  rlimit tiny{100'000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tiny);
  {
    Driver d(options());
    d.now = SystemClock().now();
    for (int i = 0; i < 9; ++i) {
      Reply r = d.get({"GET", url(i)}, [&](const std::string&) { return reply(i); });
      EXPECT_EQ(r.body, body(i));
    }
    d.cache.flush_disk();
    for (int i = 0; i < 9; ++i) {
      EXPECT_EQ(d.get({"GET", url(i)},
                      [](const std::string&) {
                        return Reply{0, {}, ""};
                      })
                    .body,
                body(i));
    }
  }
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_LT(served(9), 9);
}

// Without the room to write a purge down, nothing may be left that it was for.
TEST_F(CacheDisk, APurgeThatCannotBeWrittenLeavesNothingToComeBack) {
  signal(SIGXFSZ, SIG_IGN);
  fill(6);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  {
    Driver d(options());
    rlimit none{1, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &none);
    d.cache.purge({PurgeRequest::Kind::kUrl, "h/o1", false});
    d.cache.flush_disk();
    setrlimit(RLIMIT_FSIZE, &old);
    EXPECT_EQ(d.cache.stats().disk_objects, 0u);
  }
  EXPECT_EQ(served(6), 0);
  fill(6);
  EXPECT_EQ(served(6), 6);
}

TEST_F(CacheDisk, AnObjectThatIsTooLargeForItStopsNobodyElse) {
  CacheOptions small = options();
  small.disk_bytes_max = 1u << 20;
  Driver d(small);
  d.get({"GET", "/large"}, [](const std::string&) {
    return Reply{200, {{"Cache-Control", "max-age=600"}}, std::string(2u << 20, 'x')};
  });
  d.get({"GET", url(2)}, [&](const std::string&) { return reply(2); });
  d.cache.flush_disk();
  EXPECT_EQ(d.cache.stats().disk_objects, 1u);
}

TEST_F(CacheDisk, APurgeHoldsAgainstWhatIsBeingRead) {
  fill(60);
  Driver d(options());
  d.now = SystemClock().now();
  int kept = 0;
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(d.look({"GET", url(i)}).kind, CacheDecision::Kind::kWait);
    ASSERT_TRUE(d.cache.purge({PurgeRequest::Kind::kUrl, "h" + url(i), false}));
    d.cache.flush_disk();
    kept += d.look({"GET", url(i)}).kind == CacheDecision::Kind::kServe ? 1 : 0;
  }
  EXPECT_EQ(kept, 0);
}

TEST_F(CacheDisk, APostWhoseResponseMayBeKeptInvalidatesWhatIsHereToo) {
  Driver d(options());
  d.now = SystemClock().now();
  d.policy.store_post = true;
  d.get({"GET", url(1)}, [](const std::string&) { return reply(1); });
  d.cache.flush_disk();
  d.get({"POST", url(1)}, [](const std::string&) { return Reply{200, {}, "done"}; });
  d.cache.flush_disk();
  EXPECT_EQ(d.look({"GET", url(1)}).kind, CacheDecision::Kind::kFetch);
}

TEST_F(CacheDisk, OneProcessOwnsADirectory) {
  auto one = DiskTier::open(directory_, 1u << 24, {});
  ASSERT_TRUE(one);
  auto two = DiskTier::open(directory_, 1u << 24, {});
  ASSERT_FALSE(two);
  EXPECT_EQ(two.error().code, Code::kConflict);
}

}  // namespace
}  // namespace leeward::edge
