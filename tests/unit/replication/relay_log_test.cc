#include "replication/relay_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "replication/internal/segment.h"
#include "servers/servers.h"

namespace leeward::replication {
namespace {

using mysql::EventType;

BootTime soon() { return BootClock::now() + 10s; }

std::string little(std::uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> 8 * i);
  return bytes;
}

std::string format_description(const std::string& version, bool checksums = true) {
  std::string name = version;
  name.resize(50);
  std::string body = little(4, 2) + name + little(0, 4) + little(19, 1) + std::string(171, '\0');
  body += static_cast<char>(checksums);
  std::string event = internal::make_event(EventType::kFormatDescription, 1, 0, 0, body);
  if (!checksums) event.replace(event.size() - 4, 4, 4, '\0');
  return event;
}

// A stream of small transactions, as a source would send them.
class Stream {
 public:
  explicit Stream(RelayLog& log, bool checksums = true) : log_(log), checksums_(checksums) {}

  Status event(EventType type, const std::string& body, std::uint16_t flags = 0) {
    std::string bytes = internal::make_event(type, 1, 1'700'000'000, flags, body);
    if (!checksums_) {
      bytes.resize(bytes.size() - 4);
      bytes.replace(9, 4, little(bytes.size(), 4));
    }
    return raw(bytes);
  }
  Status raw(const std::string& bytes) {
    auto parsed = mysql::parse_event(bytes, checksums_);
    EXPECT_TRUE(parsed) << parsed.error().message;
    mysql::Received received;
    received.event = *parsed;
    received.part = bytes;
    received.size = bytes.size();
    received.checksummed = checksums_;
    return log_.append(received);
  }
  Status format(const std::string& version = "10.11.19-MariaDB") {
    return raw(format_description(version, checksums_));
  }
  Status begin(std::uint64_t sequence) {
    return event(EventType::kGtid,
                 little(sequence, 8) + little(0, 4) + little(4, 1) + little(0, 6));
  }
  Status rows(std::size_t size) { return event(EventType::kAnnotateRows, std::string(size, 'r')); }
  Status commit() { return event(EventType::kXid, little(7, 8)); }
  Status transaction(std::uint64_t sequence, std::size_t size = 100) {
    if (auto begun = begin(sequence); !begun) return begun;
    if (auto written = rows(size); !written) return written;
    return commit();
  }

 private:
  RelayLog& log_;
  bool checksums_;
};

class RelayLogTest : public ::testing::Test {
 protected:
  std::unique_ptr<RelayLog> open(std::uint64_t segment = 4096, std::uint64_t total = 8 << 20) {
    auto log = RelayLog::open({directory_.path() + "/relay", segment, total}, {});
    EXPECT_TRUE(log) << log.error().message;
    return log ? std::move(*log) : nullptr;
  }
  std::vector<std::string> segments() {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path() + "/relay"))
      if (entry.path().filename().string().starts_with("relay.")) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  // Sequence numbers of the transactions that a cursor shows until nothing more is there.
  static std::vector<std::uint64_t> read(RelayCursor& cursor) {
    std::vector<std::uint64_t> sequences;
    for (;;) {
      auto event = cursor.next(BootClock::now() + 20ms);
      EXPECT_TRUE(event) << event.error().message;
      if (!event || !*event) return sequences;
      if ((*event)->place == mysql::Place::kEnd)
        sequences.push_back(cursor.transaction().gtid.sequence);
    }
  }
  static mysql::StreamPosition at(std::uint64_t sequence) {
    mysql::StreamPosition position;
    if (sequence > 0) position.gtids.domains[0] = {0, 1, sequence};
    return position;
  }
  static std::vector<std::uint64_t> range(std::uint64_t first, std::uint64_t last) {
    std::vector<std::uint64_t> all;
    for (; first <= last; ++first) all.push_back(first);
    return all;
  }

