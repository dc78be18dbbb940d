#include "replication/stream.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "replication/internal/link_state.h"
#include "replication/internal/scheduler.h"
#include "replication/relay_log.h"
#include "replication/seed.h"

namespace leeward::replication {
namespace {

using internal::Checkpoint;
using internal::LinkBoard;
using internal::Outcome;
using internal::Part;
using internal::Scheduler;
using internal::Trouble;

constexpr Duration kConnectLimit = 10s;
constexpr Duration kQuestionLimit = 3s;
constexpr Duration kStall = 15s;  // without even a heartbeat of the protocol (1 s): reconnect
constexpr Duration kWatchEvery = 250ms;
constexpr Duration kPurgeEvery = 1s;
constexpr Duration kRetryFirst = 100ms, kRetryLast = 5s;

mysql::StreamPosition at(const mysql::GtidPosition& position) { return {position, {}, {}}; }

// Errors that pass by themselves.
bool passes_by_itself(Code code) {
  return code == Code::kUnavailable || code == Code::kTimeout || code == Code::kIo;
}

std::string reverse_name(const std::string& task) {
  constexpr std::string_view kMark = "~reverse";
  if (task.ends_with(kMark)) return task.substr(0, task.size() - kMark.size());
  return task + std::string(kMark);
}

}  // namespace

class StreamDriver::Impl {
 public:
  Impl(StreamOptions options, StreamParts parts)
      : options_(std::move(options)),
        parts_(std::move(parts)),
        board_(options_.metrics, options_.task) {}
  ~Impl() { end_threads(); }

  Status start(BootTime deadline);
  Status stop();
  Status open_relay(const Checkpoint& checkpoint);
  Result<mysql::SqlConnection> connect(const mysql::SqlTarget& where, BootTime deadline) const {
    auto sql = mysql::SqlConnection::open(where, deadline);
    if (!sql) return fail(std::move(sql.error()).wrap(options_.task));
    return sql;
  }
  Result<mysql::GtidPosition> ask_position(const mysql::SqlTarget& where, BootTime deadline) const;
  Result<Checkpoint> read_position(BootTime deadline) const;
  Status reverse(BootTime deadline);

  StreamOptions options_;
  StreamParts parts_;
  LinkBoard board_;
  bool running() const { return !threads_.empty(); }

 private:
  void end_threads();
  bool pause_for(Duration& pause);  // false: ending. Doubles `pause`
  void capture();
  Status capture_once();
  void apply();
  Outcome apply_once();
  void watch();
  void look_at_source(std::optional<mysql::SqlConnection>& sql);
  void write_heartbeat(mysql::SqlConnection& sql);
  std::string relay_directory() const { return options_.state_dir + "/relay-" + options_.task; }

  std::unique_ptr<RelayLog> relay_;
  std::set<std::uint32_t> own_servers_;
  std::shared_ptr<const SeedState> seed_;  // copied by seed(); null: not by us
  std::vector<std::thread> threads_;
  std::atomic<bool> ending_{false};
  std::atomic<std::uint64_t> applied_offset_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  Scheduler* scheduler_ = nullptr;  // while it runs; guarded
};

Status StreamDriver::Impl::open_relay(const Checkpoint& checkpoint) {
  RelayOptions relay_options;
  relay_options.directory = relay_directory();
  relay_options.total_bytes_max = options_.relay_bytes_max;
  auto relay = RelayLog::open(relay_options, at(checkpoint.position));
  if (!relay) return fail(std::move(relay.error()));
  if (!(*relay)->cut().empty()) options_.logger.warn("relay log: " + (*relay)->cut());
  bool usable = (*relay)->read_after(at(checkpoint.position)).has_value() &&
                internal::reached((*relay)->received().stream.gtids, checkpoint.position);
  if (!usable) {
    // It ends before the checkpoint, or begins after it (a new seed): what it holds is of no use,
    // and the source is asked again from the checkpoint on.
    relay->reset();
    std::error_code error;
    std::filesystem::remove_all(relay_directory(), error);
    if (error) return fail(os_error(error.value(), "remove " + relay_directory()));
    relay = RelayLog::open(relay_options, at(checkpoint.position));
    if (!relay) return fail(std::move(relay.error()));
  }
  relay_ = std::move(*relay);
  return {};
}

// kNotFound: the task has none.
Result<Checkpoint> StreamDriver::Impl::read_position(BootTime deadline) const {
  auto sql = connect(options_.target, deadline);
  if (!sql) return fail(std::move(sql.error()));
  if (auto made = internal::create_stream_tables(*sql, deadline); !made)
    return fail(std::move(made.error()));
  return internal::read_checkpoint(*sql, options_.task, deadline);
}

Status StreamDriver::Impl::start(BootTime deadline) {
  if (running()) return {};
  auto checkpoint = read_position(deadline);
  if (!checkpoint) return fail(std::move(checkpoint.error()));
  auto sql = connect(options_.target, deadline);
  if (!sql) return fail(std::move(sql.error()));
  auto seeded = read_seed_state(*sql, options_.task, deadline);
  if (!seeded) return fail(std::move(seeded.error()));
  seed_ = *seeded ? std::make_shared<const SeedState>(std::move(**seeded)) : nullptr;
  auto server = sql->query("SELECT @@global.server_id", deadline);
  if (!server) return fail(std::move(server.error()));
  own_servers_ = {options_.ignore_servers.begin(), options_.ignore_servers.end()};
  own_servers_.insert(static_cast<std::uint32_t>(std::stoul(server->scalar())));
  if (auto opened = open_relay(*checkpoint); !opened) return opened;
  board_.set_running(true);
  board_.set_applied(checkpoint->position);
  board_.set_received(relay_->received().stream.gtids, relay_->durable().stream.gtids);
  ending_ = false;
  threads_.emplace_back([this] { capture(); });
  threads_.emplace_back([this] { apply(); });
  threads_.emplace_back([this] { watch(); });
  return {};
}

Status StreamDriver::Impl::stop() {
  end_threads();
  board_.set_running(false);
  return {};
}

void StreamDriver::Impl::end_threads() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    if (scheduler_) scheduler_->stop();
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  relay_.reset();
}

