// Each rule of the configuration: the starting file with one thing changed, and what is said then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config.h"

namespace leeward::config {
namespace {

using ::testing::HasSubstr;

struct Change {
  std::string from;
  std::string to;
  std::string says;  // in the first problem; empty: the changed file is still good
};

std::ostream& operator<<(std::ostream& out, const Change& c) {
  return out << "'" << c.from << "' -> '" << c.to << "'";
}

class Rule : public ::testing::TestWithParam<Change> {};

TEST_P(Rule, IsReportedOnce) {
  const Change& change = GetParam();
  std::string text = starting_file("shop");
  auto at = text.find(change.from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, change.from.size(), change.to);
  Loaded loaded = load_text(text, "leeward.yaml", "/");
  std::string all;
  for (const Problem& p : loaded.problems) all += to_string(p) + "\n";
  if (change.says.empty()) {
    EXPECT_TRUE(loaded.platform) << all;
    return;
  }
  EXPECT_FALSE(loaded.platform);
  EXPECT_EQ(loaded.problems.size(), 1u) << all;
  EXPECT_THAT(all, HasSubstr(change.says));
}

const std::string kOrdersSites = "      gcp: { address: \"10.77.1.1:3306\" }\n";
const std::string kWww = "failover: { gcp: 10.77.1.1, aws: 10.77.2.1 }";

std::string edge_with(const std::string& firewall) {
  return "\nedge:\n  listeners: [{ port: 80 }]\n  origins: { o: { servers: [\"10.0.0.1:80\"] } }\n"
         "  routes: [{ origins: o }]\n  firewall: { " +
         firewall + " }\ndns:\n";
}

const std::string kAppProcess =
    "    command: [./app, --listen, \"{address}:{port}\"]\n    directory: .\n";

INSTANTIATE_TEST_SUITE_P(
    Images, Rule,
    ::testing::Values(
        Change{kAppProcess, "    image: images/app:v1\n", ""},
        Change{kAppProcess, "    image: app.tar\n    command: [serve]\n    directory: /srv\n", ""},
        Change{kAppProcess, "", "tier 'app' has neither a command nor an image; write one"},
        Change{kAppProcess, "    image: app\n    command: []\n", "the command is empty"},
        Change{kAppProcess, "    image: app\n    directory: srv\n",
               "'srv' is a directory of the image, and must begin with '/'"}));

INSTANTIATE_TEST_SUITE_P(
    WebApplicationFirewall, Rule,
    ::testing::Values(
        Change{"\ndns:\n", edge_with("rules_file: rules.conf, mode: block"), ""},
        Change{"\ndns:\n", edge_with("mode: block"),
               "without rules_file or policy no request is inspected"},
        Change{"\ndns:\n", edge_with("rules_file: r.conf, on_failure: open"), "fail_open"},
        Change{"\ndns:\n",
               edge_with("rules_file: r.conf, held_bytes_max: 65536, body_bytes_max: 131072"),
               "held_bytes_max is below twice body_bytes_max"},
        Change{"\ndns:\n",
               edge_with("rules_file: r.conf, held_bytes_max: 131072, body_bytes_max: 65537"),
               "held_bytes_max is below twice body_bytes_max"},
        Change{"\ndns:\n",
               edge_with("rules_file: r.conf, held_bytes_max: 131072, body_bytes_max: 65536"),
               ""}));

INSTANTIATE_TEST_SUITE_P(
    FirewallPolicies, Rule,
    ::testing::Values(
        Change{"\ndns:\n",
               edge_with("mode: block, policy: { sensitivity: 2, groups: { sqli: count } }"), ""},
        Change{"\ndns:\n", edge_with("rules_file: r, policy: {}"), "give rules_file or policy"},
        Change{"\ndns:\n", edge_with("policy: { groups: { sql: off } }"), "did you mean 'sqli'?"},
        Change{"\ndns:\n", edge_with("policy: { rules: [{ name: a, when: 'pth == \"/\"' }] }"),
               "column 1: there is no field 'pth'"},
        Change{"\ndns:\n",
               edge_with("policy: { rules: [{ name: a, when: path }, { name: a, when: path }] }"),
               "there is a rule 'a' already"},
        Change{"\ndns:\n", edge_with("policy: { exclusions: [{ groups: [xs] }] }"),
               "did you mean 'xss'?"},
        Change{"\ndns:\n", edge_with("policy: { exclusions: [{ rules: ['942'], values: [arg] }] }"),
               "column 4: '(' was expected here"},
        Change{"\ndns:\n", edge_with("policy: { exclusions: [{ values: ['size(args)'] }] }"),
               "name the value alone"}));

INSTANTIATE_TEST_SUITE_P(
    CachePolicies, Rule,
    ::testing::Values(
        Change{"\ndns:\n", edge_with("}\n  cache_policies: { c: { slice_bytes: 65536 }"), ""},
        Change{"\ndns:\n", edge_with("}\n  cache_policies: { c: { slice_bytes: 4096 }"),
               "slices of 4096 bytes would cost"}));

std::string edge_of(const std::string& origins, const std::string& route) {
  return "\nedge:\n  listeners: [{ port: 80 }]\n  origins: { o: { " + origins +
         " } }\n  routes: [{ origins: o" + route + " }]\ndns:\n";
}

INSTANTIATE_TEST_SUITE_P(
    OriginsAndSignatures, Rule,
    ::testing::Values(
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:443\"], tls: {}, protocol: http2", ""),
               ""},
        Change{"\ndns:\n",
               edge_of("servers: [\"unix:/run/o\"], tls: { name: o.test, certificate: c, key: k }",
                       ""),
               ""},
        Change{"\ndns:\n",
               edge_of("servers: [\"10.0.0.1:80\"], protocol: http2, "
                       "check: { grpc: true, grpc_service: s }",
                       ""),
               ""},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:80\"], check: { grpc: true }", ""),
               "gRPC needs protocol: http2"},
        Change{"\ndns:\n",
               edge_of("servers: [\"10.0.0.1:80\"], protocol: http2, "
                       "check: { grpc: true, path: /x }",
                       ""),
               "not both"},
        Change{"\ndns:\n",
               edge_of("servers: [\"10.0.0.1:80\"], check: { path: /, grpc_service: s }", ""),
               "is for checks with grpc: true"},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:443\"], tls: { key: k }", ""),
               "certificate and key belong together"},
        Change{"\ndns:\n", edge_of("servers: [\"unix:/run/o\"], tls: {}", ""),
               "has no host that could be verified"},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:80\"], protocol: h3", ""), "http2"},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:80 weight=3\", \"[::1]:80\"]", ""), ""},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1\"]", ""), "write 10.0.0.1:8080"},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:80 weight=0\"]", ""), "weight=N, from 1"},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:80\"], shield: true", ""), "only a tier"},
        Change{"\ndns:\n",
               edge_of("servers: [\"10.0.0.1:80\"]",
                       ", signed: { keys: [{ id: k, secret: \"env:K\" }] }"),
               ""},
        Change{"\ndns:\n", edge_of("servers: [\"10.0.0.1:80\"]", ", signed: { keys: [] }"),
               "without a key nobody could sign"},
        Change{"\ndns:\n",
               edge_of("servers: [\"10.0.0.1:80\"]",
                       ", signed: { keys: [{ id: k, secret: \"env:K\" }, { id: k, secret: "
                       "\"env:L\" }] }"),
               "there is a key 'k' already"}));

