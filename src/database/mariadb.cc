#include "database/mariadb.h"

#include <mariadb/mysqld_error.h>

#include <atomic>
#include <charconv>
#include <filesystem>
#include <mutex>

#include "database/internal/node.h"
#include "database/internal/rejoin.h"
#include "database/ledger.h"
#include "mysql/sql.h"
#include "replication/native.h"
#include "replication/native_check.h"

namespace leeward::database {

using mysql::SqlConnection;
using mysql::SqlTarget;

namespace {

constexpr int kApplyFailuresMax = 3;
constexpr Duration kRelaxLimit = 500ms;  // below AgentConfig::looks_settle

std::optional<std::array<std::uint8_t, 20>> parse_hash(std::string_view text) {
  if (text.size() != 41 || text[0] != '*') return std::nullopt;
  std::array<std::uint8_t, 20> hash{};
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const char* digits = text.data() + 1 + 2 * i;
    auto [end, error] = std::from_chars(digits, digits + 2, hash[i], 16);
    if (error != std::errc{} || end != digits + 2) return std::nullopt;
  }
  return hash;
}

}  // namespace

std::string_view name(FollowPhase phase) {
  switch (phase) {
    case FollowPhase::kCompare:
      return "compare";
    case FollowPhase::kExtract:
      return "extract";
    case FollowPhase::kLedger:
      return "ledger";
    case FollowPhase::kRewind:
      return "rewind";
    case FollowPhase::kReset:
      return "reset";
    case FollowPhase::kReseed:
      return "reseed";
    case FollowPhase::kConnect:
      return "connect";
  }
  return "unknown";
}

struct Mariadb::Impl {
  explicit Impl(MariadbOptions o) : options(std::move(o)) {}

  SqlTarget admin_at(const Endpoint& endpoint) const {
    return {endpoint, options.admin_user, options.admin_password,
            replication::admin_tls(options.replication)};
  }
  // The connection for everything but status(); opened when there is none that works.
  Result<SqlConnection*> control(BootTime deadline) { return reopen(control_sql, deadline); }
  Result<SqlConnection*> reopen(std::optional<SqlConnection>& slot, BootTime deadline);
  std::pair<SiteId, NodeId> node_at(const Endpoint& endpoint) const;
  Result<DatabaseStatus> read_status(SqlConnection& sql, BootTime deadline);
  void note_heartbeat(DatabaseStatus& status, const std::string& row, double written_at);
  Status refuse_half_rejoined(SqlConnection& sql, BootTime deadline);
  Status insert_epoch(SqlConnection& sql, leeward::Promotion promotion, bool complete,
                      BootTime deadline);
  Status open_for_writes(SqlConnection& sql, BootTime deadline);
  // What commits here wait for: with two nodes, for as long as it takes, the other one.
  ReplicationPolicy waiting_policy() const {
    auto own = options.peers.find(options.site);
    bool pair = own != options.peers.end() && own->second.size() > 1;
    return pair ? internal::between_nodes(options.replication) : options.replication;
  }
  // Every server but this one.
  std::vector<std::pair<SiteId, Endpoint>> others() const;

  const MariadbOptions options;
  std::optional<SqlConnection> control_sql;

  std::mutex status_mutex;  // guards what status() uses
  std::optional<SqlConnection> status_sql;
  std::string heartbeat_row;  // epoch and counter last seen; empty: none yet
  bool heartbeat_moved = false;
  BootTime heartbeat_seen;  // when it was last still the row before
  BootTime heartbeat_look;
  std::string link_error;  // last logged
  std::string warned;      // last warnings of precheck()
  int apply_failures = 0;  // follow() calls in a row that found the link stopped by an apply error
  std::atomic<std::uint64_t> status_id{0};
  std::atomic<bool> diverged{false};
  std::atomic<std::uint64_t> link_number{0};  // DatabaseStatus::link
  void new_link() {
    auto now = static_cast<std::uint64_t>(SystemClock().now().wall.time_since_epoch().count());
    link_number = std::max(now, link_number + 1);
  }
  Status same_link(SqlConnection& sql, std::uint64_t wanted, BootTime deadline);
  std::uint64_t waiting_heartbeat = 0;  // session of one that ran out of time
};