bool StreamDriver::Impl::pause_for(Duration& pause) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, pause, [&] { return ending_.load(); });
  pause = std::min(pause * 2, Duration(kRetryLast));
  return !ending_;
}

void StreamDriver::Impl::capture() {
  Duration pause = kRetryFirst;
  while (!ending_) {
    auto before = relay_->received().offset;
    auto ended = capture_once();
    if (ending_) return;
    if (before != relay_->received().offset) pause = kRetryFirst;
    if (!ended) {
      board_.set_error(Part::kCapture, ended.error(), !passes_by_itself(ended.error().code));
      options_.logger.warn("capture: " + ended.error().message);
    }
    if (!pause_for(pause)) return;
  }
}

Status StreamDriver::Impl::capture_once() {
  auto client =
      mysql::ReplicationClient::connect(options_.source, BootClock::now() + kConnectLimit);
  if (!client) return fail(std::move(client.error()));
  if (auto cut = relay_->withdraw(); !cut) return cut;
  mysql::DumpRequest request;
  request.server_id = options_.server_id;
  request.from = relay_->received().stream;
  request.semi_sync = options_.semi_sync;
  if (auto started = (*client)->start(request, BootClock::now() + kConnectLimit); !started)
    return started;
  std::optional<mysql::LogPosition> owed;  // semi-sync: to be acknowledged after the next sync
  BootTime heard = BootClock::now();
  while (!ending_) {
    if (!relay_->wait_for_room(BootClock::now() + kWatchEvery)) {
      heard = BootClock::now();  // our fault, not the source's
      continue;
    }
    auto received = (*client)->next(BootClock::now() + kWatchEvery);
    if (!received) {
      bool quiet = received.error().code == Code::kTimeout && BootClock::now() < heard + kStall;
      if (!quiet) return fail(std::move(received.error()));
      continue;
    }
    if (!*received) return fail(Code::kUnavailable, "source ended the stream");
    heard = BootClock::now();
    if (auto appended = relay_->append(**received); !appended) return appended;
    if ((*received)->wants_acknowledgement) owed = (*client)->tracker().log();
    board_.set_connected(Part::kCapture, true);
    board_.clear_error(Part::kCapture);
    if ((*client)->buffered()) continue;
    auto synced = relay_->sync();
    if (!synced) return fail(std::move(synced.error()));
    board_.set_received(relay_->received().stream.gtids, synced->stream.gtids);
    if (!owed) continue;
    auto told = (*client)->acknowledge(*owed, BootClock::now() + kConnectLimit);
    if (!told) return told;
    owed.reset();
  }
  return {};
}

