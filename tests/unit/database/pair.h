// Two servers and the drivers of their sites' agents: 0 is "gcp", 1 is "aws".
#pragma once

#include <gtest/gtest.h>

#include "database/ledger.h"
#include "database/mariadb.h"
#include "servers/servers.h"

namespace leeward::database {

using testing::eventually;
using testing::MariadbServer;
using testing::TempDirectory;

class Pair : public ::testing::Test {
 protected:
  static constexpr SiteId kGcp{0}, kAws{1};

  MariadbServer& server(SiteId site) { return site == kGcp ? gcp_server : aws_server; }

  Mariadb driver(SiteId site) {
    MariadbOptions options;
    options.local = server(site).endpoint();
    options.admin_user = MariadbServer::kUser;
    options.admin_password = MariadbServer::kPassword;
    options.replication_user = "leeward_repl";
    options.replication_password = "repl-\\Pa55'";
    options.site = site;
    options.site_name = [](SiteId id) { return id == kGcp ? "gcp" : "aws"; };
    options.peers = {{kGcp, {gcp_server.endpoint()}}, {kAws, {aws_server.endpoint()}}};
    options.state_dir = directory.path() + (site == kGcp ? "/gcp" : "/aws");
    options.status_timeout = 3s;  // the machine may be busy
    options.control_timeout = 30s;
    return Mariadb(options);
  }

  Ledger ledger(SiteId site) {
    auto opened = Ledger::open(directory.path() + (site == kGcp ? "/gcp/ledger" : "/aws/ledger"));
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }

  FollowOutcome follow(SiteId standby, SiteId source, std::uint64_t epoch) {
    Ledger book = ledger(standby);
    auto outcome = driver(standby).follow(source, Epoch{epoch}, book);
    EXPECT_TRUE(outcome) << outcome.error().message;
    return outcome.value_or(FollowOutcome{});
  }

  void promote(SiteId site, std::uint64_t epoch) {
    auto position = driver(site).promote(Epoch{epoch}, 20s);
    ASSERT_TRUE(position) << position.error().message;
  }

  // gcp is the writer of epoch 1 and has the table app.t; aws follows it and has everything.
  void bootstrap() {
    auto prepared = driver(kGcp).prepare();
    ASSERT_TRUE(prepared) << prepared.error().message;
    promote(kGcp, 1);
    gcp_server.run("CREATE DATABASE app CHARACTER SET utf8mb4");
    gcp_server.run("CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40), n INT)");
    gcp_server.run("INSERT INTO app.t (v, n) VALUES ('one', 1), ('two', 2), ('three', 3)");
    EXPECT_EQ(follow(kAws, kGcp, 1).kind, FollowOutcome::Kind::kReseeded);
    catch_up(kAws, kGcp);
  }

  void catch_up(SiteId standby, SiteId source) {
    std::string position = server(source).scalar("SELECT @@gtid_binlog_pos");
    EXPECT_EQ(server(standby).scalar("SELECT MASTER_GTID_WAIT('" + position + "', 30)"), "0")
        << server(standby).scalar("SELECT @@gtid_slave_pos") << " is not " << position;
  }

  // Same data, accounts aside.
  void expect_equal() {
    EXPECT_EQ(gcp_server.contents("app"), aws_server.contents("app"));
    EXPECT_EQ(gcp_server.contents("leeward"), aws_server.contents("leeward"));
  }

  TempDirectory directory;
  MariadbServer gcp_server{1};
  MariadbServer aws_server{2};
};

}  // namespace leeward::database
