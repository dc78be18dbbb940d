#include "replication/internal/scheduler.h"

#include <thread>

#include "mysql/bytes.h"
#include "mysql/row_image.h"
#include "mysql/value.h"
#include "replication/internal/keys.h"
#include "replication/internal/link_state.h"
#include "replication/internal/replay_event.h"

namespace leeward::replication::internal {
namespace {

constexpr Duration kPollEvery = 100ms;  // to see stop() and hold()
constexpr Duration kHoldFor = 20ms;
constexpr Duration kEmptyFlushAfter = 1s;  // of a batch that changes nothing but the position
constexpr Duration kDescribeLimit = 30s;

bool includes(const mysql::GtidPosition& position, const mysql::Gtid& gtid) {
  auto found = position.domains.find(gtid.domain);
  return found != position.domains.end() && found->second.sequence >= gtid.sequence;
}

// The primary key of a row as text, in key order, as a seed tells the bounds of its chunks.
std::vector<std::string> key_text(const RoutedTable& table, const mysql::RowImage& image) {
  std::vector<std::string> key;
  for (std::size_t i : table.table.primary_key) {
    key.emplace_back();
    if (i < image.columns.size() && !image.columns[i].null)
      (void)mysql::decode_value(image.columns[i].bytes, table.table.columns[i], key.back());
  }
  return key;
}

}  // namespace

Scheduler::Scheduler(SchedulerOptions options)
    : options_(std::move(options)),
      tables_(
          options_.mapping,
          [this](const std::string& schema, const std::string& table) {
            return describe(schema, table);
          },
          why_sql()) {}

Scheduler::~Scheduler() = default;

std::string Scheduler::why_sql() const {
  if (options_.conflicts.bidirectional) return "rows are compared before they change";
  return options_.always_sql ? "the task asks for it" : "";
}

Result<std::unique_ptr<Scheduler>> Scheduler::start(SchedulerOptions options, BootTime deadline) {
  std::unique_ptr<Scheduler> scheduler(new Scheduler(std::move(options)));
  const SchedulerOptions& o = scheduler->options_;
  auto alone = ApplySession::open(o.target, o.task, o.conflicts, deadline);
  if (!alone) return fail(std::move(alone.error()));
  scheduler->alone_.emplace(std::move(*alone));
  auto checkpoint = read_checkpoint(scheduler->alone_->sql(), o.task, deadline);
  if (!checkpoint) return fail(std::move(checkpoint.error()));
  scheduler->checkpoint_ = *checkpoint;
  scheduler->position_ = checkpoint->position;
  // Only statements can tell the rows of one event apart.
  scheduler->handing_over_ = o.seed && !reached(checkpoint->position, o.seed->until);
  if (scheduler->handing_over_) scheduler->tables_.set_why_sql("the first copy is handed over");
  scheduler->ddl_.emplace(*scheduler->alone_, o.task);
  if (auto known = scheduler->ddl_->recover(checkpoint->position, deadline); !known)
    return fail(std::move(known.error()));
  auto pool = ApplyPool::start(
      {o.target, o.task, o.conflicts, o.workers, o.memory_bytes_max, 60s, o.on_commit}, deadline);
  if (!pool) return fail(std::move(pool.error()));
  scheduler->pool_ = std::move(*pool);
  return scheduler;
}

Result<TargetTable> Scheduler::describe(const std::string& schema, const std::string& table) {
  return describe_table(alone_->sql(), schema, table, BootClock::now() + kDescribeLimit);
}

Outcome Scheduler::failed(Error error) {
  Trouble trouble = trouble_of(alone_->sql());
  return {trouble == Trouble::kLost ? trouble : Trouble::kRejected, std::move(error)};
}

bool Scheduler::held() const { return !open_ && options_.hold && options_.hold(position_); }

Result<std::optional<RelayEvent>> Scheduler::await(RelayCursor& source) {
  // With a batch begun: only what is there already, then at most until it is due.
  bool waiting = batch_.transactions > 0 && !open_;
  BootTime now = BootClock::now();
  auto event = source.next(waiting ? now : now + kPollEvery);
  if (!event || *event || !waiting || due(false)) return event;
  return source.next(batch_.rows == 0 ? now + kPollEvery : begun_ + options_.flush_after);
}

Outcome Scheduler::run(RelayCursor& source) {
  std::optional<RelayEvent> next;  // arrived, not taken yet
  while (!stopping_.load() || open_) {
    if (!pool_->healthy()) return pool_->failure();
    if (!held() && !next) {
      auto event = await(source);
      if (!event) return failed(std::move(event.error()));
      next = std::move(*event);
    }
    // Asked again: the word to hold may have come while we waited for the event.
    if (held()) {
      if (Outcome flushed = flush(); !flushed.ok()) return flushed;
      std::this_thread::sleep_for(kHoldFor);
      continue;
    }
    Outcome outcome;
    bool more = next.has_value();
    if (more) outcome = take(source, *next);
    next.reset();
    if (outcome.ok() && !open_ && due(more)) outcome = flush();
    if (!outcome.ok()) return outcome;
  }
  if (Outcome last = flush(); !last.ok()) return last;
  if (auto idle = pool_->wait_idle(); !idle) return pool_->failure();
  return {};
}

bool Scheduler::due(bool more) const {
  if (batch_.transactions == 0) return false;
  if (batch_.rows == 0)  // changes nothing but the position
    return BootClock::now() >= begun_ + kEmptyFlushAfter;
  if (batch_.transactions >= options_.transactions_max) return true;
  if (replay_.bytes() + batch_.bytes >= options_.batch_bytes_max) return true;
  if (BootClock::now() >= begun_ + options_.flush_after) return true;
  return !more && pool_->has_idle();
}

Outcome Scheduler::take(RelayCursor& source, const RelayEvent& relayed) {
  const mysql::Event& event = relayed.event;
  bool begins = relayed.place == mysql::Place::kBegin || relayed.place == mysql::Place::kWhole;
  if (begins)
    if (Outcome begun = begin_transaction(source, event); !begun.ok()) return begun;
  Outcome outcome;
  if (!skip_) {
    switch (event.type) {
      case mysql::EventType::kTableMap:
        if (auto known = tables_.announce(event); !known) return failed(std::move(known.error()));
        break;
      case mysql::EventType::kQuery:
      case mysql::EventType::kQueryCompressed:
        outcome = take_query(event);
        break;
      case mysql::EventType::kIncident:
        return failed({Code::kCorrupt,
                       "source: its binary log has an incident mark, so changes are missing in it; "
                       "seed again"});
      default:
        if (mysql::is_rows_event(event.type)) outcome = take_rows(event);
    }
  }
  if (!outcome.ok()) return outcome;
  bool ends = relayed.place == mysql::Place::kEnd || relayed.place == mysql::Place::kWhole;
  return ends ? end_transaction(relayed) : Outcome{};
}

Outcome Scheduler::begin_transaction(RelayCursor& source, const mysql::Event& event) {
  if (event.type != mysql::EventType::kGtid)
    return failed({Code::kRefused,
                   "the source is not a MariaDB server with GTIDs; only those can be applied"});
  auto gtid = mysql::parse_gtid(event);
  if (!gtid) return failed(std::move(gtid.error()));
  skip_ = includes(checkpoint_.position, gtid->gtid) ||
          options_.own_servers.contains(gtid->gtid.server);
  if (!skip_ && (gtid->prepared_xa || gtid->completed_xa))
    return failed(
        {Code::kRefused,
         fmt::format("source transaction {} is an XA transaction, which a stream does not "
                     "carry; use the native driver",
                     to_string(gtid->gtid))});
  if (handing_over_ && reached(position_, options_.seed->until)) end_handover();
  if (!skip_) {
    std::string format = replay_format(source.format());
    bool changed = !batch_.format || *batch_.format != format;
    bool other = batch_.server != gtid->gtid.server && batch_.rows > 0;
    if (other || (changed && batch_.transactions > 0))
      if (Outcome flushed = flush(); !flushed.ok()) return flushed;
    if (changed) {
      tables_.clear();  // another server's or another life's table ids
      batch_.format = std::make_shared<const std::string>(std::move(format));
    }
    batch_.server = gtid->gtid.server;
  }
  if (batch_.transactions == 0) begin_batch();
  open_ = *gtid;
  has_rows_ = false;
  write_set_.clear();
  return {};
}

void Scheduler::end_handover() {
  handing_over_ = false;
  tables_.set_why_sql(why_sql());
  options_.logger.info("the first copy is handed over", {{"at", to_string(position_)}});
}

HandoverOf Scheduler::handover_of(const RoutedTable& table) const {
  if (!handing_over_ || options_.seed->over(open_->gtid)) return {};
  return [this, &table](const mysql::RowImage& image) {
    return options_.seed->handover(table.table.schema, table.table.name, key_text(table, image),
                                   open_->gtid);
  };
}

void Scheduler::begin_batch() {
  begun_ = BootClock::now();
  batch_.before = position_;
}

Outcome Scheduler::take_rows(const mysql::Event& event) {
  auto rows = mysql::parse_rows(event);
  if (!rows) return failed(std::move(rows.error()));
  if (rows->width == 0) return {};
  auto table = tables_.find(rows->table_id);
  if (!table)
    return failed({Code::kCorrupt, fmt::format("binary log: rows of an unknown table in {}",
                                               to_string(open_->gtid))});
  if (table->path == Path::kSkip) {
    see_heartbeat(*table, *rows);
    return {};
  }
  std::string unpacked;
  if (rows->compressed) {
    auto inflated = mysql::unpack_rows(*rows);
    if (!inflated) return failed(std::move(inflated.error()));
    unpacked = std::move(*inflated);
  }
  has_rows_ = true;
  if (Outcome added = add_rows(*table, *rows, rows->compressed ? unpacked : rows->rows);
      !added.ok())
    return added;
  if (table->path == Path::kReplay) replay_.add(table, event.bytes, open_->gtid.server);
  std::size_t bytes = replay_.bytes() + batch_.bytes;
  if (large_) return bytes >= options_.batch_bytes_max ? feed_large() : Outcome{};
  return bytes >= options_.large_bytes ? begin_large() : Outcome{};
}

Outcome Scheduler::add_rows(const RoutedTable& table, const mysql::RowsEvent& event,
                            std::string_view rows) {
  auto see = [&](const mysql::RowImage& image) {
    if (!large_) add_image(write_set_, table, image);
  };
  std::uint64_t images = 0;
  if (table.path == Path::kSql) {
    collect_replay();
    std::size_t first = batch_.steps.size();
    auto made = row_statements(
        table, event, rows,
        {options_.batch_bytes_max, options_.conflicts.bidirectional ? &options_.conflicts : nullptr,
         to_string(open_->gtid)},
        [&](const mysql::RowImage& image) {
          see(image);
          ++images;
        },
        batch_.steps, handover_of(table),
        handing_over_ && options_.seed->cascades(table.table.schema, table.table.name));
    if (!made) return failed(std::move(made.error()));
    for (std::size_t i = first; i < batch_.steps.size(); ++i)
      batch_.bytes += std::get<SqlStep>(batch_.steps[i]).statement.size();
  } else {
    mysql::RowImages all(table.table, event, rows);
    for (mysql::RowImage image;; ++images) {
      auto more = all.next(image);
      if (!more) return failed(std::move(more.error()));
      if (!*more) break;
      see(image);
    }
  }
  batch_.rows += event.kind == mysql::ChangeKind::kUpdate ? images / 2 : images;
  return {};
}

// Heartbeat rows are not carried, but tell how old what we apply is: their column `ts` is the
// source's wall time, a TIMESTAMP(6).
void Scheduler::see_heartbeat(const RoutedTable& table, const mysql::RowsEvent& event) {
  bool beats = table.table.name == "heartbeat" || table.table.name == "stream_heartbeat";
  if (!beats || table.table.schema != "leeward" || event.compressed) return;
  mysql::RowImages images(table.table, event, event.rows);
  mysql::RowImage image;
  for (auto more = images.next(image); more && *more; more = images.next(image)) {
    for (std::size_t i = 0; i < image.columns.size(); ++i) {
      if (table.table.columns[i].name != "ts" || image.columns[i].bytes.size() != 7) continue;
      mysql::Bytes bytes(image.columns[i].bytes);
      auto whole = std::chrono::seconds(bytes.big(4));
      WallTime written{whole + std::chrono::microseconds(bytes.big(3))};
      if (!batch_.heartbeat || *batch_.heartbeat < written) batch_.heartbeat = written;
    }
  }
}

Outcome Scheduler::take_query(const mysql::Event& event) {
  auto query = read_query(event);
  if (!query) return failed(std::move(query.error()));
  StatementInfo info = inspect(query->sql, query->schema);
  auto action = decide(*query, info, options_.mapping);
  if (!action) {
    Error error = std::move(action.error());
    mysql::GtidPosition past = position_;
    past.domains[open_->gtid.domain] = open_->gtid;
    error.message += fmt::format(
        " (source transaction {}; to move past it, while the stream is stopped: UPDATE "
        "leeward.stream_checkpoint SET gtid = '{}' WHERE task = '{}')",
        to_string(open_->gtid), to_string(past), options_.task);
    return failed(std::move(error));
  }
  if (*action == DdlAction::kSkip) return {};
  if (handing_over_)
    for (const ObjectName& object : info.objects)
      if (options_.seed->concerns(object.schema, object.name))
        return failed({Code::kRefused,
                       fmt::format("the definition of {}.{} was changed by source transaction {} "
                                   "while it was copied; drop the tables of the task at the target "
                                   "and seed again: `leeward replication start --again`",
                                   object.schema, object.name, to_string(open_->gtid))});
  if (has_rows_)
    return failed({Code::kRefused, fmt::format("source transaction {} has a statement after rows",
                                               to_string(open_->gtid))});
  // Barrier: everything before is committed, nothing else runs.
  if (Outcome flushed = flush(); !flushed.ok()) return flushed;
  if (auto idle = pool_->wait_idle(); !idle) return pool_->failure();
  options_.logger.info("statement of the source", {{"gtid", to_string(open_->gtid)}});
  if (Outcome ran = ddl_->run(*query, info, open_->gtid); !ran.ok()) return ran;
  tables_.clear();
  begin_batch();
  batch_.server = open_->gtid.server;
  batch_.rows += 1;  // so that its checkpoint is logged, and soon
  return {};
}

Outcome Scheduler::end_transaction(const RelayEvent& event) {
  if (includes(position_, open_->gtid)) {
    open_.reset();
    skip_ = false;
    return {};
  }
  position_.domains[open_->gtid.domain] = open_->gtid;
  batch_.end = position_;
  batch_.relay_end = event.end.value;
  batch_.source_time = event.event.time;
  ++batch_.transactions;
  open_.reset();
  skip_ = false;
  if (large_) return end_large();
  batch_.depends_on = std::max(batch_.depends_on, tracker_.add(write_set_, next_id_));
  return {};
}

void Scheduler::collect_replay() {
  std::string events = replay_.take();
  if (events.empty()) return;
  batch_.bytes += events.size();
  batch_.steps.emplace_back(ReplayStep{std::move(events)});
}

Outcome Scheduler::flush() {
  if (batch_.transactions == 0) return {};
  collect_replay();
  Batch next;
  next.server = batch_.server;
  next.format = batch_.format;
  batch_.id = next_id_++;
  tracker_.committed(pool_->committed());
  if (auto done = pool_->submit(std::exchange(batch_, std::move(next))); !done)
    return pool_->failure();
  return {};
}

Outcome Scheduler::begin_large() {
  options_.logger.info("huge transaction, applied alone", {{"gtid", to_string(open_->gtid)}});
  if (auto idle = pool_->wait_idle(); !idle) return pool_->failure();
  if (Outcome begun = alone_->begin(batch_.server, batch_.format); !begun.ok()) return begun;
  large_ = true;
  return feed_large();
}

Outcome Scheduler::feed_large() {
  collect_replay();
  Outcome done = alone_->steps(batch_.steps, true);
  batch_.steps.clear();
  batch_.bytes = 0;
  return done;
}

Outcome Scheduler::end_large() {
  large_ = false;
  if (Outcome fed = feed_large(); !fed.ok()) return fed;
  Outcome done = alone_->commit(batch_.before, {batch_.end, batch_.relay_end});
  if (!done.ok()) return done;
  batch_.conflicts = alone_->conflicts();
  if (options_.on_commit) options_.on_commit(batch_);
  Batch next;
  next.server = batch_.server;
  next.format = batch_.format;
  batch_ = std::move(next);
  return {};
}

}  // namespace leeward::replication::internal