void StreamDriver::Impl::apply() {
  Duration pause = kRetryFirst;
  int moved = 0;
  while (!ending_) {
    std::uint64_t before = applied_offset_;
    Outcome outcome = apply_once();
    if (ending_) return;
    if (before != applied_offset_) {
      pause = kRetryFirst;
      moved = 0;
    }
    if (!outcome.ok()) {
      bool fatal = outcome.trouble == Trouble::kRejected || outcome.trouble == Trouble::kMoved;
      board_.set_error(Part::kApply, outcome.error, fatal);
      options_.logger.warn("apply: " + outcome.error.message);
      // Once it may have been a last commit of a process that was killed. Twice it is somebody who
      // applies the same task, and going on would only be a contest.
      if (outcome.trouble == Trouble::kMoved && ++moved > 1) return;
      if (outcome.trouble == Trouble::kMoved) pause = kRetryLast;
    }
    if (!pause_for(pause)) return;
  }
}

Outcome StreamDriver::Impl::apply_once() {
  internal::SchedulerOptions o;
  o.target = options_.target;
  o.task = options_.task;
  o.mapping = options_.mapping;
  o.workers = options_.workers;
  o.transactions_max = options_.group;
  o.flush_after = options_.flush_after;
  o.memory_bytes_max = options_.memory_bytes_max;
  o.large_bytes = options_.large_bytes;
  o.always_sql = options_.always_sql;
  o.conflicts = options_.conflicts;
  o.own_servers = own_servers_;
  o.logger = options_.logger;
  o.on_commit = [this](const internal::Batch& batch) {
    applied_offset_ = batch.relay_end;
    board_.committed(batch);
  };
  o.hold = [this](const mysql::GtidPosition& position) { return board_.waits(position); };
  o.seed = seed_;
  auto scheduler = Scheduler::start(std::move(o), BootClock::now() + kConnectLimit);
  auto trouble = [](Error& error) {
    return Outcome{passes_by_itself(error.code) ? Trouble::kLost : Trouble::kRejected,
                   std::move(error)};
  };
  if (!scheduler) return trouble(scheduler.error());
  auto cursor = relay_->read_after(at((*scheduler)->checkpoint().position));
  if (!cursor) return trouble(cursor.error());
  {
    std::lock_guard lock(mutex_);
    if (ending_) return {};
    scheduler_ = scheduler->get();
  }
  board_.set_applied((*scheduler)->checkpoint().position);
  board_.set_connected(Part::kApply, true);
  if (board_.status().transactions == 0) board_.clear_error(Part::kApply);
  Outcome outcome = (*scheduler)->run(**cursor);
  std::lock_guard lock(mutex_);
  scheduler_ = nullptr;
  return outcome;
}

// Asks the source for its position and load, and writes the heartbeat; gives up a connection that
// fails, and tries again next time.
void StreamDriver::Impl::look_at_source(std::optional<mysql::SqlConnection>& sql) {
  BootTime deadline = BootClock::now() + kQuestionLimit;
  if (!sql || !sql->usable()) {
    sql.reset();
    auto opened = mysql::SqlConnection::open(options_.source_sql, deadline);
    if (!opened) return;
    sql.emplace(std::move(*opened));
    if (options_.heartbeat > 0s)
      (void)sql->execute("CREATE DATABASE IF NOT EXISTS leeward", deadline);
    if (options_.heartbeat > 0s)
      (void)sql->execute(
          "CREATE TABLE IF NOT EXISTS leeward.stream_heartbeat (task VARCHAR(64) CHARACTER SET "
          "utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, ts TIMESTAMP(6) NOT NULL) "
          "ENGINE=InnoDB",
          deadline);
  }
  auto status = sql->query(
      "SELECT @@global.gtid_binlog_pos, (SELECT variable_value FROM "
      "information_schema.global_status "
      "WHERE variable_name = 'threads_running'), @@global.rpl_semi_sync_master_enabled, "
      "(SELECT variable_value FROM information_schema.global_status WHERE variable_name = "
      "'rpl_semi_sync_master_status'), (SELECT variable_value FROM "
      "information_schema.global_status WHERE variable_name = 'rpl_semi_sync_master_no_times')",
      deadline);
  if (!status || status->rows.empty()) return;
  auto cell = [&](std::size_t i) { return status->rows[0][i].value_or(""); };
  if (auto position = mysql::parse_gtid_position(cell(0))) board_.set_source(*position);
  int running = std::atoi(cell(1).c_str());
  int limit = options_.source_threads_running_max;
  board_.set_throttle(limit > 0 && running > limit
                          ? fmt::format("source has {} running threads, limit {}", running, limit)
                          : std::string());
  SemiSync state = cell(2) != "1"    ? SemiSync::kOff
                   : cell(3) == "ON" ? SemiSync::kOn
                                     : SemiSync::kFallen;
  board_.set_semi_sync(state, std::strtoull(cell(4).c_str(), nullptr, 10));
}

