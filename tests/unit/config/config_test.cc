#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leeward::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> lines(const Loaded& loaded) {
  std::vector<std::string> out;
  for (const Problem& p : loaded.problems) out.push_back(to_string(p));
  return out;
}

Loaded load(std::string_view text) { return load_text(text, "leeward.yaml", "/srv/shop"); }

TEST(Config, TheStartingFileIsAPlatform) {
  Loaded loaded = load(starting_file("shop"));
  ASSERT_THAT(lines(loaded), IsEmpty());
  const Platform& p = *loaded.platform;
  EXPECT_EQ(p.name, "shop");
  EXPECT_EQ(p.directory, "/srv/shop");
  EXPECT_EQ(p.state_dir, "state");
  ASSERT_EQ(p.sites.size(), 3u);
  EXPECT_EQ(p.sites[0].name, "gcp");
  EXPECT_EQ(p.sites[0].role, SiteRole::kPrimary);
  EXPECT_EQ(p.sites[2].role, SiteRole::kWitness);
  EXPECT_EQ(p.control.site, SiteId{2});
  EXPECT_EQ(to_string(p.control.listen), "10.77.3.1:7400");
  EXPECT_EQ(p.agent_token.kind, SecretRef::Kind::kFile);
  EXPECT_EQ(p.agent_token.where, "secrets/agent.token");
  EXPECT_EQ(p.lease.takeover, 4500ms);
  EXPECT_DOUBLE_EQ(p.lease.clock_drift, 0.01);
  ASSERT_EQ(p.databases.size(), 2u);
  EXPECT_EQ(p.databases[0].admin_user, "leeward");
  EXPECT_EQ(p.databases[0].peer_port, 3308);
  EXPECT_EQ(to_string(p.databases[0].sites.at(SiteId{1}).address()), "10.77.2.1:3306");
  EXPECT_TRUE(p.databases[1].loss_allowed);
  ASSERT_EQ(p.tiers.size(), 2u);
  EXPECT_EQ(p.tiers[0].name, "app");
  EXPECT_TRUE(p.tiers[0].local);
  EXPECT_EQ(p.tiers[0].ready->port, 5000) << "the tier's own port is the default";
  EXPECT_EQ(p.tiers[0].process.env.at("DATABASE"), "{gateway.orders}");
  EXPECT_THAT(p.tiers[1].process.command,
              ElementsAre("./web", "--listen", "{address}:{port}", "--app", "127.0.0.1:5000"));
  ASSERT_EQ(p.dns.records.size(), 4u);
  EXPECT_TRUE(p.dns.records[0].failover);
  EXPECT_EQ(p.dns.records[0].ttl, 2s);
  EXPECT_EQ(p.dns.records[0].site_values.at(SiteId{1}), "10.77.2.1");
  EXPECT_EQ(p.dns.records[1].ttl, 30s) << "the zone's TTL is the default";
  EXPECT_EQ(p.probes.quorum, 2);
  EXPECT_EQ(p.failover.rpo, 1s);
  EXPECT_EQ(p.failover.block_window, 30min);
  EXPECT_EQ(p.preferred_site(), SiteId{0});
}

TEST(Config, AGatewayMayListenOnTheSitesAddress) {
  std::string text = starting_file("shop");
  text.replace(text.find("127.0.0.1:3307"), 9, "{address}");
  Loaded loaded = load(text);
  ASSERT_THAT(lines(loaded), IsEmpty());
  EXPECT_EQ(loaded.platform->databases[0].gateway.host, "{address}");
}

// One file, twelve mistakes of different kinds: all are found in one go, each where it stands.
constexpr std::string_view kTwelveMistakes = R"(version: 1
name: shop
sites:
  gcp: { role: primary, address: 10.77.1.1 }
  aws: { role: standby, address: 10.77.2.1 }
  witness: { role: witness, address: 10.77.3.1 }
access: { agent_token: hunter2hunter2, operator_token: "env:TOKEN" }
control: { site: gcp, listen: "10.77.1.1:7400" }
lease: { duration: 5s, takeover: 4.5s }
databases:
  orders:
    engine: mariadb
    engine: redis
    admin: { user: leeward, password: "env:ADMIN" }
    replication: { user: replica, password: "env:REPLICATION" }
    gateway: { listen: "127.0.0.1:3307", peer_port: 70000 }
    sites:
      gcp: { address: "10.77.1.1:3306" }
      awz: { address: "10.77.2.1:3306" }
tiers:
  web:
    command: [./web, "--db={gateway.order}"]
    port: 7401
dns:
  zone: shop.test
  contact: hostmaster@shop.test
  nameservers: [ns1.other.test]
  records:
    - { name: www, type: A, ttl: 2, failover: { gcp: 10.77.1.1 } }
probes:
  intervall: 2s
  quorum: 1
  port: 7401
)";