Result<SqlConnection*> Mariadb::Impl::reopen(std::optional<SqlConnection>& slot,
                                             BootTime deadline) {
  if (!slot || !slot->usable()) {
    slot.reset();
    auto opened = SqlConnection::open(admin_at(options.local), deadline);
    if (!opened) return fail(std::move(opened.error()));
    slot.emplace(std::move(*opened));
  }
  return &*slot;
}

std::pair<SiteId, NodeId> Mariadb::Impl::node_at(const Endpoint& endpoint) const {
  for (const auto& [site, nodes] : options.peers)
    for (std::size_t n = 0; n < nodes.size(); ++n)
      if (nodes[n] == endpoint) return {site, NodeId{static_cast<std::uint8_t>(n)}};
  return {kNoSite, NodeId{}};
}

void Mariadb::Impl::note_heartbeat(DatabaseStatus& status, const std::string& row,
                                   double written_at) {
  BootTime now = BootClock::now();
  // A row that is new may have arrived right after the last look, and the one found at the first
  // look may be of any age: only a change tells, and it is dated back to the look before.
  if (row != heartbeat_row) {
    heartbeat_moved = !heartbeat_row.empty();
    heartbeat_row = row;
    heartbeat_seen = heartbeat_look;
  }
  heartbeat_look = now;
  if (heartbeat_moved) status.heartbeat_age = now - heartbeat_seen;
  status.heartbeat_written =
      WallTime(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(written_at)));
  auto wall = std::chrono::duration<double>(SystemClock().now().wall.time_since_epoch()).count();
  status.lag = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(std::max(0.0, wall - written_at)));
}

std::vector<std::pair<SiteId, Endpoint>> Mariadb::Impl::others() const {
  std::vector<std::pair<SiteId, Endpoint>> all;
  for (const auto& [site, nodes] : options.peers)
    for (const Endpoint& node : nodes)
      if (node != options.local) all.emplace_back(site, node);
  return all;
}

Result<DatabaseStatus> Mariadb::Impl::read_status(SqlConnection& sql, BootTime deadline) {
  DatabaseStatus status;
  auto rows = sql.query(
      "SELECT @@read_only AS read_only, @@gtid_binlog_pos AS b, @@gtid_slave_pos AS s,"
      " e.epoch, e.term, (SELECT COUNT(*) FROM leeward.rejoin) AS rejoin, h.row, h.at FROM (SELECT "
      "1) one"
      " LEFT JOIN"
      " (SELECT epoch, term FROM leeward.epoch ORDER BY epoch DESC, term DESC LIMIT 1) e ON 1"
      " LEFT JOIN (SELECT CONCAT(site, ' ', epoch, ' ', counter) AS row, UNIX_TIMESTAMP(ts) AS at"
      " FROM leeward.heartbeat ORDER BY epoch DESC, ts DESC LIMIT 1) h ON 1",
      deadline);
  bool member = rows.has_value();
  if (!member) {  // no schema yet: ask for what every server has
    if (sql.last_error() != ER_NO_SUCH_TABLE && sql.last_error() != ER_BAD_DB_ERROR)
      return fail(std::move(rows.error()));
    rows = sql.query(
        "SELECT @@read_only AS read_only, @@gtid_binlog_pos AS b, @@gtid_slave_pos AS s", deadline);
    if (!rows) return fail(std::move(rows.error()));
  }
  auto logged = mysql::parse_gtid_position(rows->cell(0, "b").value_or(""));
  if (!logged) return fail(std::move(logged.error()));
  auto applied = mysql::parse_gtid_position(rows->cell(0, "s").value_or(""));
  if (!applied) return fail(std::move(applied.error()));
  status.reachable = true;
  status.read_only = rows->cell(0, "read_only") != "0";
  status.written = mysql::later(*logged, *applied).position();
  status.applied = applied->position();
  status.received = status.applied;
  status.epoch.value = std::strtoull(rows->cell(0, "epoch").value_or("0").c_str(), nullptr, 10);
  status.term.value = std::strtoull(rows->cell(0, "term").value_or("0").c_str(), nullptr, 10);
  status.incomplete = rows->cell(0, "rejoin").value_or("0") != "0" ||
                      std::filesystem::exists(options.state_dir + "/rejoin.json");
  status.diverged = diverged || status.incomplete;
  if (auto row = rows->cell(0, "row"))
    note_heartbeat(status, *row, std::strtod(rows->cell(0, "at").value_or("0").c_str(), nullptr));

  auto link = replication::read_native_link(sql, deadline);
  if (!link) return fail(std::move(link.error()));
  status.replication = link->state;
  if (link->error != link_error) {  // once for each new error
    link_error = link->error;
    if (!link_error.empty()) options.logger.warn("replication", {{"error", link_error}});
  }
  if (link->configured) {
    std::tie(status.source, status.source_node) = node_at(link->source);
    status.received = std::max(status.applied, link->received.position());
    status.acknowledges = link->acknowledges;
    status.keeps_received = link->kept;
    status.link = link_number;
  }
  // With the relay log synced, what was received is on disk; otherwise only what was applied.
  status.durable = status.acknowledges ? status.received : status.applied;
  if (waiting_policy().mode != ReplicationMode::kAsync && !status.read_only) {
    auto wait = replication::read_commit_wait(sql, deadline);
    if (!wait) return fail(std::move(wait.error()));
    status.strict = wait->strict;
    status.semi_sync = wait->state;
    status.fallbacks = wait->fallbacks;
    status.alone = wait->alone;
  }
  return status;
}

