#include "replication/native_driver.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "replication/native.h"
#include "replication/native_check.h"

namespace leeward::replication {
namespace {

using mysql::SqlConnection;
using mysql::SqlTarget;

constexpr Duration kLookEvery = 500ms;
constexpr Duration kLookLimit = 2s;
constexpr Duration kHeartbeatLimit = 1s;

std::string heartbeat_row(const SqlConnection& sql, const std::string& task) {
  return "REPLACE INTO leeward.stream_heartbeat VALUES (" + sql.quote(task) + ", NOW(6))";
}

constexpr const char* kHeartbeatTable =
    "CREATE TABLE IF NOT EXISTS leeward.stream_heartbeat (task VARCHAR(64) CHARACTER SET utf8mb4 "
    "COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, ts TIMESTAMP(6) NOT NULL) ENGINE=InnoDB";

// One connection that is kept, and opened again when it broke.
class Kept {
 public:
  Result<SqlConnection*> get(const SqlTarget& target, BootTime deadline) {
    if (!sql_ || !sql_->usable()) {
      sql_.reset();
      auto opened = SqlConnection::open(target, deadline);
      if (!opened) return fail(std::move(opened.error()));
      sql_.emplace(std::move(*opened));
    }
    return &*sql_;
  }
  void drop() { sql_.reset(); }

 private:
  std::optional<SqlConnection> sql_;
};

}  // namespace

class NativeDriver::Impl {
 public:
  Impl(NativeOptions options, NativeParts parts)
      : options_(std::move(options)), parts_(std::move(parts)) {}
  ~Impl() { end_watch(); }

  Result<std::vector<Finding>> precheck(BootTime deadline) {
    auto source = SqlConnection::open(options_.source, deadline);
    if (!source) return fail(std::move(source.error()).wrap("source"));
    auto target = SqlConnection::open(options_.target, deadline);
    if (!target) return fail(std::move(target.error()).wrap("target"));
    std::vector<Finding> findings;
    auto take = [&](Result<std::vector<Finding>> found) -> Status {
      if (!found) return fail(std::move(found.error()));
      findings.insert(findings.end(), std::make_move_iterator(found->begin()),
                      std::make_move_iterator(found->end()));
      return {};
    };
    if (auto done = take(check_native_server(*source, "source", options_.policy, deadline)); !done)
      return fail(std::move(done.error()));
    if (auto done = take(check_native_server(*target, "target", options_.policy, deadline)); !done)
      return fail(std::move(done.error()));
    if (auto done = take(check_native_pair(*source, *target, deadline)); !done)
      return fail(std::move(done.error()));
    // The account that the target will log in with, the way it will.
    SqlTarget follower = options_.source;
    follower.user = options_.replication_user;
    follower.password = options_.replication_password;
    auto login = SqlConnection::open(follower, deadline);
    if (!login)
      findings.push_back({Severity::kError, "replication_account",
                          "the replication account cannot log in: " + login.error().message,
                          "source",
                          fmt::format("GRANT REPLICATION SLAVE ON *.* TO {}@'%' IDENTIFIED BY …",
                                      source->quote(options_.replication_user))});
    if (options_.policy.mode == ReplicationMode::kLossless)
      findings.push_back({Severity::kError, "lossless",
                          "lossless mode is decided in a platform's record, not by a task",
                          "source", "use mode semi_sync, or leeward.yaml"});
    return findings;
  }

