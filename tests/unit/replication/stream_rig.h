// Two real servers and a stream between them.
#pragma once

#include <gtest/gtest.h>

#include "replication/stream.h"
#include "servers/servers.h"

namespace leeward::replication::testing {

using leeward::testing::eventually;
using leeward::testing::MariadbServer;
using leeward::testing::TempDirectory;

inline constexpr Duration kLimit = 60s;

inline BootTime soon() { return BootClock::now() + kLimit; }

struct Pair {
  MariadbServer source{1};
  MariadbServer target{2};
};

// Both servers once for all tests of a program; each test has a schema of its own.
inline Pair& pair() {
  static Pair servers;
  return servers;
}

inline StreamOptions stream_options(Pair& servers, const std::string& task,
                                    const std::string& state_dir) {
  StreamOptions options;
  options.task = task;
  options.source = {servers.source.endpoint(), MariadbServer::kUser, MariadbServer::kPassword, {}};
  options.source_sql = servers.source.admin();
  options.target = servers.target.admin();
  options.server_id = 4001;
  options.state_dir = state_dir;
  return options;
}

// A stream that carries one schema, from the source's present position on.
class Link {
 public:
  Link(
      Pair& servers, const std::string& schema,
      const std::function<void(StreamOptions&)>& change = [](StreamOptions&) {})
      : servers_(servers), options_(stream_options(servers, schema, state_.path())) {
    options_.mapping.include = {{schema, "%"}};
    change(options_);
    make();
    auto at = mysql::parse_gtid_position(servers.source.scalar("SELECT @@gtid_binlog_pos"));
    EXPECT_TRUE(driver_->begin_at(*at, soon()));
  }

  void make() { driver_ = std::make_unique<StreamDriver>(options_, StreamParts{}); }
  void start() {
    auto started = driver_->start(soon());
    ASSERT_TRUE(started) << started.error().message;
  }
  // Waits until the target has all that the source has.
  void drain() {
    auto drained = driver_->drain({}, soon());
    EXPECT_TRUE(drained) << drained.error().message;
  }
  // The same, through errors that pass.
  void drain_when_mended() {
    EXPECT_TRUE(eventually(kLimit, [&] { return driver_->drain({}, soon()).has_value(); }))
        << driver_->status().error;
  }
  StreamDriver& driver() { return *driver_; }
  StreamOptions& options() { return options_; }

 private:
  Pair& servers_;
  TempDirectory state_;
  StreamOptions options_;
  std::unique_ptr<StreamDriver> driver_;
};

// CHECKSUM TABLE at both ends.
inline void expect_equal(Pair& servers, const std::string& at_source,
                         const std::string& at_target) {
  auto sum = [](MariadbServer& server, const std::string& table) {
    auto rows = server.connect().query("CHECKSUM TABLE " + table, soon());
    return rows && !rows->rows.empty() ? rows->rows[0][1].value_or("none") : "none";
  };
  std::string wanted = sum(servers.source, at_source);
  EXPECT_NE(wanted, "none") << at_source;
  EXPECT_EQ(wanted, sum(servers.target, at_target)) << at_source;
}

}  // namespace leeward::replication::testing
