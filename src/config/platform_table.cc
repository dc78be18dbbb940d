// Every setting of leeward.yaml: name, type, bounds, sentence; defaults are those of the model.
#include <limits>

#include "config/internal/edge_table.h"
#include "config/internal/functions_table.h"
#include "config/internal/scaling_table.h"
#include "config/setting.h"

namespace leeward::config {
namespace {

constexpr std::size_t kTiersMax = 64;
constexpr std::size_t kDatabasesMax = 16;
constexpr std::size_t kRecordsMax = 10'000;

// RFC 2181 section 8.
constexpr Duration kTtlMax = std::chrono::seconds(std::numeric_limits<std::int32_t>::max());

Table<Site> site_table() {
  Table<Site> t;
  t.choice("role", &Site::role,
           std::vector<std::pair<std::string, SiteRole>>{{"primary", SiteRole::kPrimary},
                                                         {"standby", SiteRole::kStandby},
                                                         {"witness", SiteRole::kWitness}},
           "What the site is at the start: primary (writes first), standby (takes over) or witness "
           "(votes and probes, runs no workload).")
      .required();
  t.text("address", &Site::address, kAddressRule,
         "IPv4 address at which the other sites reach this one.")
      .required();
  return t;
}

Table<Platform> access_table() {
  Table<Platform> t;
  t.secret("agent_token", &Platform::agent_token,
           "Token that Leeward's own processes show to each other.")
      .required();
  t.secret("operator_token", &Platform::operator_token,
           "Token that people and the command line show to the control API.")
      .required();
  return t;
}

Table<Platform> control_table() {
  Table<Platform> t;
  Setting store = Table<Platform>::setting(
      Setting::Kind::kChoice, "store",
      "Where the control plane keeps its state: sqlite (one control node, a file of its own).");
  store.choices = {"sqlite"};
  store.default_text = "sqlite";
  t.add(store,
        [choices = store.choices](Reader& r, const Place& p, Platform&) { r.choice(p, choices); });
  t.site(
       "site", [](Platform & p) -> auto& { return p.control.site; },
       "Site on which the control node runs. Automatic failover needs it to be the witness.")
      .required();
  t.endpoint(
       "listen", [](Platform & p) -> auto& { return p.control.listen; }, kEndpointRule,
       "Address of the control API; agents of all sites must reach it.")
      .required();
  return t;
}

Table<LeaseTimings> lease_table() {
  Table<LeaseTimings> t;
  t.duration("duration", &LeaseTimings::duration, {500ms, 60s},
             "How long a renewal gives the writer the right to write, counted from before it is "
             "sent.");
  t.duration("grace", &LeaseTimings::grace, {100ms, 30s},
             "At most this long after the end of the lease the last write has stopped.");
  t.duration("takeover", &LeaseTimings::takeover, {1s, 5min},
             "How long an observer must see the lease unchanged before it may be taken. Must be at "
             "least (duration + grace) · (1 + clock_drift) / (1 − clock_drift).");
  t.percent("clock_drift", &LeaseTimings::clock_drift, {0, 0.2},
            "How far the rate of any site's clock may be off.");
  t.duration("renew_every", &LeaseTimings::renew_every, {50ms, 30s},
             "Time between renewals; at most half of duration.");
  return t;
}

Table<HttpCheck> ready_table() {
  Table<HttpCheck> t;
  t.text("path", &HttpCheck::path, kPathRule, "Answers 200 when the instance can serve.");
  t.port("port", &HttpCheck::port, "Port that is asked.").default_text("the tier's port");
  return t;
}

Table<Tier> tier_table() {
  Table<Tier> t;
  t.raw_texts(
       "command", [](Tier & x) -> auto& { return x.process.command; },
       "Program and arguments of one instance, without a shell. Placeholders: {site}, "
       "{address}, {port}, {state} and {gateway.NAME} (host:port of a database's gateway). "
       "Required without an image.")
      .default_text("entry point and command of the image");
  t.text(
      "image", [](Tier & x) -> auto& { return x.process.image; }, kAnyText,
      "PATH or PATH:NAME of an OCI image, relative to this file: a layout as a directory or as a "
      "tar archive. Instances run in its file system, read-only, with its environment and user. "
      "Without it they run in the machine's.");
  t.text(
       "directory", [](Tier & x) -> auto& { return x.process.directory; }, kAnyText,
       "Working directory, relative to this file; with an image, an absolute one in it.")
      .default_text("directory of this file, or the image's");
  t.environment(
      "env", [](Tier & x) -> auto& { return x.process.env; },
      "Environment variables; the same placeholders as in command.");
  t.port("port", &Tier::port, "Port of the first instance; the next ones use the ports after it.")
      .required();
  t.boolean("local", &Tier::local,
            "Listens on loopback only: {address} is 127.0.0.1, other sites cannot reach it.");
  Setting ready = Table<Tier>::setting(
      Setting::Kind::kSection, "ready",
      "HTTP check of each instance. Without it an instance counts as ready as soon as it runs.");
  ready.settings = ready_table().settings();
  t.add(ready, [table = ready_table()](Reader& r, const Place& p, Tier& tier) {
    table.read(r, p, tier.ready.emplace());
  });
  t.boolean("notify", &Tier::notify,
            "An instance is ready when it says so: READY=1 to NOTIFY_SOCKET (sd_notify).");
  t.boolean("pass_listener", &Tier::pass_listener,
            "Leeward listens on each instance's port and hands the socket over as descriptor 3 "
            "(sd_listen_fds), so that a restart refuses no connection.");
  t.integer("instances", &Tier::instances, {1, ScalingSpec::kInstancesMax},
            "How many instances run on a site; with scaling, at the start.");
  Setting scaling = Table<Tier>::setting(
      Setting::Kind::kSection, "scaling",
      "The number of instances follows the load. Without it, it stays as it is.");
  scaling.settings = scaling_table().settings();
  t.add(scaling, [table = scaling_table()](Reader& r, const Place& p, Tier& tier) {
    table.read(r, p, tier.scaling.emplace());
  });
  Setting deploy = Table<Tier>::setting(
      Setting::Kind::kSection, "deploy",
      "How a new revision replaces the running one. With it, edges follow which instances are "
      "ready, so that no request is lost meanwhile.");
  deploy.settings = deploy_table().settings();
  t.add(deploy, [table = deploy_table()](Reader& r, const Place& p, Tier& tier) {
    table.read(r, p, tier.deploy.emplace());
  });
  t.section("limits", &Tier::limits, limits_table(),
            "What an instance may use, by control groups. Where the machine has none, memory is "
            "limited for each process and the rest not at all; the log says so.");
  t.duration("drain", &Tier::drain, {0s, 10min},
             "Scaling in: time from the moment that the edges send nothing new to SIGTERM.");
  t.choice("standby", &Tier::standby,
           std::vector<std::pair<std::string, StandbyMode>>{
               {"warm", StandbyMode::kWarm},
               {"cold", StandbyMode::kCold},
               {"functions", StandbyMode::kFunctions},
               {"functions_first", StandbyMode::kFunctionsFirst}},
           "On the site that does not serve: warm (runs, ready to take over at once) or cold (no "
           "process, started during the failover). Or, for sites whose role is standby, functions "
           "(nothing runs until a request comes; the tier is served that way after a failover, "
           "too) or functions_first (the same until instances, which start with the failover, are "
           "ready); a primary is warm then.");
  t.section("functions", &Tier::functions, tier_functions_table(),
            "With standby: functions or functions_first: what the functions may use.");
  t.duration("stop_timeout", &Tier::stop_timeout, {0s, 5min},
             "Time from SIGTERM to SIGKILL when an instance is stopped.");
  return t;
}

Table<ProcessSpec> run_table() {
  Table<ProcessSpec> t;
  t.raw_texts("command", &ProcessSpec::command,
              "Program and arguments, without a shell; the placeholders of a tier's command.")
      .required();
  t.environment("env", &ProcessSpec::env, "Environment variables; the same placeholders.");
  t.text("directory", &ProcessSpec::directory, kAnyText,
         "Working directory, relative to this file.")
      .default_text("directory of this file");
  return t;
}

constexpr char kNodeAddress[] =
    "Where this site's agent and the other site's replication reach the server. Nobody else "
    "should be able to.";

Table<DatabaseNode> database_node_table() {
  Table<DatabaseNode> t;
  t.endpoint("address", &DatabaseNode::address, kEndpointRule, kNodeAddress).required();
  t.section("run", &DatabaseNode::process, run_table(),
            "The server process, when `leeward up` is to start and keep it.");
  return t;
}

// One server is written directly, two as a list.
Table<SiteDatabase> site_database_table() {
  auto first = [](SiteDatabase& s) -> DatabaseNode& {
    if (s.nodes.empty()) s.nodes.emplace_back();
    return s.nodes.front();
  };
  Table<SiteDatabase> t;
  t.endpoint(
      "address", [first](SiteDatabase & s) -> auto& { return first(s).address; }, kEndpointRule,
      kNodeAddress);
  t.section(
      "run", [first](SiteDatabase & s) -> auto& { return first(s).process; }, run_table(),
      "The server process, when `leeward up` is to start and keep it.");
  Setting nodes = Table<SiteDatabase>::setting(
      Setting::Kind::kSections, "nodes",
      "Instead of address and run: one or two servers. The site's agent makes one of two the "
      "primary and replaces it by the other when it dies.");
  nodes.settings = database_node_table().settings();
  t.add(nodes, [table = database_node_table()](Reader& r, const Place& p, SiteDatabase& s) {
    auto items = r.sequence(p);
    if (!items) return;
    for (const Place& item : *items) table.read(r, item, s.nodes.emplace_back());
  });
  return t;
}

// Reads a mapping from names (that follow kNameRule) to sections, one call of `each` an entry.
template <typename Each>
void read_named(Reader& r, const Place& place, std::string_view what, std::size_t count_max,
                Each each) {
  auto entries = r.mapping(place);
  if (!entries) return;
  if (entries->size() > count_max) {
    r.problem(
        place.key, place.path,
        fmt::format("{} {} are too many; {} at most", entries->size(), place.name, count_max));
    return;
  }
  for (const Place& entry : *entries) {
    if (kNameRule.valid(entry.name))
      each(entry);
    else
      r.problem(entry.key, entry.path,
                fmt::format("{} cannot be the name of a {}; {}", quoted(entry.name), what,
                            kNameRule.advice));
  }
}

// Reads a mapping from the names of sites, one call of `each` an entry.
template <typename Each>
void read_by_site(Reader& r, const Place& place, Each each) {
  auto entries = r.mapping(place);
  if (!entries) return;
  std::vector<std::string> names;
  for (const Site& s : r.platform().sites) names.push_back(s.name);
  for (const Place& entry : *entries) {
    auto site = r.platform().find_site(entry.name);
    if (site)
      each(entry, *site);
    else if (!names.empty())
      r.problem(
          entry.key, entry.path,
          fmt::format("there is no site {}{}", quoted(entry.name), suggestion(entry.name, names)));
  }
}

Table<Database> account_table(std::string Database::*user, SecretRef Database::*password,
                              const std::string& who) {
  Table<Database> t;
  t.text("user", user, kAnyText, "User name of " + who + ".").required();
  t.secret("password", password, "Password of " + who + ".").required();
  return t;
}

Table<TlsFiles> replication_tls_table() {
  Table<TlsFiles> t;
  t.text(
       "ca", &TlsFiles::ca, kAnyText,
       "File with the certificate authority that signed the servers' certificates, as the database "
       "server and the agent see it.")
      .required();
  t.text("certificate", &TlsFiles::certificate, kAnyText,
         "File with the certificate that a replica shows to its source.");
  t.text("key", &TlsFiles::key, kAnyText, "File with that certificate's key.");
  t.boolean("verify", &TlsFiles::verify, "The source's certificate must name its host.");
  return t;
}

Table<Database> replication_table() {
  Table<Database> t = account_table(&Database::replication_user, &Database::replication_password,
                                    "the account with which a replica connects");
  auto policy = [](auto ReplicationPolicy::*member) {
    return [member](Database & d) -> auto& { return d.replication.*member; };
  };
  t.choice(
      "mode", policy(&ReplicationPolicy::mode),
      std::vector<std::pair<std::string, ReplicationMode>>{
          {"async", ReplicationMode::kAsync},
          {"semi_sync", ReplicationMode::kSemiSync},
          {"lossless", ReplicationMode::kLossless}},
      "What a commit waits for: async, nothing; semi_sync, a copy on disk at the standby site, "
      "for at most semi_sync_timeout; lossless, such a copy for as long as it takes, so that a "
      "failover loses nothing.");
  t.integer("workers", policy(&ReplicationPolicy::workers), {0, 64},
            "Threads that apply changes at the standby; 0: one a core, from 2 to 16.");
  t.duration("semi_sync_timeout", policy(&ReplicationPolicy::semi_sync_timeout), {10ms, 1h},
             "semi_sync: without a copy for this long, commits go on; that is reported as an RPO "
             "event.");
  t.choice(
      "on_standby_loss", policy(&ReplicationPolicy::on_standby_loss),
      std::vector<std::pair<std::string, StandbyLoss>>{{"wait", StandbyLoss::kWait},
                                                       {"degrade", StandbyLoss::kDegrade}},
      "lossless: when the standby is lost, wait (no commit is acknowledged until it is back or a "
      "person decides) or degrade (after degrade_after commits are acknowledged without a copy).");
  t.duration("degrade_after", policy(&ReplicationPolicy::degrade_after), {1s, 24h},
             "lossless with degrade: how long the standby must be lost.");
  t.integer(
      "verify_rows_a_second", policy(&ReplicationPolicy::verify_rows_a_second), {0, 10'000'000},
      "Rate at which the standby's agent compares its rows with the writer's, table after table, "
      "again and again; 0: only when `leeward db verify` asks.");
  t.section("tls", policy(&ReplicationPolicy::tls), replication_tls_table(),
            "Replication between the sites, and what the agents ask the servers, goes over TLS.");
  return t;
}

Table<Database> gateway_table() {
  Table<Database> t;
  t.endpoint("listen", &Database::gateway, kGatewayRule,
             "Where the applications of each site connect instead of to the database.")
      .required();
  t.port("peer_port", &Database::peer_port,
         "Port on each site's address where the other site's gateway connects.")
      .required();
  return t;
}

Table<Database> database_table() {
  Table<Database> t;
  t.choice("engine", &Database::engine,
           std::vector<std::pair<std::string, Engine>>{{"mariadb", Engine::kMariadb},
                                                       {"redis", Engine::kRedis}},
           "The database software. A platform has one mariadb and at most one redis database.")
      .required();
  auto itself = [](Database & d) -> auto& { return d; };
  t.section("admin", itself,
            account_table(&Database::admin_user, &Database::admin_password,
                          "the account with which the agent promotes, fences and rejoins"),
            "mariadb only, required there: the agent's account.");
  t.section("replication", itself, replication_table(),
            "mariadb only, required there: how the standby site's copy is kept, and the replicas' "
            "account, which the agent creates.");
  constexpr Bounds<Duration> kHeartbeat{50ms, 10s};
  Setting heartbeat = Table<Database>::setting(
      Setting::Kind::kDuration, "heartbeat",
      "mariadb only: how often the writer's agent writes the heartbeat row that measures the lag.");
  heartbeat.default_text = format_duration(Platform{}.heartbeat);
  heartbeat.bounds = range(kHeartbeat);
  t.add(heartbeat, [kHeartbeat](Reader& r, const Place& p, Database&) {
    if (auto v = r.duration(p, kHeartbeat)) r.platform().heartbeat = *v;
  });
  t.section("gateway", itself, gateway_table(),
            "The only way of the applications to the database: open where the writer lease is.")
      .required();
  t.boolean("loss_allowed", &Database::loss_allowed,
            "redis only: what it holds may be lost in a failover, so it does not count for "
            "failover.rpo.");
  Table<Database> auth;
  auth.text("user", &Database::redis_user, kAnyText, "ACL user of the agent and of replication.")
      .default_text("default");
  auth.secret("password", &Database::redis_password, "Password of that user.").required();
  t.section("auth", itself, auth,
            "redis only: how the agent and the replicas log in; without it the servers ask for "
            "nothing.");
  Setting sites = Table<Database>::setting(Setting::Kind::kNamed, "sites",
                                           "The database server or servers of each workload site.");
  sites.key = "SITE";
  sites.settings = site_database_table().settings();
  t.add(sites, [table = site_database_table()](Reader& r, const Place& p, Database& d) {
     read_by_site(r, p,
                  [&](const Place& entry, SiteId site) { table.read(r, entry, d.sites[site]); });
   }).required();
  return t;
}

Table<DnsRecord> record_table() {
  Table<DnsRecord> t;
  t.text("name", &DnsRecord::name, kRecordRule,
         "Name inside the zone; @ is the zone itself, *.x a wildcard.")
      .required();
  t.choice("type", &DnsRecord::type,
           std::vector<std::pair<std::string, RecordType>>{{"A", RecordType::kA},
                                                           {"AAAA", RecordType::kAaaa},
                                                           {"NS", RecordType::kNs},
                                                           {"CNAME", RecordType::kCname},
                                                           {"TXT", RecordType::kTxt},
                                                           {"MX", RecordType::kMx},
                                                           {"SRV", RecordType::kSrv},
                                                           {"CAA", RecordType::kCaa}},
           "Record type.")
      .required();
  t.duration("ttl", &DnsRecord::ttl, {0s, kTtlMax},
             "How long a resolver may keep the answer, in whole seconds. Short for a failover "
             "record: it is part of the time to recover.")
      .default_text("dns.ttl");
  Setting failover = Table<DnsRecord>::setting(
      Setting::Kind::kSiteMap, "failover",
      "The value for each workload site; the answer is that of the active one. Types A, AAAA and "
      "CNAME.");
  failover.rule = &kAnyText;
  t.add(failover, [](Reader& r, const Place& p, DnsRecord& record) {
    record.failover = true;
    read_by_site(r, p, [&](const Place& entry, SiteId site) {
      if (auto v = r.text(entry, kAnyText)) record.site_values[site] = *v;
    });
  });
  t.choice("answer", &DnsRecord::answer,
           std::vector<std::pair<std::string, FailoverAnswer>>{{"active", FailoverAnswer::kActive},
                                                               {"all", FailoverAnswer::kAll}},
           "Of a failover record: active, the active site's address alone; or all, that one first "
           "and then the other sites', so that a client that keeps an answer when its site dies "
           "goes on to the next. All needs an edge at each site, and resolvers may change the "
           "order.");
  t.texts("values", &DnsRecord::values, kAnyText,
          "The values of a record that does not move, as in a zone file. Give this or failover.");
  return t;
}

Table<DnsZone> dns_table() {
  Table<DnsZone> t;
  t.text("zone", &DnsZone::name, kHostRule, "Name of the zone, without a final dot.").required();
  t.port("port", &DnsZone::port, "UDP and TCP port of the name servers, on each site's address.");
  t.duration("ttl", &DnsZone::ttl, {0s, kTtlMax},
             "TTL of records that name none, in whole seconds.");
  t.duration("negative_ttl", &DnsZone::negative_ttl, {0s, 3h},
             "How long a resolver may keep the answer that there is no such name (RFC 2308), in "
             "whole seconds.");
  t.text("contact", &DnsZone::contact, kMailRule,
         "Mail address of the zone's owner, for the SOA record.")
      .required();
  t.texts("nameservers", &DnsZone::nameservers, kHostRule,
          "Full names of the name servers. One inside the zone needs an address record.")
      .required();
  Setting records =
      Table<DnsZone>::setting(Setting::Kind::kSections, "records", "The records of the zone.");
  records.settings = record_table().settings();
  t.add(records, [table = record_table()](Reader& r, const Place& p, DnsZone& zone) {
     auto items = r.sequence(p);
     if (!items) return;
     if (items->size() > kRecordsMax) {
       r.problem(p.key, p.path,
                 fmt::format("{} records are too many; {} at most", items->size(), kRecordsMax));
       return;
     }
     for (const Place& item : *items) table.read(r, item, zone.records.emplace_back());
   }).required();
  return t;
}

Table<ProbePolicy> probe_table() {
  Table<ProbePolicy> t;
  t.duration("interval", &ProbePolicy::interval, {100ms, 5min},
             "Time between two probes of a site from one vantage point.");
  t.duration("timeout", &ProbePolicy::timeout, {50ms, 1min},
             "A probe without an answer for this long has failed; shorter than interval.");
  t.integer("fall", &ProbePolicy::fall, {1, 20},
            "So many failed probes in a row make a site down, as seen from that vantage point.");
  t.integer("rise", &ProbePolicy::rise, {1, 20}, "So many good probes in a row make it up again.");
  t.integer("quorum", &ProbePolicy::quorum, {1, kSitesMax},
            "So many vantage points must agree; more than half of all sites, witness included.");
  t.port("port", &ProbePolicy::port, "Port of the service on each site's address.").required();
  t.text("path", &ProbePolicy::path, kPathRule,
         "Answers 200 when the site can serve users, down to its database.");
  return t;
}

Table<FailoverPolicy> failover_table() {
  Table<FailoverPolicy> t;
  t.choice(
      "mode", &FailoverPolicy::mode,
      std::vector<std::pair<std::string, FailoverMode>>{{"automatic", FailoverMode::kAutomatic},
                                                        {"approve", FailoverMode::kApprove},
                                                        {"manual", FailoverMode::kManual}},
      "automatic (acts by itself), approve (proposes, a person confirms) or manual (only when "
      "told).");
  t.duration("rpo", &FailoverPolicy::rpo, {0s, 24h},
             "An estimated loss above it stops an automatic failover and asks a person.");
  t.duration("block_window", &FailoverPolicy::block_window, {0s, 7 * 24h},
             "After an automatic failover no second one for this long.");
  t.duration(
      "startup_timeout", &FailoverPolicy::startup_timeout, {0s, 1h},
      "What a site that has just become the writer is given to be seen up for the first time. "
      "Until then no automatic failover leaves it.");
  t.duration("drain_timeout", &FailoverPolicy::drain_timeout, {100ms, 10min},
             "Planned move: time for transactions in flight; after it the move is undone.");
  t.duration("catch_up_timeout", &FailoverPolicy::catch_up_timeout, {100ms, 1h},
             "Planned move: time for the standby to apply the rest; after it the move is undone.");
  t.duration("hold_timeout", &FailoverPolicy::hold_timeout, {100ms, 2min},
             "Planned move: how long the gateway holds a request before it refuses it.");
  t.site(
       "preferred", [](FailoverPolicy & f) -> auto& { return f.preferred; },
       "The site to which `leeward failback` returns.")
      .default_text("the primary site");
  return t;
}

void add_sites(Table<Platform>& t) {
  Setting sites = Table<Platform>::setting(
      Setting::Kind::kNamed, "sites",
      "The places: one primary, one standby at least, and a witness when failover is automatic.");
  sites.key = "SITE";
  sites.settings = site_table().settings();
  t.add(sites, [table = site_table()](Reader& r, const Place& p, Platform& platform) {
     read_named(r, p, "site", kSitesMax, [&](const Place& entry) {
       Site& site = platform.sites.emplace_back();
       site.name = entry.name;
       table.read(r, entry, site);
     });
   }).required();
}

void add_tiers(Table<Platform>& t) {
  Setting tiers = Table<Platform>::setting(
      Setting::Kind::kNamed, "tiers",
      "Application processes that Leeward runs on each workload site, in the order of starting.");
  tiers.key = "TIER";
  tiers.settings = tier_table().settings();
  t.add(tiers, [table = tier_table()](Reader& r, const Place& p, Platform& platform) {
    read_named(r, p, "tier", kTiersMax, [&](const Place& entry) {
      Tier& tier = platform.tiers.emplace_back();
      tier.name = entry.name;
      table.read(r, entry, tier);
    });
  });
}

void add_databases(Table<Platform>& t) {
  Setting databases =
      Table<Platform>::setting(Setting::Kind::kNamed, "databases",
                               "The databases, each with a server on every workload site.");
  databases.key = "DATABASE";
  databases.settings = database_table().settings();
  t.add(databases, [table = database_table()](Reader& r, const Place& p, Platform& platform) {
     read_named(r, p, "database", kDatabasesMax, [&](const Place& entry) {
       Database& database = platform.databases.emplace_back();
       database.name = entry.name;
       table.read(r, entry, database);
     });
   }).required();
}

Table<Platform> make_platform_table() {
  Table<Platform> t;
  Setting version = Table<Platform>::setting(Setting::Kind::kInteger, "version",
                                             "Version of this file's format.");
  version.minimum = version.maximum = 1;
  version.bounds = "1";
  t.add(version, [](Reader& r, const Place& p, Platform&) { r.integer(p, {1, 1}); }).required();
  t.text("name", &Platform::name, kNameRule, "Name of the platform, shown in status and logs.")
      .required();
  t.text("state_dir", &Platform::state_dir, kAnyText,
         "Where each role keeps its state, relative to this file, in a folder per site and role.")
      .default_text(kDefaultStateDir);
  auto itself = [](Platform & p) -> auto& { return p; };
  add_sites(t);
  t.section("access", itself, access_table(), "Who may talk to Leeward's own ports.").required();
  t.section("control", itself, control_table(), "The control plane.").required();
  Table<Platform> agent;
  agent.port("port", &Platform::agent_port, "Port of the agents, on each site's address.");
  agent.choice(
      "deploy_from", &Platform::deploy_from,
      std::vector<std::pair<std::string, RevisionSource>>{{"file", RevisionSource::kFile},
                                                          {"operator", RevisionSource::kOperator}},
      "What `leeward deploy` may make a site's agent run. file: what this file says on the "
      "agent's own machine, so that the operator token alone runs no command there. "
      "operator: any command that is sent with the operator token.");
  t.section("agent", itself, agent, "The agents, one on each workload site.");
  t.section("lease", &Platform::lease, lease_table(),
            "The time-limited right to write. Shorter means a faster failover and more sensitivity "
            "to short stalls.");
  add_databases(t);
  add_tiers(t);
  t.section("dns", &Platform::dns, dns_table(), "The zone that the built-in name servers answer.")
      .required();
  t.section("probes", &Platform::probes, probe_table(),
            "How every site watches the service on the workload sites.")
      .required();
  t.section("failover", &Platform::failover, failover_table(), "When and how the writer moves.");
  t.section(
      "edge", [](Platform & p) -> auto& { return *(p.edge = std::make_shared<EdgeSpec>()); },
      edge_table(), "The HTTP proxy of each workload site. Without this section there is none.");
  return t;
}

}  // namespace

const Table<Platform>& platform_table() {
  static const Table<Platform> table = make_platform_table();
  return table;
}

}  // namespace leeward::config
