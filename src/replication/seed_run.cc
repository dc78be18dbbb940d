#include "replication/internal/seed_run.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <thread>

#include "replication/internal/seed_objects.h"
#include "replication/internal/table_ddl.h"

namespace leeward::replication::internal {
namespace {

constexpr Duration kReportEvery = 200ms;
constexpr Duration kWatchEvery = 1s;

bool lost(const mysql::SqlConnection& sql) { return !sql.usable(); }

void add_to(Copied& sum, const Copied& more) {
  sum.rows += more.rows;
  sum.bytes += more.bytes;
}

}  // namespace

Result<mysql::SqlConnection> SeedRun::open(const mysql::SqlTarget& target) const {
  mysql::SqlTarget patient = target;
  patient.stall_max = std::chrono::minutes(10);
  return mysql::SqlConnection::open(patient, soon());
}

void SeedRun::stop_with(Error error) {
  std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(error);
}

bool SeedRun::stopped() {
  std::lock_guard lock(mutex_);
  return failure_.has_value();
}

Status SeedRun::ensure(Session& session) {
  if (!session.source || lost(*session.source)) {
    auto source = open(options_.source);
    if (!source) return fail(std::move(source.error()));
    if (auto set = prepare_reader(*source, soon()); !set) return set;
    session.source.emplace(std::move(*source));
  }
  if (!session.target || lost(*session.target)) {
    auto target = open(options_.target);
    if (!target) return fail(std::move(target.error()));
    auto unlogged = prepare_writer(*target, true, soon());
    if (!unlogged) return fail(std::move(unlogged.error()));
    session.unlogged = *unlogged;
    session.unique_checks = false;
    session.target.emplace(std::move(*target));
  }
  return {};
}

Status SeedRun::prepare() {
  Session session;
  if (auto ready = ensure(session); !ready) return ready;
  report_.logged = !session.unlogged;
  auto catalog = read_catalog(*session.source, options_.mapping, soon());
  if (!catalog) return fail(std::move(catalog.error()));
  catalog_ = std::move(*catalog);
  if (catalog_.empty())
    return fail(Code::kInvalid, "the source has no table that task {} carries", options_.task);
  report_.tables = catalog_.size();
  SeedJournal journal(*session.target, options_.task);
  if (auto made = journal.create(soon()); !made) return made;
  auto before = journal.read(soon());
  if (!before) return fail(std::move(before.error()));
  for (CarriedTable& table : catalog_)
    if (auto done = prepare_table(*session.source, *session.target, table, *before); !done)
      return done;
  plan(*before);
  return {};
}

Status SeedRun::prepare_table(mysql::SqlConnection& source, mysql::SqlConnection& target,
                              CarriedTable& table, const Journal& journal) {
  rows_total_ += table.rows_estimate;
  auto exists = target.query(
      fmt::format("SELECT 1 FROM information_schema.tables WHERE table_schema={} AND table_name={}",
                  target.quote(table.route.schema), target.quote(table.route.table)),
      soon());
  if (!exists) return fail(std::move(exists.error()));
  auto unique = target.query(
      fmt::format("SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema={} AND "
                  "table_name={} AND non_unique=0 AND index_name<>'PRIMARY'",
                  target.quote(table.route.schema), target.quote(table.route.table)),
      soon());
  if (!unique) return fail(std::move(unique.error()));
  table.target_unique = unique->scalar() != "0";
  if (exists->rows.empty()) {
    // Also when an earlier call ended between the journal and the table.
    if (auto none = SeedJournal(target, options_.task).forget_chunks(table, soon()); !none)
      return none;
    return make_table(source, target, table);
  }
  if (journal.contains({table.schema, table.name})) return {};
  auto rows = target.query(fmt::format("SELECT 1 FROM {} LIMIT 1", table.target_name()), soon());
  if (!rows) return fail(std::move(rows.error()));
  if (!rows->rows.empty())
    return fail(Code::kRefused,
                "table {} at the target has rows that no seed of task {} put there; empty or drop "
                "it, or exclude {} from the task",
                table.target_name(), options_.task, table.label());
  return SeedJournal(target, options_.task).begin_table(table, {}, soon());
}

Status SeedRun::make_table(mysql::SqlConnection& source, mysql::SqlConnection& target,
                           const CarriedTable& table) {
  // character_set_results is NULL in this session, so the text comes in the server's utf8.
  auto shown = source.query("SHOW CREATE TABLE " + table.source_name(), soon());
  if (!shown) return fail(std::move(shown.error()));
  if (shown->rows.empty() || shown->rows[0].size() < 2)
    return fail(Code::kNotFound, "table {} is gone from the source", table.label());
  auto ddl = target_ddl(table, shown->rows[0][1].value_or(""), options_.mapping.renames.empty());
  if (!ddl) return fail(std::move(ddl.error()));
  report_.notes.insert(report_.notes.end(), ddl->notes.begin(), ddl->notes.end());
  auto schema =
      source.query(fmt::format("SELECT default_character_set_name, default_collation_name FROM "
                               "information_schema.schemata WHERE schema_name={}",
                               source.quote(table.schema)),
                   soon());
  if (!schema) return fail(std::move(schema.error()));
  std::string make_schema =
      fmt::format("CREATE DATABASE IF NOT EXISTS {} CHARACTER SET {} COLLATE {}",
                  mysql::quote_name(table.route.schema),
                  schema->cell(0, "default_character_set_name").value_or("utf8mb4"),
                  schema->cell(0, "default_collation_name").value_or("utf8mb4_general_ci"));
  // The journal first: a table without an entry would be taken for somebody else's.
  SeedJournal journal(target, options_.task);
  if (auto made = target.execute(make_schema, soon()); !made) return made;
  if (auto begun = journal.begin_table(table, ddl->deferred, soon()); !begun) return begun;
  if (auto made = target.execute(ddl->create, soon()); !made)
    return fail(std::move(made.error()).wrap("making " + table.target_name()));
  return {};
}

void SeedRun::plan(const Journal& journal) {
  auto stage_of = [&](const CarriedTable& table) {
    auto found = journal.find({table.schema, table.name});
    return found == journal.end() ? SeedStage::kCopying : found->second.stage;
  };
  std::map<std::pair<std::string, std::string>, CarriedTable*> by_name;
  for (CarriedTable& table : catalog_) by_name[{table.schema, table.name}] = &table;
  std::set<CarriedTable*> planned;
  for (CarriedTable& first : catalog_) {
    if (!planned.insert(&first).second) continue;
    auto unit = std::make_unique<Unit>();
    unit->tables = {&first};
    for (std::size_t i = 0; i < unit->tables.size(); ++i)
      for (const auto& name : unit->tables[i]->tied)
        if (CarriedTable* tied = by_name[name]; planned.insert(tied).second)
          unit->tables.push_back(tied);
    unit->one_snapshot = !first.tied.empty() || first.unique_besides_primary || !first.chunkable();
    auto all = [&](SeedStage at_least) {
      return std::all_of(unit->tables.begin(), unit->tables.end(),
                         [&](CarriedTable* t) { return stage_of(*t) >= at_least; });
    };
    unit->finished = all(SeedStage::kDone);
    unit->copied = all(SeedStage::kCopied);
    auto found = journal.find({first.schema, first.name});
    if (!unit->one_snapshot && !unit->copied) {
      auto there = found == journal.end() ? std::vector<ChunkRecord>() : found->second.chunks;
      auto open = gaps(there);
      unit->gaps.assign(open.begin(), open.end());
      unit->copied = unit->gaps.empty();
      for (const ChunkRecord& chunk : there)
        rows_total_ -= std::min(rows_total_, chunk.copied.rows);
    }
    if (unit->copied)
      for (const CarriedTable* table : unit->tables)
        rows_total_ -= std::min(rows_total_, table->rows_estimate);
    units_.push_back(std::move(unit));
  }
}

Result<std::optional<SeedRun::Job>> SeedRun::next_job(Session& session) {
  std::lock_guard lock(mutex_);
  if (failure_) return std::nullopt;
  for (auto& unit : units_) {
    if (unit->finished || unit->taken) continue;
    if (unit->one_snapshot || unit->copied) {
      unit->taken = true;
      ++unit->running;
      return std::optional(Job{unit.get(), {}});
    }
    if (unit->gaps.empty()) continue;
    Gap gap = unit->gaps.front();
    if (gap.range.upper.empty()) {
      auto end = chunk_end(*session.source, *unit->tables[0], gap.range.lower,
                           options_.settings.chunk_rows, late());
      if (!end) return fail(std::move(end.error()));
      unit->gaps.pop_front();
      if (*end) {
        gap.range.upper = **end;
        unit->gaps.push_front({gap.number + 1, {**end, {}}});
      }
    } else {
      unit->gaps.pop_front();
    }
    ++unit->running;
    return std::optional(Job{unit.get(), std::move(gap)});
  }
  return std::nullopt;
}

Status SeedRun::copy_chunk(Session& session, const CarriedTable& table, ChunkRecord& chunk) {
  // Without unique_checks the server may let a duplicate into a secondary index. Tables that we
  // make have none while they are filled; one that was there may.
  if (session.unique_checks != table.target_unique) {
    auto set = session.target->execute(
        fmt::format("SET SESSION unique_checks={}", table.target_unique ? 1 : 0), soon());
    if (!set) return set;
    session.unique_checks = table.target_unique;
  }
  ChunkCopier copier(*session.source, *session.target);
  if (auto begun = session.target->execute("START TRANSACTION", soon()); !begun) return begun;
  auto copied = copier.copy(table, chunk.range, late(),
                            [&](const Copied& more) { return on_copied(more, table); });
  if (!copied) return fail(std::move(copied.error()));
  chunk.copied = *copied;
  SeedJournal journal(*session.target, options_.task);
  if (auto kept = journal.add_chunk(table, chunk, soon()); !kept) return kept;
  return session.target->execute("COMMIT", late());
}

Status SeedRun::copy_group(Session& session, Unit& unit) {
  SeedJournal journal(*session.target, options_.task);
  for (const CarriedTable* table : unit.tables) {
    if (auto gone = journal.forget_chunks(*table, soon()); !gone) return gone;
    if (auto empty = session.target->execute("TRUNCATE TABLE " + table->target_name(), late());
        !empty)
      return empty;
  }
  auto at = open_snapshot(*session.source, soon());
  if (!at) return fail(std::move(at.error()));
  for (const CarriedTable* table : unit.tables) {
    ChunkRecord chunk;
    for (bool more = true; more; ++chunk.number) {
      chunk.at = at->gtids;
      chunk.range.upper.clear();
      if (table->chunkable()) {
        auto end = chunk_end(*session.source, *table, chunk.range.lower,
                             options_.settings.chunk_rows, late());
        if (!end) return fail(std::move(end.error()));
        if (*end) chunk.range.upper = **end;
      }
      more = !chunk.range.upper.empty();
      if (auto copied = copy_chunk(session, *table, chunk); !copied) return copied;
      chunk.range.lower = chunk.range.upper;
    }
  }
  return session.source->execute("COMMIT", soon());
}

Status SeedRun::perform(Session& session, const Job& job) {
  if (job.unit->copied) return {};
  if (job.unit->one_snapshot) return copy_group(session, *job.unit);
  auto at = open_snapshot(*session.source, soon());
  if (!at) return fail(std::move(at.error()));
  ChunkRecord chunk{job.gap.number, job.gap.range, at->gtids, {}};
  if (auto copied = copy_chunk(session, *job.unit->tables[0], chunk); !copied) return copied;
  return session.source->execute("COMMIT", soon());
}

Status SeedRun::build_indexes(Session& session, const CarriedTable& table,
                              const std::vector<std::string>& deferred) {
  if (deferred.empty()) return {};
  auto shown = session.target->query("SHOW CREATE TABLE " + table.target_name(), soon());
  if (!shown) return fail(std::move(shown.error()));
  if (shown->rows.empty() || shown->rows[0].size() < 2)
    return fail(Code::kNotFound, "the table is gone from the target");
  auto missing = missing_elements(deferred, shown->rows[0][1].value_or(""));
  if (missing.empty()) return {};
  return session.target->execute(
      fmt::format("ALTER TABLE {} {}", table.target_name(), fmt::join(missing, ", ")), late());
}

Status SeedRun::finish(Session& session, Unit& unit) {
  SeedJournal journal(*session.target, options_.task);
  auto records = journal.read(soon());
  if (!records) return fail(std::move(records.error()));
  for (const CarriedTable* table : unit.tables)
    if (auto kept = journal.set_stage(*table, SeedStage::kCopied, soon()); !kept) return kept;
  for (const CarriedTable* table : unit.tables) {
    const TableRecord& record = (*records)[{table->schema, table->name}];
    if (record.stage == SeedStage::kDone) continue;
    if (auto built = build_indexes(session, *table, record.deferred); !built)
      return fail(std::move(built.error()).wrap("indexes of " + table->target_name()));
    if (auto kept = journal.set_stage(*table, SeedStage::kDone, soon()); !kept) return kept;
  }
  return {};
}

void SeedRun::work() {
  Session session;
  while (!stopped()) {
    if (auto ready = ensure(session); !ready) return stop_with(std::move(ready.error()));
    auto job = next_job(session);
    if (!job) return stop_with(std::move(job.error()));
    if (!*job) return;
    Unit& unit = *(*job)->unit;
    Status done;
    for (int attempt = 1;; ++attempt) {
      done = ensure(session);
      if (done) done = perform(session, **job);
      if (done || stopped() || attempt == kSeedTriesMax) break;
      bool broken =
          !session.source || lost(*session.source) || !session.target || lost(*session.target);
      if (!broken) break;
      // Both anew: the transaction of the other one must not stay open.
      session.source.reset();
      session.target.reset();
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    if (!done) return stop_with(std::move(done.error()));
    bool last = false;
    {
      std::lock_guard lock(mutex_);
      --unit.running;
      last = unit.running == 0 && unit.gaps.empty();
    }
    if (!last) continue;
    if (auto finished = finish(session, unit); !finished)
      return stop_with(std::move(finished.error()));
    std::lock_guard lock(mutex_);
    unit.finished = true;
  }
}

Status SeedRun::wait_for_source() {
  int limit = options_.throttle.source_threads_running;
  if (limit == 0 || BootClock::now() - watched_ < kWatchEvery) return {};
  for (;;) {
    if (!watch_ || !watch_->usable()) {
      auto opened = open(options_.source);
      if (!opened) return fail(std::move(opened.error()));
      watch_.emplace(std::move(*opened));
    }
    auto busy = watch_->query(
        "SELECT variable_value FROM information_schema.global_status WHERE "
        "variable_name='THREADS_RUNNING'",
        soon());
    if (!busy) return fail(std::move(busy.error()));
    watched_ = BootClock::now();
    if (std::atoi(busy->scalar().c_str()) <= limit) return {};
    std::this_thread::sleep_for(kReportEvery);
    Progress waiting{
        "waiting: the source is busy", copied_.rows, rows_total_, copied_.bytes, 0, kNever};
    if (progress_ && !progress_(waiting)) return fail(Code::kConflict, "the seed was stopped");
  }
}

Status SeedRun::on_copied(const Copied& more, const CarriedTable& table) {
  std::lock_guard lock(mutex_);
  if (failure_) return fail(Error(*failure_));
  add_to(copied_, more);
  double elapsed = seconds(BootClock::now() - begun_);
  if (double limit = options_.throttle.megabytes_a_second * 1e6; limit > 0) {
    double ahead = static_cast<double>(copied_.bytes) / limit - elapsed;
    if (ahead > 0) std::this_thread::sleep_for(std::chrono::duration<double>(std::min(ahead, 5.0)));
  }
  if (auto free = wait_for_source(); !free) return free;
  if (!progress_ || BootClock::now() - reported_ < kReportEvery) return {};
  reported_ = BootClock::now();
  Progress at{"copying " + table.label(), copied_.rows, rows_total_, copied_.bytes, 0, kNever};
  if (elapsed > 0) at.rows_a_second = static_cast<double>(copied_.rows) / elapsed;
  if (at.rows_a_second > 0 && rows_total_ > copied_.rows)
    at.eta = std::chrono::nanoseconds(static_cast<std::int64_t>(
        static_cast<double>(rows_total_ - copied_.rows) / at.rows_a_second * 1e9));
  if (progress_(at)) return {};
  failure_ = Error{Code::kConflict, "the seed was stopped; it goes on from here when called again"};
  return fail(Error(*failure_));
}

Result<SeedReport> SeedRun::run() {
  if (auto ready = prepare(); !ready) return fail(std::move(ready.error()));
  std::vector<std::thread> workers;
  for (int i = 0; i < std::max(1, options_.settings.parallel); ++i)
    workers.emplace_back([this] { work(); });
  for (std::thread& worker : workers) worker.join();
  if (failure_) return fail(std::move(*failure_));
  Session session;
  if (auto ready = ensure(session); !ready) return fail(std::move(ready.error()));
  auto journal = SeedJournal(*session.target, options_.task).read(soon());
  if (!journal) return fail(std::move(journal.error()));
  for (const auto& [name, record] : *journal)
    for (const ChunkRecord& chunk : record.chunks) {
      report_.rows += chunk.copied.rows;
      report_.bytes += chunk.copied.bytes;
    }
  auto state = read_seed_state(*session.target, options_.task, soon());
  if (!state) return fail(std::move(state.error()));
  if (!*state) return fail(Code::kInternal, "the seed ended with tables that are not done");
  report_.state = std::move(**state);
  if (options_.settings.objects) {
    auto notes = copy_objects(options_.source, options_.target, options_.mapping);
    if (!notes) return fail(std::move(notes.error()));
    report_.notes.insert(report_.notes.end(), notes->begin(), notes->end());
  }
  return std::move(report_);
}

}  // namespace leeward::replication::internal

namespace leeward::replication {

Result<SeedReport> seed(const SeedOptions& options, const OnProgress& progress) {
  return internal::SeedRun(options, progress).run();
}

Status forget_seed(const mysql::SqlTarget& target, const std::string& task,
                   const Mapping& mapping) {
  BootTime deadline = BootClock::now() + std::chrono::minutes(10);
  auto sql = mysql::SqlConnection::open(target, deadline);
  if (!sql) return fail(std::move(sql.error()));
  if (auto ready = internal::prepare_writer(*sql, true, deadline); !ready)
    return fail(std::move(ready.error()));
  auto journal = internal::SeedJournal(*sql, task).read(deadline);
  if (!journal) return fail(std::move(journal.error()));
  auto forget = [&](const char* table) -> Status {
    auto gone = sql->execute(
        fmt::format("DELETE FROM leeward.{} WHERE task={}", table, sql->quote(task)), deadline);
    constexpr unsigned kNoSuchTable = 1146, kNoSuchSchema = 1049;
    bool none = sql->last_error() == kNoSuchTable || sql->last_error() == kNoSuchSchema;
    return gone || none ? Status() : gone;
  };
  // The position first: without it nobody goes on from a copy that is only half gone.
  if (auto gone = forget("stream_checkpoint"); !gone) return gone;
  for (const auto& [name, record] : *journal) {
    auto route = mapping.route(name.first, name.second, {});
    if (!route) continue;
    auto dropped =
        sql->execute(fmt::format("DROP TABLE IF EXISTS {}.{}", mysql::quote_name(route->schema),
                                 mysql::quote_name(route->table)),
                     deadline);
    if (!dropped) return dropped;
  }
  if (auto gone = forget("seed_chunks"); !gone) return gone;
  return forget("seed_tables");
}

Result<std::optional<SeedState>> read_seed_state(mysql::SqlConnection& target,
                                                 const std::string& task, BootTime deadline) {
  auto journal = internal::SeedJournal(target, task).read(deadline);
  if (!journal) return fail(std::move(journal.error()));
  if (journal->empty()) return std::nullopt;
  std::map<std::pair<std::string, std::string>, SeededTable> tables;
  for (const auto& [name, record] : *journal) {
    if (record.stage != internal::SeedStage::kDone) return std::nullopt;
    SeededTable& table = tables[name];
    table.integer_key = record.integer_key;
    table.cascades = record.cascades;
    for (const auto& chunk : record.chunks) table.chunks.push_back({chunk.range.upper, chunk.at});
  }
  return std::optional(make_seed_state(std::move(tables)));
}

}  // namespace leeward::replication
