// Everything between the sites' databases over TLS: the agent's SQL, the first copy, replication,
// and the reading of lost transactions. The servers take nothing else.
#include <gmock/gmock.h>

#include <filesystem>

#include "pair.h"
#include "servers/certificates.h"

namespace leeward::database {
namespace {

using testing::Authority;
using testing::CertificateFiles;
using ::testing::HasSubstr;

class Encrypted : public ::testing::Test {
 protected:
  static constexpr SiteId kGcp{0}, kAws{1};
  static std::vector<std::string> options(const Authority& authority,
                                          const CertificateFiles& files) {
    return {"--ssl-ca=" + authority.certificate(), "--ssl-cert=" + files.certificate,
            "--ssl-key=" + files.key, "--require-secure-transport=ON"};
  }

  static std::string ask(MariadbServer& server, const std::string& text) {
    return server.scalar(text);
  }
  static std::string link_error(MariadbServer& server) {
    auto connection = server.connect();
    auto rows = connection.query("SHOW ALL SLAVES STATUS", BootClock::now() + 20s);
    return rows ? rows->cell(0, "Last_IO_Error").value_or("") : rows.error().message;
  }

  Mariadb driver(SiteId site, const std::string& password = "repl-Pa55") {
    MariadbOptions o;
    o.local = (site == kGcp ? gcp : aws).endpoint();
    o.admin_user = MariadbServer::kUser;
    o.admin_password = MariadbServer::kPassword;
    o.replication_user = "leeward_repl";
    o.replication_password = password;
    o.site = site;
    o.site_name = [](SiteId id) { return id == kGcp ? "gcp" : "aws"; };
    o.peers = {{kGcp, {gcp.endpoint()}}, {kAws, {aws.endpoint()}}};
    o.replication.tls.ca = authority.certificate();
    o.state_dir = directory.path() + (site == kGcp ? "/gcp" : "/aws");
    o.status_timeout = 3s;
    o.control_timeout = 30s;
    return Mariadb(o);
  }
  Result<FollowOutcome> follow(SiteId standby, SiteId source, std::uint64_t epoch,
                               const std::string& password = "repl-Pa55") {
    auto book = Ledger::open(directory.path() + (standby == kGcp ? "/gcp/ledger" : "/aws/ledger"));
    return driver(standby, password).follow(source, Epoch{epoch}, *book);
  }
  void install(const CertificateFiles& files) {
    auto over = std::filesystem::copy_options::overwrite_existing;
    std::filesystem::copy_file(files.certificate, served.certificate, over);
    std::filesystem::copy_file(files.key, served.key, over);
  }
  bool caught_up() {
    return eventually(30s, [&] {
      return ask(aws, "SELECT @@gtid_slave_pos") == ask(gcp, "SELECT @@gtid_binlog_pos");
    });
  }

  TempDirectory directory;
  Authority authority{directory.path(), "authority"};
  CertificateFiles served = authority.issue("gcp", "127.0.0.1");
  MariadbServer gcp{1, options(authority, served)};
  MariadbServer aws{2, options(authority, authority.issue("aws", "127.0.0.1"))};
};

TEST_F(Encrypted, WorksFromTheFirstCopyOnAndSaysWhatIsWrongWithACertificateOrAPassword) {
  auto prepared = driver(kGcp).prepare();
  ASSERT_TRUE(prepared) << prepared.error().message;
  ASSERT_TRUE(driver(kGcp).promote(Epoch{1}, 20s));
  for (const char* statement : {"CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)",
                                "INSERT INTO app.t VALUES (1)"})
    ask(gcp, statement);
  auto copied = follow(kAws, kGcp, 1);
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_EQ(copied->kind, FollowOutcome::Kind::kReseeded);
  ASSERT_TRUE(caught_up());
  EXPECT_EQ(
      ask(gcp, "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'leeward_repl'"),
      "1");

  // An expired certificate: the standby says so and keeps its position; mended, it goes on by
  // itself.
  std::string before = ask(aws, "SELECT @@gtid_slave_pos");
  gcp.kill();
  CertificateFiles good{directory.path() + "/good.pem", directory.path() + "/good.key"};
  std::filesystem::copy_file(served.certificate, good.certificate);
  std::filesystem::copy_file(served.key, good.key);
  install(authority.issue("expired", "127.0.0.1", -1h));
  gcp.start();
  EXPECT_TRUE(eventually(30s, [&] {
    return link_error(aws).find("SSL connection error") != std::string::npos;  // its words
  })) << link_error(aws);
  auto status = driver(kGcp).status();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("certificate has expired"));
  EXPECT_EQ(ask(aws, "SELECT @@gtid_slave_pos"), before);
  EXPECT_EQ(ask(aws, "SELECT COUNT(*) FROM app.t"), "1");
  gcp.kill();
  install(good);
  gcp.start();
  ASSERT_TRUE(driver(kGcp).promote(Epoch{1}, 20s));
  ask(gcp, "INSERT INTO app.t VALUES (2)");
  ASSERT_TRUE(caught_up()) << link_error(aws);
  EXPECT_EQ(ask(aws, "SELECT COUNT(*) FROM app.t"), "2");

  // A wrong password for replication, then the right one.
  ask(aws, "STOP SLAVE");
  ask(aws, "RESET SLAVE ALL");
  ASSERT_TRUE(follow(kAws, kGcp, 1, "wrong"));
  EXPECT_TRUE(eventually(30s, [&] {
    return link_error(aws).find("Access denied") != std::string::npos;
  })) << link_error(aws);
  EXPECT_EQ(link_error(aws).find("wrong"), std::string::npos);
  auto again = follow(kAws, kGcp, 1);
  ASSERT_TRUE(again) << again.error().message;
  ask(gcp, "INSERT INTO app.t VALUES (3)");
  EXPECT_TRUE(caught_up()) << link_error(aws);

  // Lost transactions are read from the own log over TLS as well.
  ask(aws, "STOP SLAVE IO_THREAD");
  ask(gcp, "INSERT INTO app.t VALUES (4)");
  ASSERT_TRUE(driver(kAws).promote(Epoch{2}, 20s));
  auto rewound = follow(kGcp, kAws, 2);
  ASSERT_TRUE(rewound) << rewound.error().message;
  EXPECT_EQ(rewound->kind, FollowOutcome::Kind::kRewound) << rewound->why_reseeded;
  EXPECT_EQ(rewound->ledger_entries, 1u);
}

}  // namespace
}  // namespace leeward::database