Mariadb::Mariadb(MariadbOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Mariadb::Mariadb(Mariadb&&) noexcept = default;
Mariadb::~Mariadb() = default;

Result<DatabaseStatus> Mariadb::status() {
  std::lock_guard lock(impl_->status_mutex);
  BootTime deadline = BootClock::now() + impl_->options.status_timeout;
  // A server that restarted has ended this connection. So as long as it lives, what was received
  // lives.
  bool again = !impl_->status_sql || !impl_->status_sql->usable();
  auto sql = impl_->reopen(impl_->status_sql, deadline);
  if (!sql) return fail(std::move(sql.error()));
  if (again) impl_->new_link();
  impl_->status_id = (*sql)->id();
  return impl_->read_status(**sql, deadline);
}

Status Mariadb::precheck() {
  BootTime deadline = BootClock::now() + impl_->options.control_timeout;
  auto sql = impl_->control(deadline);
  if (!sql) return fail(std::move(sql.error()));
  auto findings = replication::check_native_server(**sql, "", impl_->waiting_policy(), deadline);
  if (!findings) return fail(std::move(findings.error()));
  std::string wrong;
  std::string warnings;
  for (const replication::Finding& finding : *findings) {
    bool error = finding.severity == replication::Severity::kError;
    (error ? wrong : warnings) += fmt::format("\n  {}: {}", finding.what, finding.cure);
  }
  if (warnings != impl_->warned) {  // once for each new one
    impl_->warned = warnings;
    if (!warnings.empty()) impl_->options.logger.warn("MariaDB works, but:" + warnings);
  }
  auto own_id = (*sql)->query("SELECT @@server_id", deadline);
  if (!own_id) return fail(std::move(own_id.error()));
  std::string server_id = own_id->scalar();
  for (const auto& [site, endpoint] : impl_->others()) {
    auto peer = SqlConnection::open(impl_->admin_at(endpoint), BootClock::now() + 1s);
    if (!peer) continue;  // it is checked when it joins
    auto other = peer->query("SELECT @@server_id", BootClock::now() + 1s);
    if (other && other->scalar() == server_id)
      wrong += fmt::format(
          "\n  server_id is {} here and at site {}: SET GLOBAL server_id to different "
          "numbers",
          server_id, impl_->options.site_name(site));
  }
  if (wrong.empty()) return {};
  return fail(
      Code::kInvalid,
      "MariaDB at {} is not set up for Leeward (put each into its configuration file as well, "
      "and reconnect its clients):{}",
      to_string(impl_->options.local), wrong);
}

Status Mariadb::prepare() {
  if (auto fit = precheck(); !fit) return fit;
  BootTime deadline = BootClock::now() + impl_->options.control_timeout;
  auto sql = impl_->control(deadline);
  if (!sql) return fail(std::move(sql.error()));
  // The password reaches the binary log only as its hash.
  auto hash = (*sql)->query(
      fmt::format("SELECT PASSWORD({})", (*sql)->quote(impl_->options.replication_password)),
      deadline);
  if (!hash) return fail(std::move(hash.error()));
  std::string account = (*sql)->quote(impl_->options.replication_user) + "@'%'";
  const std::string statements[] = {
      "CREATE DATABASE IF NOT EXISTS leeward",
      "CREATE TABLE IF NOT EXISTS leeward.epoch (epoch BIGINT UNSIGNED, term BIGINT UNSIGNED, "
      "site VARCHAR(64) NOT NULL, promoted_gtid TEXT NOT NULL, granted_at TIMESTAMP(6) NOT NULL, "
      "complete BOOLEAN NOT NULL DEFAULT 0, PRIMARY KEY (epoch, term)) ENGINE=InnoDB",
      "CREATE TABLE IF NOT EXISTS leeward.heartbeat (site VARCHAR(64) PRIMARY KEY, epoch BIGINT "
      "UNSIGNED "
      "NOT NULL, ts TIMESTAMP(6) NOT NULL, counter BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
      "CREATE TABLE IF NOT EXISTS leeward.rejoin (id TINYINT PRIMARY KEY, shared_gtid TEXT NOT "
      "NULL) "
      "ENGINE=InnoDB",
      fmt::format("CREATE USER IF NOT EXISTS {} IDENTIFIED BY PASSWORD '{}'", account,
                  hash->scalar()),
      fmt::format("ALTER USER {} IDENTIFIED BY PASSWORD '{}'", account, hash->scalar()),
      "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO " + account,
      "GRANT SELECT ON leeward.* TO " + account,
  };
  for (const std::string& statement : statements)
    if (auto done = (*sql)->execute(statement, deadline); !done) return done;
  return {};
}

Status Mariadb::heartbeat(Epoch epoch, WallTime now) {
  BootTime deadline = BootClock::now() + impl_->options.status_timeout;
  auto sql = impl_->control(deadline);
  if (!sql) return fail(std::move(sql.error()));
  // A heartbeat that waits for a copy holds its row, and the next ones would wait behind it.
  if (impl_->waiting_heartbeat != 0) {
    auto there = (*sql)->query(fmt::format("SELECT COUNT(*) FROM information_schema.processlist "
                                           "WHERE id = {} AND command = 'Query'",
                                           impl_->waiting_heartbeat),
                               deadline);
    if (!there) return fail(std::move(there.error()));
    if (there->scalar() != "0")
      return fail(Code::kUnhealthy, "the last heartbeat still waits for a copy at the standby");
    impl_->waiting_heartbeat = 0;
  }
  std::uint64_t session = (*sql)->id();
  auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  // The conditions are part of the statement, because the administrator is not bound by read_only.
  auto rows = (*sql)->query(
      fmt::format(
          "INSERT INTO leeward.heartbeat SELECT {}, {}, FROM_UNIXTIME({}.{:06}), 1 FROM DUAL WHERE "
          "@@global.read_only = 0 AND {} = (SELECT MAX(epoch) FROM leeward.epoch) ON DUPLICATE KEY "
          "UPDATE epoch = VALUES(epoch), ts = VALUES(ts), counter = counter + 1",
          (*sql)->quote(impl_->options.site_name(impl_->options.site)), epoch.value,
          micros / 1'000'000, micros % 1'000'000, epoch.value),
      deadline);
  if (!rows && rows.error().code == Code::kTimeout) impl_->waiting_heartbeat = session;
  if (!rows) return fail(std::move(rows.error()));
  if (rows->affected == 0)
    return fail(Code::kRefused, "MariaDB at {} is not writable at epoch {}",
                to_string(impl_->options.local), epoch.value);
  return {};
}

Result<Position> Mariadb::fence() {
  BootTime deadline = BootClock::now() + impl_->options.control_timeout;
  auto sql = impl_->control(deadline);
  if (!sql) return fail(std::move(sql.error()));
  auto done =
      replication::make_read_only(**sql, impl_->options.admin_user, impl_->status_id, deadline);
  if (!done) return fail(std::move(done.error()).wrap("fence"));
  auto position = replication::read_own_position(**sql, deadline);
  if (!position) return fail(std::move(position.error()));
  return position->position();
}

// Between the two halves of a rewind, or in the middle of a reload, the data is no point of any
// history.
Status Mariadb::Impl::refuse_half_rejoined(SqlConnection& sql, BootTime deadline) {
  auto rows = sql.query("SELECT COUNT(*) FROM leeward.rejoin", deadline);
  if (!rows) return fail(std::move(rows.error()));
  if (rows->scalar() == "0" && !std::filesystem::exists(options.state_dir + "/rejoin.json"))
    return {};
  return fail(Code::kRefused,
              "a rejoin was interrupted here; it has to be finished by following first");
}

// The server's own clock, `deadline` from now. A statement that carries it as a condition does
// nothing when it is executed too late, e.g. because the server was stopped in between.
static Result<std::string> server_deadline(SqlConnection& sql, BootTime deadline) {
  auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(deadline - BootClock::now()).count();
  auto rows = sql.query(fmt::format("SELECT UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND",
                                    std::max<std::int64_t>(micros, 0)),
                        deadline);
  if (!rows) return fail(std::move(rows.error()));
  return sql.quote(rows->scalar());
}

Status Mariadb::Impl::insert_epoch(SqlConnection& sql, leeward::Promotion promotion, bool complete,
                                   BootTime deadline) {
  auto position = replication::read_own_position(sql, deadline);
  if (!position) return fail(std::move(position.error()));
  auto until = server_deadline(sql, deadline);
  if (!until) return fail(std::move(until.error()));
  auto rows = sql.query(
      fmt::format(
          "INSERT INTO leeward.epoch SELECT {}, {}, {}, '{}', UTC_TIMESTAMP(6), {} FROM DUAL "
          "WHERE UTC_TIMESTAMP(6) < {}",
          promotion.epoch.value, promotion.term.value, sql.quote(options.site_name(options.site)),
          to_string(*position), complete ? 1 : 0, *until),
      deadline);
  if (!rows) return fail(std::move(rows.error()));
  if (rows->affected == 0) return fail(Code::kTimeout, "the epoch row came too late");
  return {};
}

Status Mariadb::Impl::open_for_writes(SqlConnection& sql, BootTime deadline) {
  auto until = server_deadline(sql, deadline);
  if (!until) return fail(std::move(until.error()));
  auto opened = sql.execute("BEGIN NOT ATOMIC IF UTC_TIMESTAMP(6) < " + *until +
                                " THEN SET GLOBAL read_only = 0; END IF; END",
                            deadline);
  if (!opened) return opened;
  auto state = sql.query("SELECT @@global.read_only", deadline);
  if (!state) return fail(std::move(state.error()));
  if (state->scalar() != "0") return fail(Code::kTimeout, "opening for writes came too late");
  return {};
}

// The connection of status() has lived since the link was new; if the server had restarted since,
// it would be gone.
Status Mariadb::Impl::same_link(SqlConnection& sql, std::uint64_t wanted, BootTime deadline) {
  if (wanted == 0) return {};
  auto there = sql.query(
      fmt::format("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {} AND user = {}",
                  status_id.load(), sql.quote(options.admin_user)),
      deadline);
  if (!there) return fail(std::move(there.error()));
  if (link_number == wanted && there->scalar() == "1") return {};
  return fail(
      Code::kConflict,
      "what was received and not yet applied may have been lost with a restart of the server");
}

Status Mariadb::protect(bool alone) {
  BootTime deadline = BootClock::now() + (alone ? kRelaxLimit : impl_->options.control_timeout);
  auto sql = impl_->control(deadline);
  if (!sql) return fail(std::move(sql.error()));
  auto set = replication::set_commit_wait(**sql, impl_->waiting_policy(), alone, deadline);
  if (!set) return fail(std::move(set.error()).wrap("protect"));
  return {};
}

Result<Position> Mariadb::promote(const Promotion& wanted, Duration apply_timeout) {
  BootTime deadline = BootClock::now() + impl_->options.control_timeout;
  auto connection = impl_->control(deadline);
  if (!connection) return fail(std::move(connection.error()));
  SqlConnection& sql = **connection;
  auto epochs = internal::read_epochs(sql, deadline);
  if (!epochs) return fail(std::move(epochs.error()));
  if (!*epochs) return fail(Code::kConflict, "promote: prepare() the first writer before");
  leeward::Promotion promotion{wanted.epoch, wanted.term};
  leeward::Promotion newest =
      (*epochs)->empty() ? leeward::Promotion{} : (*epochs)->back().promotion();
  if (newest > promotion)
    return fail(Code::kRefused,
                "promote to epoch {} term {}: the data is at epoch {} term {} already",
                wanted.epoch.value, wanted.term.value, newest.epoch.value, newest.term.value);
  if (auto whole = impl_->refuse_half_rejoined(sql, deadline); !whole)
    return fail(std::move(whole.error()).wrap("promote"));

  auto threads = replication::ThreadsLock::seize(sql, deadline);
  if (!threads) return fail(std::move(threads.error()).wrap("promote"));
  auto link = replication::read_native_link(sql, deadline);
  if (!link) return fail(std::move(link.error()));
  if (newest < promotion) {
    // On the connection that goes on to promote: a restart from here on would end it.
    if (link->configured && wanted.whole && !link->kept)
      return fail(
          Code::kRefused,
          "promote: MariaDB at {} was restarted and may have lost what it had received and not "
          "applied",
          to_string(impl_->options.local));
    // Nobody may write between the position that the epoch row records and the row itself.
    auto quiet =
        replication::make_read_only(sql, impl_->options.admin_user, impl_->status_id, deadline);
    if (!quiet) return fail(std::move(quiet.error()).wrap("promote"));
    if (auto same = impl_->same_link(sql, wanted.link, deadline); !same)
      return fail(std::move(same.error()).wrap("promote"));
    if (link->configured) {
      auto applied = replication::apply_received(sql, BootClock::now() + apply_timeout);
      if (!applied) return fail(std::move(applied.error()).wrap("promote"));
    }
    deadline = BootClock::now() + impl_->options.control_timeout;
  }
  if (link->configured)
    if (auto forgot = replication::forget_sources(sql, deadline); !forgot)
      return fail(std::move(forgot.error()).wrap("promote"));
  // Before anything is written: a commit that may be acknowledged alone must not wait for a copy
  // that nobody makes.
  if (auto wait =
          replication::set_commit_wait(sql, impl_->waiting_policy(), wanted.alone, deadline);
      !wait)
    return fail(std::move(wait.error()).wrap("promote"));
  if (newest < promotion)
    if (auto inserted = impl_->insert_epoch(sql, promotion, wanted.link != 0, deadline); !inserted)
      return fail(std::move(inserted.error()).wrap("promote"));
  if (auto opened = impl_->open_for_writes(sql, deadline); !opened)
    return fail(std::move(opened.error()).wrap("promote"));
  impl_->diverged = false;
  auto position = replication::read_own_position(sql, deadline);
  if (!position) return fail(std::move(position.error()));
  return position->position();
}

Result<Mariadb::Remote> Mariadb::look_at(const SqlTarget& server, Duration timeout) {
  BootTime deadline = BootClock::now() + timeout;
  auto sql = SqlConnection::open(server, deadline);
  if (!sql) return fail(std::move(sql.error()));
  auto rows = sql->query(
      "SELECT @@read_only AS read_only, epoch, term FROM leeward.epoch ORDER BY epoch DESC, "
      "term DESC LIMIT 1",
      deadline);
  if (!rows) return fail(std::move(rows.error()));
  auto number = [&](std::string_view column) {
    return std::strtoull(rows->cell(0, column).value_or("0").c_str(), nullptr, 10);
  };
  if (rows->rows.empty()) return Remote{};
  return Remote{number("read_only") != 0, {Epoch{number("epoch")}, Term{number("term")}}};
}

Result<FollowOutcome> Mariadb::follow(SiteId source, NodeId node, Epoch epoch, Ledger& ledger,
                                      const FollowCallback& progress, bool reseed) {
  auto site = impl_->options.peers.find(source);
  bool known = site != impl_->options.peers.end() && node.value < site->second.size();
  if (!known || site->second[node.value] == impl_->options.local)
    return fail(Code::kInvalid, "follow: site {} has no database node {} to follow", source.value,
                node.value + 1);
  const Endpoint& address = site->second[node.value];
  if (auto fenced = fence(); !fenced) return fail(std::move(fenced.error()));
  auto sql = impl_->control(BootClock::now() + impl_->options.control_timeout);
  if (!sql) return fail(std::move(sql.error()));
  auto threads =
      replication::ThreadsLock::seize(**sql, BootClock::now() + impl_->options.control_timeout);
  if (!threads) return fail(std::move(threads.error()).wrap("follow"));
  bool near = source == impl_->options.site;
  internal::Rejoin rejoin{impl_->options, address, near,     epoch,
                          ledger,         **sql,   progress, impl_->diverged};
  // Starting the link again mends what was passing. What stays is a standby that cannot apply the
  // writer's history, and only a fresh copy makes it one again.
  std::string reload_because;
  auto link =
      replication::read_native_link(**sql, BootClock::now() + impl_->options.control_timeout);
  if (!link) return fail(std::move(link.error()));
  bool stuck = link->apply_failed && link->source == address;
  impl_->apply_failures = stuck ? impl_->apply_failures + 1 : 0;
  if (impl_->apply_failures > kApplyFailuresMax)
    reload_because = "replication cannot apply: " + link->error;
  if (reseed) reload_because = "asked for by an operator";
  // Whatever comes of it, the received changes may be gone from here on.
  auto outcome = rejoin.run(reload_because);
  if (!outcome || outcome->connected) impl_->new_link();
  if (outcome && outcome->kind != FollowOutcome::Kind::kStreaming) impl_->apply_failures = 0;
  return outcome;
}

Result<std::map<std::string, Mariadb::NativePasswordHash>> Mariadb::native_password_hashes() {
  BootTime deadline = BootClock::now() + impl_->options.control_timeout;
  auto sql = impl_->control(deadline);
  if (!sql) return fail(std::move(sql.error()));
  auto rows = (*sql)->query(
      "SELECT user, JSON_VALUE(priv, '$.authentication_string') FROM mysql.global_priv WHERE "
      "JSON_VALUE(priv, '$.plugin') = 'mysql_native_password' AND "
      "COALESCE(JSON_VALUE(priv, '$.account_locked'), 'false') NOT IN ('true', '1') "
      "ORDER BY host <> '%', host",
      deadline);
  if (!rows) return fail(std::move(rows.error()));
  std::map<std::string, NativePasswordHash> hashes;
  for (const auto& row : rows->rows)
    if (auto hash = parse_hash(row[1].value_or(""))) hashes.emplace(row[0].value_or(""), *hash);
  return hashes;
}

}  // namespace leeward::database