INSTANTIATE_TEST_SUITE_P(
    Nodes, Rule,
    ::testing::Values(
        Change{kOrdersSites,
               "      gcp: { nodes: [{ address: \"10.77.1.1:3306\" }, { address: "
               "\"10.77.1.2:3306\" }] }\n",
               ""},
        Change{kOrdersSites, "      gcp: { nodes: [{ address: \"10.77.1.1:3306\" }] }\n", ""},
        Change{kOrdersSites, "      gcp: {}\n", "'address' is missing"},
        Change{kOrdersSites, "      gcp: { nodes: [] }\n", "0 nodes; a site has one or two"},
        Change{kOrdersSites,
               "      gcp: { address: \"10.77.1.1:3306\", nodes: [{ address: \"10.77.1.2:3306\" }] "
               "}\n",
               "give either address and run"},
        Change{kOrdersSites,
               "      gcp: { nodes: [{ address: \"10.77.1.1:3306\" }, { address: "
               "\"10.77.1.1:3306\" }] }\n",
               "port clash"}));

// One acknowledgement of any replica lets a commit go on: it would be the other node's or the other
// site's.
TEST(Nodes, CannotBeCombinedWithCommitsThatWaitForTheOtherSite) {
  for (const char* mode : {"lossless", "semi_sync"}) {
    std::string text = starting_file("shop");
    auto replace = [&](const std::string& from, const std::string& to) {
      auto at = text.find(from);
      ASSERT_NE(at, std::string::npos);
      text.replace(at, from.size(), to);
    };
    replace(kOrdersSites,
            "      gcp: { nodes: [{ address: \"10.77.1.1:3306\" }, { address: \"10.77.1.2:3306\" "
            "}] }\n");
    replace("replication: { user: replica,",
            std::string("replication: { mode: ") + mode + ", user: replica,");
    Loaded loaded = load_text(text, "leeward.yaml", "/");
    EXPECT_FALSE(loaded.platform);
    ASSERT_EQ(loaded.problems.size(), 1u);
    EXPECT_THAT(to_string(loaded.problems[0]), HasSubstr("two nodes cannot be combined"));
    EXPECT_THAT(to_string(loaded.problems[0]),
                ::testing::ContainsRegex("leeward.yaml:[0-9]+:[0-9]+"));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Values, Rule,
    ::testing::Values(
        Change{"version: 1", "version: 2", "version: '2' is out of range"},
        Change{"name: shop\n", "name: Shop\n", "name: 'Shop' is not a valid name"},
        Change{"name: shop\n", "naem: shop\n", ":4:1: unknown key 'naem'; did you mean 'name'?"},
        Change{"name: shop\n", "", "1:1: 'name' is missing"},
        Change{"local: true", "local: yes", "neither true nor false"},
        Change{"rise: 2", "rise: \"2\"", "without quotes"},
        Change{"rise: 2", "rise: 2.5", "not a whole number"},
        Change{"rise: 2", "rise: 99999999999999999999", "out of range; write 1 to 20"},
        Change{"rise: 2", "rise:", "'rise' has no value; expected a whole number"},
        Change{"rise: 2", "rise: [2]", "'rise' must be a single value"},
        Change{"interval: 1s", "interval: 1", "'1' has no unit; write for example 1s or 1ms"},
        Change{"interval: 1s", "interval: 1 sec", "unknown unit"},
        Change{"clock_drift: 1%", "clock_drift: 0.01", "is not a percentage"},
        Change{"clock_drift: 1%", "clock_drift: 60%", "out of range; write 0% to 20%"},
        Change{"store: sqlite", "store: etcd", "write one of: sqlite"},
        Change{"agent: { port: 7401 }", "agent: 7401", "'agent' must be a section"},
        Change{"command: [./app", "command: ./app #", "'command' must be a list"},
        Change{"DATABASE: ", "\"DATA BASE\": ", "not a name of an environment variable"},
        Change{"DATABASE: \"{gateway.orders}\"", "DATABASE: 3306", ""},
        Change{"directory: .", "directory: \"\"", "directory: '' is not a valid text"},
        Change{"10.77.3.1 }", "10.77.3.256 }", "is not a valid IPv4 address"}));

INSTANTIATE_TEST_SUITE_P(
    Safety, Rule,
    ::testing::Values(
        Change{"role: primary", "role: standby", ":8:1: no site has the role primary"},
        Change{"takeover: 4.5s", "takeover: 4s",
               "takeover 4s < (duration 3s + grace 1s) · (1 + 0.01) / (1 − 0.01); write at least "
               "4.081s"},
        Change{"takeover: 4.5s", "takeover: 4.081s", ""},
        Change{"renew_every: 500ms", "renew_every: 2s", "leaves no second try"},
        Change{"site: witness\n  listen: \"10.77.3.1:7400\"",
               "site: gcp\n  listen: \"10.77.1.1:7400\"",
               "refuses automatic failover unless that node is declared the witness"},
        Change{"listen: \"10.77.3.1:7400\"", "listen: \"0.0.0.0:7400\"",
               "write the address of site"},
        Change{"listen: \"10.77.3.1:7400\"", "listen: \"127.0.0.1:7400\"", "cannot reach"},
        Change{"quorum: 2", "quorum: 4", "can never be reached; write 2 to 3"},
        Change{"quorum: 2", "quorum: 1", "is not a majority"},
        Change{"timeout: 800ms", "timeout: 1s", "must be shorter than interval"},
        Change{"preferred: gcp", "preferred: witness", "is a witness"},
        Change{"preferred: gcp", "preferred: gpc", "there is no site 'gpc'; did you mean 'gcp'?"},
        Change{"rpo: 1s", "rpo: 100ms", "cannot be measured"}));

INSTANTIATE_TEST_SUITE_P(
    Databases, Rule,
    ::testing::Values(
        Change{kOrdersSites, "", "database 'orders' has no server on site 'gcp'"},
        Change{kOrdersSites, kOrdersSites + "      witness: { address: \"10.77.3.1:3306\" }\n",
               "runs no database"},
        Change{"    replication: { user: replica, password: \"file:secrets/db-replication\" }\n",
               "", "'replication' is missing in databases.orders: mariadb needs it"},
        Change{"    loss_allowed: true\n", "    loss_allowed: true\n    heartbeat: 1s\n",
               "'heartbeat' has no meaning for redis"},
        Change{"    heartbeat: 250ms\n", "    loss_allowed: true\n", "loss_allowed is for redis"},
        Change{"{gateway.sessions}", "{gateway.session}", "did you mean 'gateway.sessions'?"},
        Change{"{gateway.sessions}", "{sit}", "unknown placeholder {sit}; did you mean 'site'?"},
        Change{"{gateway.sessions}", "${HOME} {\\\"json\\\": {}} {}", ""},
        Change{"127.0.0.1:6380", "127.0.0.1:3307", "port clash on site 'gcp'"},
        Change{"peer_port: 6381", "peer_port: 7401", "port clash on site 'gcp'"},
        Change{"port: 53\n", "port: 7400\n", "port clash on site 'witness'"},
        Change{"port: 5000\n", "port: 3307\n", "tier 'app' and the gateway of database 'orders'"},
        Change{"port: 8080\n", "port: 7399\n    instances: 3\n", "both listen on 10.77.1.1:7401"},
        Change{"  port: 8080\n  path", "  port: 5000\n  path", "tier 'app', which is local"},
        Change{"10.77.2.1 }", "10.77.1.1 }", "have the same address"}));

INSTANTIATE_TEST_SUITE_P(
    Dns, Rule,
    ::testing::Values(
        Change{kWww, "failover: { gcp: 10.77.1.1 }", "has no value for site 'aws'"},
        Change{kWww, "failover: { gcp: 10.77.1.1, aws: 10.77.2.1, witness: 10.77.3.1 }",
               "can never be the active one"},
        Change{kWww, "failover: { gcp: 10.77.1.1, aws: 10.77.2 }",
               "'10.77.2' is not an IPv4 address"},
        Change{kWww, kWww + ", values: [10.77.1.1]", "has both failover and values"},
        Change{", " + kWww, "", "has neither values nor failover"},
        Change{kWww, kWww + ", answer: all", "which only an edge can serve"},
        Change{kWww, "values: [10.77.1.1], answer: all", "answer is for failover records"},
        Change{"ttl: 2s", "ttl: 2500ms", "not a whole number of seconds"},
        Change{"zone: shop.test", "zone: sh_op.test", "is not a valid host name"},
        Change{"hostmaster@shop.test", "hostmaster", "is not a valid mail address"},
        Change{"ns3.shop.test]", "ns4.shop.test]", "'ns4.shop.test' is inside the zone"},
        Change{"ns3.shop.test]", "ns.other.test]", ""},
        Change{"name: ns2, type: A, values: [10.77.2.1]", "name: ns1, type: A, values: [10.77.2.1]",
               "is there already"},
        Change{"type: A, ttl: 2s, " + kWww,
               "type: CNAME, failover: { gcp: gcp.shop.test., aws: aws.shop.test. }", ""},
        Change{"  records:\n", "  records:\n    - { name: www, type: TXT, values: [x] }\n", ""},
        Change{"  records:\n", "  records:\n    - { name: www, type: CNAME, values: [x] }\n",
               "must stand alone"},
        Change{"  records:\n",
               "  records:\n    - { name: \"@\", type: MX, values: [\"10 mail\"] }\n", ""},
        Change{"  records:\n", "  records:\n    - { name: \"@\", type: MX, values: [mail] }\n",
               "is not 'PREFERENCE HOST'"},
        Change{"  records:\n", "  records:\n    - { name: a..b, type: TXT, values: [x] }\n",
               "is not a valid record name"}));

const std::string kTier = "    port: 5000\n    local: true\n";

std::string scaled(const std::string& scaling) {
  return "    port: 5000\n    local: true\n    scaling: { " + scaling + " }\n";
}

INSTANTIATE_TEST_SUITE_P(
    Scaling, Rule,
    ::testing::Values(
        Change{kTier, scaled("max: 8, policies: { cpu: { metric: cpu, target: 60 } }"), ""},
        Change{kTier, scaled("min: 4, max: 2"), "min 4 is more than max 2"},
        Change{kTier, scaled("max: 80"), "out of range"},
        Change{kTier, scaled("max: 4, policies: { cpu: { metric: cpu } }"),
               "a target above zero is needed"},
        Change{kTier, scaled("max: 4, policies: { cpu: { metric: cpu, target: high } }"),
               "is not a number"},
        Change{kTier, scaled("max: 4, policies: { cpu: { metric: cpu, target: 60, below: true } }"),
               "'below' belongs to kind: step"},
        Change{kTier, scaled("max: 4, policies: { m: { metric: memory, target: 60 } }"),
               "limits.memory_bytes_max, which this tier does not have"},
        Change{kTier, scaled("max: 4, policies: { q: { metric: prometheus, target: 6 } }"),
               "'series' is missing"},
        Change{kTier,
               scaled("max: 4, policies: { q: { metric: prometheus, series: 'a{', target: 6 } }"),
               "is not a valid series"},
        Change{kTier, scaled("max: 4, policies: { r: { metric: requests, target: 6 } }"),
               "no group of edge.origins has tier"},
        Change{kTier, scaled("max: 4, policies: { l: { kind: step, metric: cpu, threshold: 80 } }"),
               "at least one step is needed"},
        Change{kTier,
               scaled("max: 4, policies: { l: { kind: step, metric: cpu, threshold: 80, steps: "
                      "[{ change: 1 }, { change: 2 }] } }"),
               "in the order of their offsets"},
        Change{kTier,
               scaled("max: 4, schedules: { n: { from: \"08:00\", until: \"18:00\", min: 2 } }"),
               ""},
        Change{kTier,
               scaled("max: 4, schedules: { n: { from: \"8:00\", until: \"18:00\", min: 2 } }"),
               "is not a valid time of day"},
        Change{
            kTier,
            scaled("max: 4, schedules: { n: { from: \"08:00\", until: \"18:00\", days: [monday], "
                   "min: 2 } }"),
            "is not a valid day of the week"},
        Change{kTier, scaled("max: 4, schedules: { n: { from: \"08:00\", until: \"18:00\" } }"),
               "needs min, max or both"},
        Change{kTier, scaled("max: 4, utc_offset: 9h"), "is not a valid offset from UTC"}));

std::string deployed(const std::string& deploy) {
  return "    port: 5000\n    local: true\n    deploy: { " + deploy + " }\n";
}

INSTANTIATE_TEST_SUITE_P(
    Deploying, Rule,
    ::testing::Values(
        Change{kTier, deployed("max_surge: 1, max_unavailable: 0, ready_within: 30s, watch: 5s"),
               ""},
        Change{kTier, deployed("strategy: blue-green, keep_old: 1h, crashes: 5"), ""},
        Change{kTier, deployed("max_surge: 0, max_unavailable: 0"), "nothing could be replaced"},
        Change{kTier, deployed("strategy: blue-green, max_surge: 2"),
               "'max_surge' belongs to strategy: rolling"},
        Change{kTier, deployed("keep_old: 5m"), "'keep_old' belongs to strategy: blue-green"},
        Change{kTier, deployed("strategy: canary"), "canary"},
        Change{kTier, "    port: 65530\n    local: true\n    deploy: { max_surge: 20 }\n",
               "go beyond 65535"}));

TEST(Rules, ADeploymentHasPortsOfItsOwnAfterTheTiers) {
  auto slots = [](const std::string& lines) {
    std::string text = starting_file("shop");
    text.replace(text.find(kTier), kTier.size(), lines);
    Loaded loaded = load_text(text, "leeward.yaml", "/");
    EXPECT_TRUE(loaded.platform);
    for (const Tier& tier : loaded.platform->tiers)
      if (tier.port == 5000) return std::pair(tier.instances_max(), tier.slots());
    return std::pair(0, 0);
  };
  auto [own, all] = slots(kTier);
  EXPECT_EQ(own, all);
  EXPECT_EQ(slots(deployed("max_surge: 2")), std::pair(own, own + 2));
  EXPECT_EQ(slots(deployed("strategy: blue-green")), std::pair(own, 2 * own));
  EXPECT_EQ(slots(scaled("max: 5") + "    deploy: { strategy: blue-green }\n"), std::pair(5, 10));
}

const std::string kWebTier = "    port: 8080\n    ready: { path: /healthz }\n";
std::string web_with(const std::string& settings) { return kWebTier + "    " + settings + "\n"; }

INSTANTIATE_TEST_SUITE_P(
    FunctionsOfATier, Rule,
    ::testing::Values(
        Change{kWebTier, web_with("standby: functions"), ""},
        Change{kWebTier,
               web_with("standby: functions_first\n    functions: { connect: "
                        "[\"{gateway.orders}\", \"10.0.0.9:80\"], instance_port: 9000 }"),
               ""},
        Change{kWebTier, web_with("standby: function"), "did you mean 'functions'?"},
        Change{kWebTier, web_with("functions: { prepared: 2 }"), "nothing uses this section"},
        Change{kWebTier, web_with("standby: functions\n    functions: { connect: [nowhere] }"),
               "'nowhere' is not an address"},
        Change{kWebTier,
               web_with("standby: functions\n    functions: { connect: [\"{gateway.order}\"] }"),
               "{gateway.order} names a database that does not exist"},
        Change{kWebTier, web_with("standby: functions\n    pass_listener: true"),
               "a function is not handed a socket"},
        Change{"    directory: .\n" + kWebTier, web_with("standby: functions"),
               "functions need 'directory'"},
        Change{"    directory: .\n" + kWebTier, web_with("image: shop.tar\n    standby: functions"),
               "functions do not run from images"},
        Change{kWebTier,
               "    port: 8080\n    ready: { path: /healthz, port: 9 }\n    standby: functions\n",
               "functions are asked at the tier's port only; write 8080"},
        Change{kWebTier, web_with("standby: functions\n    functions: { instance_port: 9000 }"),
               "'instance_port' belongs to standby: functions_first"},
        Change{kWebTier,
               web_with("standby: functions_first\n    functions: { instance_port: 7401 }"),
               "port clash on site 'aws': the instances of tier 'web' and agent.port"},
        Change{kWebTier,
               web_with("instances: 3\n    standby: functions_first\n"
                        "    functions: { instance_port: 65534 }"),
               "3 instances from port 65534 on go beyond 65535"},
        Change{kWebTier,
               web_with("deploy: { max_surge: 2 }\n    standby: functions_first\n"
                        "    functions: { instance_port: 65534 }"),
               "3 instances from port 65534 on go beyond 65535"}));

TEST(Rules, ASecondPrimaryIsNamed) {
  std::string text = starting_file("shop");
  text.replace(text.find("role: standby"), 13, "role: primary");
  Loaded loaded = load_text(text, "leeward.yaml", "/");
  ASSERT_EQ(loaded.problems.size(), 2u);
  EXPECT_EQ(to_string(loaded.problems[0]),
            "leeward.yaml:8:1: no site has the role standby; at least one must");
  EXPECT_EQ(to_string(loaded.problems[1]),
            "leeward.yaml:10:20: site 'aws' is a second primary; exactly one site may write first");
}

}  // namespace
}  // namespace leeward::config