  testing::TempDirectory directory_;
};

TEST_F(RelayLogTest, WhoHasSeenNothingReadsFromTheBeginningOfHistory) {
  auto log = open();
  Stream stream(*log);
  ASSERT_TRUE(stream.event(EventType::kRotate, little(256, 8) + "binlog.000001", 0x20));
  ASSERT_TRUE(stream.format());
  for (std::uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(stream.transaction(i));
  ASSERT_TRUE(log->sync());
  auto cursor = log->read_after({});
  ASSERT_TRUE(cursor) << cursor.error().message;
  EXPECT_EQ(read(**cursor), range(1, 3));
}

TEST_F(RelayLogTest, ShowsOnlyWholeAndDurableTransactions) {
  auto log = open();
  Stream stream(*log);
  ASSERT_TRUE(stream.format());
  ASSERT_TRUE(stream.transaction(1));
  auto cursor = log->read_after({});
  ASSERT_TRUE(cursor);
  EXPECT_EQ(read(**cursor), (std::vector<std::uint64_t>{}));
  ASSERT_TRUE(stream.begin(2));
  ASSERT_TRUE(stream.rows(50));
  auto durable = log->sync();
  ASSERT_TRUE(durable);
  EXPECT_EQ(durable->stream.gtids.domains.at(0).sequence, 1u);
  EXPECT_EQ(read(**cursor), range(1, 1));
  EXPECT_EQ((*cursor)->position().offset, durable->offset);
  ASSERT_TRUE(stream.commit());
  ASSERT_TRUE(log->sync());
  EXPECT_EQ(read(**cursor), range(2, 2));
}

TEST_F(RelayLogTest, ACursorStartsAnywhereInManySegments) {
  auto log = open();
  Stream stream(*log);
  ASSERT_TRUE(stream.format());
  std::map<std::uint64_t, RelayOffset> ends;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    ASSERT_TRUE(stream.transaction(i));
    auto durable = log->sync();
    ASSERT_TRUE(durable);
    ends[i] = durable->offset;
  }
  EXPECT_GT(segments().size(), 5u);
  for (std::uint64_t start : {0, 1, 20, 99, 199, 200}) {
    auto by_position = log->read_after(at(start));
    ASSERT_TRUE(by_position);
    EXPECT_EQ(read(**by_position), range(start + 1, 200));
    if (start == 0) continue;
    auto by_offset = log->read_from(ends[start]);
    ASSERT_TRUE(by_offset);
    EXPECT_EQ(read(**by_offset), range(start + 1, 200));
    EXPECT_EQ((*by_offset)->position().stream.gtids, at(200).gtids);
    EXPECT_EQ((*by_offset)->format().size(), format_description("").size() - 4);
  }
  // A position that comes later is waited for.
  auto ahead = log->read_after(at(202));
  ASSERT_TRUE(ahead);
  for (std::uint64_t i = 201; i <= 204; ++i) ASSERT_TRUE(stream.transaction(i));
  ASSERT_TRUE(log->sync());
  EXPECT_EQ(read(**ahead), range(203, 204));
}

// Whatever the last write left behind, the log opens at the last whole transaction and goes on
// there.
TEST_F(RelayLogTest, ATornTailIsCutAtTheLastWholeTransaction) {
  std::uint64_t whole = 0, size = 0;
  {
    auto log = open(1 << 20);
    Stream stream(*log);
    ASSERT_TRUE(stream.format());
    for (std::uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(stream.transaction(i));
    whole = log->sync()->offset.value;
    ASSERT_TRUE(stream.transaction(4));
    size = log->sync()->offset.value;
  }
  std::string path = segments()[0];
  auto bytes = read_file(path);
  ASSERT_TRUE(bytes);
  auto reopened = [&](const std::string& contents) {
    std::ofstream(path, std::ios::binary) << contents;
    auto log = open(1 << 20);
    auto cursor = log->read_after({});
    EXPECT_TRUE(cursor);
    Stream stream(*log);
    std::uint64_t next = log->durable().stream.gtids.domains[0].sequence + 1;
    bool cut = !log->cut().empty();
    EXPECT_EQ(cut, log->durable().offset.value != contents.size());
    EXPECT_TRUE(stream.format());
    EXPECT_TRUE(stream.transaction(next));
    EXPECT_TRUE(log->sync());
    EXPECT_EQ(read(**cursor), range(1, next));
    return next - 1;
  };
  for (std::uint64_t end = whole; end < size; end += 7)
    EXPECT_EQ(reopened(bytes->substr(0, end)), 3u) << end;
  for (std::uint64_t flipped = whole; flipped < size; flipped += 7) {
    std::string damaged = *bytes;
    damaged[flipped] = static_cast<char>(damaged[flipped] ^ 1);
    EXPECT_EQ(reopened(damaged), 3u) << flipped;
  }
  EXPECT_EQ(reopened(*bytes + std::string(5000, '\0')), 4u);
  EXPECT_EQ(reopened(*bytes), 4u);
}

TEST_F(RelayLogTest, ASegmentWithoutATransactionIsForgotten) {
  {
    auto log = open(4096);
    Stream stream(*log);
    ASSERT_TRUE(stream.format());
    ASSERT_TRUE(stream.transaction(1, 5000));
    ASSERT_TRUE(stream.begin(2));  // opens the second segment
    ASSERT_TRUE(log->sync());
  }
  ASSERT_EQ(segments().size(), 2u);
  std::filesystem::resize_file(segments()[1], 20);
  auto log = open(4096);
  EXPECT_EQ(segments().size(), 1u);
  EXPECT_EQ(log->durable().stream.gtids.domains[0].sequence, 1u);
  Stream stream(*log);
  ASSERT_TRUE(stream.format());
  ASSERT_TRUE(stream.transaction(2));
  ASSERT_TRUE(log->sync());
  auto cursor = log->read_after({});
  EXPECT_EQ(read(**cursor), range(1, 2));
}

TEST_F(RelayLogTest, WhatTheSourceLostIsWithdrawn) {
  auto log = open();
  Stream stream(*log);
  ASSERT_TRUE(stream.format());
  ASSERT_TRUE(stream.transaction(1));
  ASSERT_TRUE(stream.begin(2));
  ASSERT_TRUE(stream.rows(100));
  ASSERT_TRUE(log->sync());
  // The source crashed; its next log begins. A restart of ours would do the same by withdraw().
  ASSERT_TRUE(stream.event(EventType::kRotate, little(4, 8) + "binlog.000002"));
  ASSERT_TRUE(stream.format());
  ASSERT_TRUE(stream.transaction(2, 10));
  ASSERT_TRUE(stream.begin(3));
  ASSERT_TRUE(stream.rows(3'000'000));
  ASSERT_TRUE(log->withdraw());
  EXPECT_EQ(log->received().stream.log.file, "binlog.000002");
  ASSERT_TRUE(stream.transaction(3));
  ASSERT_TRUE(log->sync());
  auto cursor = log->read_after({});
  EXPECT_EQ(read(**cursor), range(1, 3));
}

TEST_F(RelayLogTest, ASourceWithoutChecksumsGetsThem) {
  {
    auto log = open();
    Stream stream(*log, false);
    ASSERT_TRUE(stream.format());
    for (std::uint64_t i = 1; i <= 50; ++i) ASSERT_TRUE(stream.transaction(i, 300));
    ASSERT_TRUE(log->sync());
  }
  auto log = open();
  EXPECT_EQ(log->cut(), "");
  auto cursor = log->read_after({});
  EXPECT_EQ(read(**cursor), range(1, 50));
}

TEST_F(RelayLogTest, EventsInPartsArriveWhole) {
  for (bool checksums : {true, false}) {
    auto log = open();
    Stream stream(*log, checksums);
    std::uint64_t next = log->durable().stream.gtids.domains[0].sequence + 1;
    ASSERT_TRUE(stream.format(checksums ? "10.11.1" : "10.11.2"));
    ASSERT_TRUE(stream.begin(next));
    std::string body(3 << 20, 'L');
    std::string bytes = internal::make_event(EventType::kAnnotateRows, 1, 0, 0, body);
    if (!checksums) {
      bytes.resize(bytes.size() - 4);
      bytes.replace(9, 4, little(bytes.size(), 4));
    }
    auto head = mysql::parse_event_head(std::string_view(bytes).substr(0, 1000));
    ASSERT_TRUE(head);
    for (std::size_t from = 0; from < bytes.size();) {
      std::size_t size = std::min<std::size_t>(bytes.size() - from, 700'001);
      mysql::Received part;
      part.event = *head;
      part.part = std::string_view(bytes).substr(from, size);
      part.size = bytes.size();
      part.first = from == 0;
      from += size;
      part.last = from == bytes.size();
      part.checksummed = checksums;
      ASSERT_TRUE(log->append(part));
    }
    ASSERT_TRUE(stream.commit());
    ASSERT_TRUE(log->sync());
    auto cursor = log->read_after(at(next - 1));
    ASSERT_TRUE(cursor);
    ASSERT_TRUE(*(*cursor)->next(soon()));
    auto large = (*cursor)->next(soon());
    ASSERT_TRUE(large && *large) << large.error().message;
    EXPECT_EQ((*large)->event.body, body);
  }
}

TEST_F(RelayLogTest, AtItsBoundItHoldsTheSourceBackUntilSomethingIsApplied) {
  auto log = open(4096, 16384);
  Stream stream(*log);
  ASSERT_TRUE(stream.format());
  std::uint64_t next = 1;
  while (log->wait_for_room(BootClock::now())) {
    ASSERT_LT(next, 1000u);
    ASSERT_TRUE(stream.transaction(next++));
  }
  auto full = log->sync();
  ASSERT_TRUE(full);
  EXPECT_GE(full->offset.value, 16384u);
  std::thread applier([&] {
    std::this_thread::sleep_for(20ms);
    EXPECT_TRUE(log->purge(full->offset));
  });
  EXPECT_TRUE(log->wait_for_room(soon()));
  applier.join();
  EXPECT_LE(log->bytes(), 2 * 4096u);
  EXPECT_FALSE(log->read_after({}));
  EXPECT_EQ(log->read_after({}).error().code, Code::kNotFound);
  EXPECT_TRUE(log->read_after(at(next - 1)));
  // One transaction larger than the bound must be able to pass.
  ASSERT_TRUE(stream.begin(next));
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(log->wait_for_room(BootClock::now()));
    ASSERT_TRUE(stream.rows(1000));
  }
  ASSERT_TRUE(stream.commit());
  EXPECT_FALSE(log->wait_for_room(BootClock::now()));
  ASSERT_TRUE(log->purge(log->sync()->offset));
  EXPECT_TRUE(log->wait_for_room(BootClock::now()));
}

// The kernel refuses writes beyond RLIMIT_FSIZE as it does on a full disk: in the middle of one.
TEST_F(RelayLogTest, AFullDiskIsAnErrorThatKeepsThePositionAndCanBeMended) {
  auto log = open(1 << 20, 8 << 20);
  Stream stream(*log);
  ASSERT_TRUE(stream.format());
  ASSERT_TRUE(stream.transaction(1));
  ASSERT_TRUE(log->sync());
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 2000;
  ::setrlimit(RLIMIT_FSIZE, &small);
  ASSERT_TRUE(stream.transaction(2, 3000));
  auto full = log->sync();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kIo);
  EXPECT_NE(full.error().message.find("relay"), std::string::npos) << full.error().message;
  EXPECT_EQ(stream.commit().error().code, Code::kConflict);  // not before withdraw()
  ASSERT_TRUE(log->withdraw());
  EXPECT_EQ(log->received().stream.gtids, at(1).gtids);
  EXPECT_EQ(log->received().offset, log->durable().offset);
  ASSERT_TRUE(stream.format());
  ASSERT_TRUE(stream.transaction(2, 3000));
  ASSERT_TRUE(log->sync());
  auto cursor = log->read_after({});
  EXPECT_EQ(read(**cursor), range(1, 2));
}

TEST_F(RelayLogTest, WhatIsNoStreamIsRefused) {
  auto log = open();
  Stream stream(*log);
  EXPECT_EQ(stream.transaction(1).error().code, Code::kCorrupt);  // no format description
  ASSERT_TRUE(log->withdraw());
  ASSERT_TRUE(stream.format());
  ASSERT_TRUE(stream.begin(1));
  EXPECT_EQ(stream.begin(2).error().code, Code::kCorrupt);
  ASSERT_TRUE(log->withdraw());
  EXPECT_EQ(stream.rows(10).error().code, Code::kCorrupt);
  ASSERT_TRUE(log->withdraw());
  auto unknown = static_cast<EventType>(99);
  ASSERT_TRUE(stream.begin(1));
  Status strange = stream.event(unknown, "?");
  ASSERT_FALSE(strange);
  EXPECT_NE(strange.error().message.find("event type 99"), std::string::npos);
  ASSERT_TRUE(log->withdraw());
  ASSERT_TRUE(stream.begin(1));
  ASSERT_TRUE(stream.event(unknown, "?", mysql::kEventIgnorable));
  ASSERT_TRUE(stream.commit());
  ASSERT_TRUE(log->sync());
  auto cursor = log->read_after({});
  EXPECT_EQ(read(**cursor), range(1, 1));
}

TEST_F(RelayLogTest, OneProcessAtATime) {
  auto log = open();
  auto second = RelayLog::open({directory_.path() + "/relay", 4096, 1 << 20}, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
}

}  // namespace
}  // namespace leeward::replication