void StreamDriver::Impl::write_heartbeat(mysql::SqlConnection& sql) {
  BootTime deadline = BootClock::now() + kQuestionLimit;
  WallTime at = SystemClock().now().wall;
  auto written = sql.execute(
      "REPLACE INTO leeward.stream_heartbeat VALUES (" + sql.quote(options_.task) + ", NOW(6))",
      deadline);
  if (!written) return;
  auto gtid = sql.query("SELECT @@last_gtid", deadline);
  if (!gtid) return;
  auto position = mysql::parse_gtid_position(gtid->scalar());
  if (position && position->domains.size() == 1) board_.beat(position->domains.begin()->second, at);
}

void StreamDriver::Impl::watch() {
  std::optional<mysql::SqlConnection> sql;
  BootTime look{}, beat{}, purge{};
  for (;;) {
    BootTime now = BootClock::now();
    if (now >= look) {
      look_at_source(sql);
      look = BootClock::now() + 4 * kWatchEvery;
    }
    if (options_.heartbeat > 0s && sql && sql->usable() && now >= beat) {
      write_heartbeat(*sql);
      beat = now + options_.heartbeat;
    }
    if (now >= purge && applied_offset_ > 0) {
      if (auto purged = relay_->purge(RelayOffset{applied_offset_.load()}); !purged)
        options_.logger.warn("relay log: " + purged.error().message);
      purge = now + kPurgeEvery;
    }
    std::unique_lock lock(mutex_);
    Duration tick = options_.heartbeat > 0s ? std::min<Duration>(options_.heartbeat, kWatchEvery)
                                            : Duration(kWatchEvery);
    if (wake_.wait_for(lock, tick, [&] { return ending_.load(); })) return;
  }
}

Result<mysql::GtidPosition> StreamDriver::Impl::ask_position(const mysql::SqlTarget& where,
                                                             BootTime deadline) const {
  auto sql = connect(where, deadline);
  if (!sql) return fail(std::move(sql.error()));
  auto rows = sql->query("SELECT @@global.gtid_binlog_pos", deadline);
  if (!rows) return fail(std::move(rows.error()));
  return mysql::parse_gtid_position(rows->scalar());
}

Status StreamDriver::Impl::reverse(BootTime deadline) {
  auto position = ask_position(options_.target, deadline);
  if (!position) return fail(std::move(position.error()));
  auto old_source = connect(options_.source_sql, deadline);
  if (!old_source) return fail(std::move(old_source.error()));
  if (auto made = internal::create_stream_tables(*old_source, deadline); !made) return made;
  std::string task = reverse_name(options_.task);
  // Written before anything is swapped: a crash in between repeats the call.
  if (auto written = internal::write_checkpoint(*old_source, task, {*position, 0}, deadline);
      !written)
    return written;
  mysql::ReplicationSource source = options_.source;
  source.endpoint = options_.target.endpoint;
  source.user = options_.target.user;
  source.password = options_.target.password;
  options_.source = std::move(source);
  std::swap(options_.source_sql, options_.target);
  options_.task = std::move(task);
  board_.set_reversed(options_.task.ends_with("~reverse"));
  board_.set_applied(*position);
  return {};
}

StreamDriver::StreamDriver(StreamOptions options, StreamParts parts)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(parts))) {}
StreamDriver::~StreamDriver() = default;

Result<std::vector<Finding>> StreamDriver::precheck(BootTime deadline) {
  if (!impl_->parts_.precheck) return std::vector<Finding>{};
  return impl_->parts_.precheck(deadline);
}

Status StreamDriver::begin_at(const mysql::GtidPosition& position, BootTime deadline) {
  if (impl_->running()) return fail(Code::kConflict, "the stream is running; stop it first");
  auto sql = impl_->connect(impl_->options_.target, deadline);
  if (!sql) return fail(std::move(sql.error()));
  if (auto made = internal::create_stream_tables(*sql, deadline); !made) return made;
  return internal::write_checkpoint(*sql, impl_->options_.task, {position, 0}, deadline);
}