  Status start(BootTime deadline) {
    auto findings = precheck(deadline);
    if (!findings) return fail(std::move(findings.error()));
    for (const Finding& finding : *findings)
      if (finding.severity == Severity::kError)
        return fail(Code::kRefused, "{}: {}; {}", finding.where, finding.what, finding.cure);
    auto target = SqlConnection::open(options_.target, deadline);
    if (!target) return fail(std::move(target.error()).wrap("target"));
    auto link = read_native_link(*target, deadline);
    if (!link) return fail(std::move(link.error()));
    // After a restart the server has the replication settings of its configuration, so a link that
    // does not run is made anew.
    bool runs = link->configured && link->source == options_.source.endpoint &&
                link->state == ReplicationState::kStreaming &&
                link->acknowledges == (options_.policy.mode != ReplicationMode::kAsync);
    if (!runs) {
      auto position = read_own_position(*target, deadline);
      if (!position) return fail(std::move(position.error()));
      if (position->domains.empty())
        return fail(Code::kRefused, "MariaDB at {} has no position to follow from: seed it first",
                    to_string(options_.target.endpoint));
      NativeSource source{options_.source.endpoint, options_.replication_user,
                          options_.replication_password};
      auto done = connect_native(*target, source, options_.policy, *position, deadline);
      if (!done) return done;
    }
    if (auto read_only = target->execute("SET GLOBAL read_only = 1", deadline); !read_only)
      return read_only;
    auto source = SqlConnection::open(options_.source, deadline);
    if (!source) return fail(std::move(source.error()).wrap("source"));
    auto waits = set_commit_wait(*source, options_.policy,
                                 options_.policy.mode == ReplicationMode::kAsync, deadline);
    if (!waits) return waits;
    begin_watch();
    return {};
  }

  Status stop(BootTime deadline) {
    end_watch();
    auto done = on_target("STOP SLAVE", deadline);
    if (!done) return done;
    change([](LinkStatus& s) { s.state = LinkState::kStopped; });
    // Nobody makes copies any more, so nobody waits for one.
    if (options_.policy.mode == ReplicationMode::kAsync) return {};
    auto source = SqlConnection::open(options_.source, deadline);
    if (!source) return {};  // it is gone; a promotion elsewhere is not to wait for it
    return set_commit_wait(*source, async(), true, deadline);
  }

  Status on_target(const char* statement, BootTime deadline) {
    auto target = SqlConnection::open(options_.target, deadline);
    if (!target) return fail(std::move(target.error()).wrap("target"));
    return target->execute(statement, deadline);
  }

  Status drain(const mysql::GtidPosition& until, BootTime deadline) {
    std::string wanted = to_string(until);
    if (until.domains.empty()) {
      auto source = SqlConnection::open(options_.source, deadline);
      if (!source) return fail(std::move(source.error()).wrap("source"));
      auto rows = source->query("SELECT @@global.gtid_binlog_pos", deadline);
      if (!rows) return fail(std::move(rows.error()));
      wanted = rows->scalar();
    }
    auto target = SqlConnection::open(options_.target, deadline);
    if (!target) return fail(std::move(target.error()).wrap("target"));
    return wait_applied(*target, wanted, deadline);
  }

  Result<mysql::GtidPosition> fence(BootTime deadline) {
    auto source = SqlConnection::open(options_.source, deadline);
    if (!source) return fail(std::move(source.error()).wrap("source"));
    if (auto done = make_read_only(*source, options_.source.user, 0, deadline); !done)
      return fail(std::move(done.error()).wrap("fence"));
    auto rows = source->query("SELECT @@global.gtid_binlog_pos", deadline);
    if (!rows) return fail(std::move(rows.error()));
    return mysql::parse_gtid_position(rows->scalar());
  }

  Status promote(BootTime deadline) {
    end_watch();
    auto target = SqlConnection::open(options_.target, deadline);
    if (!target) return fail(std::move(target.error()).wrap("target"));
    auto link = read_native_link(*target, deadline);
    if (!link) return fail(std::move(link.error()));
    if (link->configured) {
      if (auto applied = apply_received(*target, deadline); !applied) return applied;
      if (auto forgot = forget_sources(*target, deadline); !forgot) return forgot;
    }
    if (auto alone = set_commit_wait(*target, async(), true, deadline); !alone) return alone;
    if (auto open = target->execute("SET GLOBAL read_only = 0", deadline); !open) return open;
    change([](LinkStatus& s) { s.state = LinkState::kStopped; });
    return {};
  }