TEST(Config, AllMistakesAreReportedAtOnceWithTheirPositions) {
  Loaded loaded = load(kTwelveMistakes);
  EXPECT_FALSE(loaded.platform);
  EXPECT_THAT(
      lines(loaded),
      ElementsAre(
          "leeward.yaml:7:24: agent_token: this is not a valid secret; write file:PATH or "
          "env:NAME; "
          "the secret itself never stands in this file",
          "leeward.yaml:8:18: control.store sqlite on site 'gcp' refuses automatic failover unless "
          "that node is declared the witness: the site that fails would take the decision with it; "
          "move control to a witness or write mode: approve",
          "leeward.yaml:9:34: two sites could write at once: takeover 4.5s < (duration 5s + grace "
          "1s) · (1 + 0.01) / (1 − 0.01); write at least 6.122s",
          "leeward.yaml:13:5: duplicate key 'engine'; it was set before in line 12",
          "leeward.yaml:16:53: peer_port: '70000' is out of range; write 1 to 65535",
          "leeward.yaml:19:7: there is no site 'awz'; did you mean 'aws'?",
          "leeward.yaml:22:22: {gateway.order} names a database that does not exist; did you mean "
          "'gateway.orders'?",
          "leeward.yaml:23:11: port clash on site 'gcp': tier 'web' and agent.port both listen on "
          "10.77.1.1:7401",
          "leeward.yaml:29:34: ttl: '2' has no unit; write for example 2s or 2ms",
          "leeward.yaml:29:37: record 'www' has no value for site 'aws'; the name would have no "
          "answer while that site is active",
          "leeward.yaml:31:3: unknown key 'intervall' in probes; did you mean 'interval'?",
          "leeward.yaml:32:11: quorum 1 of 3 vantage points (all sites, witness included) is not a "
          "majority; write 2 to 3"));
}

TEST(Config, ASecretInTheWrongPlaceIsNotRepeatedInTheMessage) {
  for (const std::string& line : lines(load(kTwelveMistakes)))
    EXPECT_THAT(line, Not(HasSubstr("hunter2")));
}

TEST(Config, ASyntaxErrorHasAPosition) {
  EXPECT_THAT(lines(load("version: 1\nsites: {gcp: [}\n")),
              ElementsAre(HasSubstr("leeward.yaml:2:15: not valid YAML: ")));
}

TEST(Config, AnEmptyFileSaysWhereToStart) {
  EXPECT_THAT(lines(load("")), ElementsAre(HasSubstr("leeward init")));
  EXPECT_THAT(lines(load("# nothing\n")), ElementsAre(HasSubstr("leeward init")));
}

TEST(Config, AFileThatIsNotThereIsAProblem) {
  Loaded loaded = load_file("/nonexistent/leeward.yaml");
  EXPECT_FALSE(loaded.platform);
  EXPECT_THAT(lines(loaded), ElementsAre(HasSubstr("/nonexistent/leeward.yaml: no such file")));
}

TEST(Config, ASecondDocumentIsRefused) {
  EXPECT_THAT(lines(load(starting_file("shop") + "---\nname: other\n")),
              ElementsAre(HasSubstr("a second document")));
}

TEST(Config, AnAliasRepeatsAValue) {
  std::string text = starting_file("shop");
  auto at = text.find("ready: { path: /healthz }");
  text.insert(at + 7, "&check ");
  at = text.find("ready: { path: /healthz }", at);
  text.replace(at, 25, "ready: *check");
  Loaded loaded = load(text);
  ASSERT_THAT(lines(loaded), IsEmpty());
  EXPECT_EQ(loaded.platform->tiers[1].ready->path, "/healthz");
}

TEST(Config, MergeKeysAndTagsAreRefused) {
  EXPECT_THAT(lines(load("lease: { <<: &x { duration: 3s } }\n")),
              ::testing::Contains(HasSubstr("merge keys")));
  EXPECT_THAT(lines(load("name: !!binary c2hvcA==\n")), ElementsAre(HasSubstr("tag")));
}

TEST(Config, DeepNestingIsBounded) {
  std::string deep(kNestingMax + 1, '[');
  deep += std::string(kNestingMax + 1, ']');
  EXPECT_THAT(lines(load(deep)), ElementsAre(HasSubstr("levels deep")));
  EXPECT_THAT(lines(load(std::string(100'000, '['))), ElementsAre(HasSubstr("leeward.yaml:1:")));
}

TEST(Config, AliasesCannotGrowWithoutBound) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    std::string previous = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + previous;
    for (int j = 1; j < 10; ++j) text += ", " + previous;
    text += "]\n";
  }
  EXPECT_THAT(lines(load(text)), ElementsAre(HasSubstr("aliases expanded")));
}

TEST(Config, AnAliasOfItselfIsRefused) {
  EXPECT_THAT(lines(load("a: &a [*a]\n")), ElementsAre(HasSubstr("not complete")));
}

TEST(Config, AHugeFileIsRefused) {
  EXPECT_THAT(lines(load(std::string(kTextBytesMax + 1, '#'))), ElementsAre(HasSubstr("larger")));
}

TEST(Config, ThousandsOfProblemsAreCountedNotListed) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "key" + std::to_string(i) + ": 1\n";
  Loaded loaded = load(text);
  EXPECT_EQ(loaded.problems.size(), kProblemsMax + 1);
  EXPECT_THAT(loaded.problems.back().message, HasSubstr("more problems"));
}

}  // namespace
}  // namespace leeward::config