Status StreamDriver::seed(const OnProgress& progress) {
  if (!impl_->parts_.seed) return fail(Code::kRefused, "this task has no way to copy its data");
  // A position is only written behind a whole copy, and a stream may have gone on from it.
  auto before = impl_->read_position(BootClock::now() + kConnectLimit);
  if (before || before.error().code != Code::kNotFound)
    return before ? Status() : fail(std::move(before.error()));
  auto position = impl_->parts_.seed(progress);
  if (!position) return fail(std::move(position.error()));
  return begin_at(*position, BootClock::now() + kConnectLimit);
}

void StreamDriver::hold() { impl_->board_.hold_at(std::nullopt); }

Status StreamDriver::advance(const mysql::GtidPosition& at, BootTime deadline) {
  impl_->board_.hold_at(at);
  if (auto there = impl_->board_.wait_applied(at, deadline); !there) return there;
  auto applied = impl_->board_.status().applied;
  if (internal::reached(at, applied)) return {};
  return fail(Code::kConflict, "the stream is at {} already, past {}", to_string(applied),
              to_string(at));
}

void StreamDriver::release() { impl_->board_.let_go(); }

Status StreamDriver::start(BootTime deadline) { return impl_->start(deadline); }
Status StreamDriver::stop(BootTime) { return impl_->stop(); }

Status StreamDriver::pause(BootTime) {
  impl_->board_.set_paused(true);
  return {};
}

Status StreamDriver::resume(BootTime) {
  impl_->board_.set_paused(false);
  return {};
}

LinkStatus StreamDriver::status() const { return impl_->board_.status(); }

Status StreamDriver::drain(const mysql::GtidPosition& until, BootTime deadline) {
  mysql::GtidPosition wanted = until;
  if (wanted.domains.empty()) {
    auto position = impl_->ask_position(impl_->options_.source_sql, deadline);
    if (!position) return fail(std::move(position.error()));
    wanted = std::move(*position);
  }
  return impl_->board_.wait_applied(wanted, deadline);
}

Result<mysql::GtidPosition> StreamDriver::fence(BootTime deadline) {
  auto sql = impl_->connect(impl_->options_.source_sql, deadline);
  if (!sql) return fail(std::move(sql.error()));
  if (auto set = sql->execute("SET GLOBAL read_only = 1", deadline); !set)
    return fail(std::move(set.error()));
  auto sessions = sql->query(
      "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user <> "
      "'system user' AND command NOT IN ('Binlog Dump', 'Daemon')",
      deadline);
  if (!sessions) return fail(std::move(sessions.error()));
  for (const auto& row : sessions->rows)
    (void)sql->execute("KILL " + row[0].value_or("0"), deadline);  // may have ended by itself
  auto rows = sql->query("SELECT @@global.gtid_binlog_pos", deadline);
  if (!rows) return fail(std::move(rows.error()));
  return mysql::parse_gtid_position(rows->scalar());
}

Status StreamDriver::promote(BootTime deadline) {
  if (impl_->running()) {
    auto durable = impl_->board_.status().durable;
    if (auto drained = impl_->board_.wait_applied(durable, deadline); !drained) return drained;
    if (auto stopped = impl_->stop(); !stopped) return stopped;
  }
  auto sql = impl_->connect(impl_->options_.target, deadline);
  if (!sql) return fail(std::move(sql.error()));
  return sql->execute("SET GLOBAL read_only = 0", deadline);
}

Result<RewindReport> StreamDriver::rewind(const OnProgress&) {
  BootTime deadline = BootClock::now() + kConnectLimit;
  auto ahead = impl_->ask_position(impl_->options_.source_sql, deadline);
  if (!ahead) return fail(std::move(ahead.error()));
  RewindReport report;
  report.parted_at = impl_->board_.status().applied;
  if (report.parted_at.domains.empty()) {
    auto sql = impl_->connect(impl_->options_.target, deadline);
    if (!sql) return fail(std::move(sql.error()));
    auto checkpoint = internal::read_checkpoint(*sql, impl_->options_.task, deadline);
    if (!checkpoint) return fail(std::move(checkpoint.error()));
    report.parted_at = checkpoint->position;
  }
  if (!internal::reached(report.parted_at, *ahead)) report.method = RewindMethod::kReseed;
  return report;
}

Status StreamDriver::reverse(BootTime deadline) {
  if (impl_->running()) return fail(Code::kConflict, "the stream is running; stop it first");
  return impl_->reverse(deadline);
}

Result<VerifyReport> StreamDriver::verify(const VerifyOptions& options,
                                          const OnProgress& progress) {
  if (!impl_->parts_.verify) return fail(Code::kRefused, "this task cannot be compared");
  return impl_->parts_.verify(options, progress);
}

}  // namespace leeward::replication