  Status reverse(BootTime deadline) {
    if (watching()) return fail(Code::kConflict, "the link is running; stop it first");
    auto target = SqlConnection::open(options_.target, deadline);
    if (!target) return fail(std::move(target.error()).wrap("target"));
    auto link = read_native_link(*target, deadline);
    if (!link) return fail(std::move(link.error()));
    if (link->configured)
      if (auto forgot = forget_sources(*target, deadline); !forgot) return forgot;
    std::swap(options_.source, options_.target);
    change([](LinkStatus& s) { s.reversed = !s.reversed; });
    return {};
  }

  LinkStatus status() const {
    std::lock_guard lock(mutex_);
    return status_;
  }

  bool watching() const { return watch_.joinable(); }

  NativeOptions options_;
  NativeParts parts_;

 private:
  ReplicationPolicy async() const {
    ReplicationPolicy policy = options_.policy;
    policy.mode = ReplicationMode::kAsync;
    return policy;
  }

  template <typename Change>
  void change(Change&& what) {
    std::lock_guard lock(mutex_);
    what(status_);
  }

  void begin_watch() {
    if (watching()) return;
    change([](LinkStatus& s) { s.state = LinkState::kConnecting; });
    ending_ = false;
    watch_ = std::thread([this] { watch(); });
  }

  void end_watch() {
    if (!watching()) return;
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    watch_.join();
  }

  void watch() {
    Kept source, target;
    for (;;) {
      LinkStatus next = status();
      look_at_source(source, next);
      look_at_target(target, next);
      std::unique_lock lock(mutex_);
      next.reversed = status_.reversed;
      status_ = std::move(next);
      if (wake_.wait_for(lock, kLookEvery, [&] { return ending_; })) return;
    }
  }

  // A source that is lost keeps its last position: that is how far the target could have come.
  void look_at_source(Kept& kept, LinkStatus& next) {
    auto sql = kept.get(options_.source, BootClock::now() + kLookLimit);
    if (!sql) return;
    BootTime deadline = BootClock::now() + kLookLimit;
    auto rows = (*sql)->query("SELECT @@global.gtid_binlog_pos, @@global.read_only", deadline);
    if (!rows || rows->rows.empty()) return;
    if (auto position = mysql::parse_gtid_position(rows->rows[0][0].value_or("")))
      next.source = std::move(*position);
    if (auto wait = read_commit_wait(**sql, deadline)) {
      bool gave_up = wait->fallbacks > next.semi_sync_fallbacks && next.semi_sync != SemiSync::kOff;
      if (gave_up)
        options_.logger.warn("RPO event: the source gave up waiting for a copy",
                             {{"commits_alone", wait->alone}});
      next.semi_sync = wait->state;
      next.semi_sync_fallbacks = wait->fallbacks;
    }
    if (rows->rows[0][1] != "0") return;  // fenced: no heartbeat
    // A commit that waits for a copy must not hold up the looks.
    BootTime limit = BootClock::now() + kHeartbeatLimit;
    if (!heartbeat_ready_) {
      (void)(*sql)->execute("CREATE DATABASE IF NOT EXISTS leeward", limit);
      heartbeat_ready_ = (*sql)->execute(kHeartbeatTable, limit).has_value();
    }
    (void)(*sql)->execute(heartbeat_row(**sql, options_.task), limit);
  }

  void look_at_target(Kept& kept, LinkStatus& next) {
    auto trouble = [&](const Error& error) {
      next.state = LinkState::kConnecting;
      if (next.error != error.message) next.error_at = SystemClock().now().wall;
      next.error = error.message;
    };
    BootTime deadline = BootClock::now() + kLookLimit;
    auto sql = kept.get(options_.target, deadline);
    if (!sql) return trouble(sql.error());
    auto link = read_native_link(**sql, deadline);
    if (!link) return trouble(link.error());
    auto applied = read_own_position(**sql, deadline);
    if (!applied) return trouble(applied.error());
    next.applied = std::move(*applied);
    next.received = mysql::later(next.applied, link->received);
    next.durable = link->acknowledges ? next.received : next.applied;
    next.behind = distance(next.source, next.applied);
    next.received_lag.transactions = distance(next.source, next.received);
    next.durable_lag.transactions = distance(next.source, next.durable);
    read_heartbeat(**sql, next, deadline);
    if (link->error != next.error) next.error_at = SystemClock().now().wall;
    next.error = link->error;
    next.state = state_of(*link);
  }

  static LinkState state_of(const NativeLink& link) {
    if (!link.configured) return LinkState::kStopped;
    if (link.apply_failed) return LinkState::kBroken;
    if (link.receiving && !link.applying) return LinkState::kPaused;
    switch (link.state) {
      case ReplicationState::kStreaming:
        return LinkState::kStreaming;
      case ReplicationState::kConnecting:
        return LinkState::kConnecting;
      case ReplicationState::kBroken:
      case ReplicationState::kNone:
        break;
    }
    return link.error.empty() ? LinkState::kStopped : LinkState::kBroken;
  }

  void read_heartbeat(SqlConnection& sql, LinkStatus& next, BootTime deadline) const {
    auto rows = sql.query("SELECT UNIX_TIMESTAMP(ts) FROM leeward.stream_heartbeat WHERE task = " +
                              sql.quote(options_.task),
                          deadline);
    if (!rows || rows->rows.empty()) return;
    double written = std::strtod(rows->scalar().c_str(), nullptr);
    double now = std::chrono::duration<double>(SystemClock().now().wall.time_since_epoch()).count();
    next.lag = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(std::max(0.0, now - written)));
  }

  static std::uint64_t distance(const mysql::GtidPosition& ahead,
                                const mysql::GtidPosition& behind) {
    std::uint64_t sum = 0;
    for (const auto& [domain, gtid] : ahead.domains) {
      auto found = behind.domains.find(domain);
      std::uint64_t has = found == behind.domains.end() ? 0 : found->second.sequence;
      sum += gtid.sequence > has ? gtid.sequence - has : 0;
    }
    return sum;
  }

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  LinkStatus status_;
  bool ending_ = false;           // guarded by mutex_
  bool heartbeat_ready_ = false;  // of the watch only
  std::thread watch_;
};

NativeDriver::NativeDriver(NativeOptions options, NativeParts parts)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(parts))) {}
NativeDriver::~NativeDriver() = default;

Result<std::vector<Finding>> NativeDriver::precheck(BootTime deadline) {
  return impl_->precheck(deadline);
}

Status NativeDriver::seed(const OnProgress& progress) {
  if (!impl_->parts_.seed) return fail(Code::kRefused, "this task has no way to copy its data");
  auto position = impl_->parts_.seed(progress);
  if (!position) return fail(std::move(position.error()));
  return {};
}

Status NativeDriver::start(BootTime deadline) { return impl_->start(deadline); }
Status NativeDriver::stop(BootTime deadline) { return impl_->stop(deadline); }
Status NativeDriver::pause(BootTime deadline) {
  return impl_->on_target("STOP SLAVE SQL_THREAD", deadline);
}
Status NativeDriver::resume(BootTime deadline) {
  return impl_->on_target("START SLAVE SQL_THREAD", deadline);
}
LinkStatus NativeDriver::status() const { return impl_->status(); }
Status NativeDriver::drain(const mysql::GtidPosition& until, BootTime deadline) {
  return impl_->drain(until, deadline);
}
Result<mysql::GtidPosition> NativeDriver::fence(BootTime deadline) {
  return impl_->fence(deadline);
}
Status NativeDriver::promote(BootTime deadline) { return impl_->promote(deadline); }

Result<RewindReport> NativeDriver::rewind(const OnProgress& progress) {
  if (!impl_->parts_.rewind) return fail(Code::kRefused, "this task has no way to undo anything");
  return impl_->parts_.rewind(impl_->options_.source, impl_->options_.target, progress);
}

Status NativeDriver::reverse(BootTime deadline) { return impl_->reverse(deadline); }

Result<VerifyReport> NativeDriver::verify(const VerifyOptions& options,
                                          const OnProgress& progress) {
  if (!impl_->parts_.verify) return fail(Code::kRefused, "this task cannot be compared");
  return impl_->parts_.verify(options, progress);
}

}  // namespace leeward::replication
