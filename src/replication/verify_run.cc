#include "replication/internal/verify_run.h"

#include <algorithm>
#include <charconv>
#include <thread>

namespace leeward::replication::internal {
namespace {

constexpr Duration kTryAgainAfter = 200ms;

std::uint64_t number(const std::string& digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

// Lets the target go on whatever happens.
struct Held {
  Standstill* standstill;
  ~Held() {
    if (standstill) standstill->release();
  }
};

}  // namespace

Status VerifyRun::connect() {
  mysql::SqlTarget source = ends_.source, target = ends_.target;
  source.stall_max = target.stall_max = std::chrono::minutes(10);
  auto a = mysql::SqlConnection::open(source, soon());
  if (!a) return fail(std::move(a.error()));
  auto b = mysql::SqlConnection::open(target, soon());
  if (!b) return fail(std::move(b.error()));
  for (mysql::SqlConnection* sql : {&*a, &*b})
    if (auto set = prepare_reader(*sql, soon()); !set) return set;
  auto server = a->query("SELECT @@global.server_id", soon());
  if (!server) return fail(std::move(server.error()));
  source_server_ = server->scalar();
  source_.emplace(std::move(*a));
  target_.emplace(std::move(*b));
  return {};
}

Result<std::vector<CarriedTable>> VerifyRun::choose_tables() {
  auto catalog = read_catalog(*source_, ends_.mapping, soon());
  if (!catalog || options_.tables.empty()) return catalog;
  std::set<std::string> wanted(options_.tables.begin(), options_.tables.end());
  std::vector<CarriedTable> chosen;
  for (CarriedTable& table : *catalog)
    if (wanted.erase(table.label()) > 0) chosen.push_back(std::move(table));
  if (!wanted.empty())
    return fail(Code::kInvalid, "the task carries no table {}; write SCHEMA.TABLE as at the source",
                *wanted.begin());
  return chosen;
}

Status VerifyRun::try_pair() {
  for (mysql::SqlConnection* sql : {&*source_, &*target_})
    if (auto ended = sql->execute("ROLLBACK", soon()); !ended) return ended;
  BootTime deadline = BootClock::now() + kStandstillMax;
  if (ends_.standstill)
    if (auto held = ends_.standstill->hold(deadline); !held) return held;
  auto at = open_snapshot(*source_, deadline);
  if (!at) return fail(std::move(at.error()));
  if (ends_.standstill)
    if (auto there = ends_.standstill->advance(*at, deadline); !there) return there;
  if (auto begun = target_->execute("START TRANSACTION WITH CONSISTENT SNAPSHOT", deadline); !begun)
    return begun;
  if (ends_.standstill) {
    auto shown = ends_.standstill->shown(*target_, deadline);
    if (!shown) return fail(std::move(shown.error()));
    if (*shown != at->gtids)
      return fail(Code::kConflict, "the target shows {} where the source shows {}",
                  to_string(*shown), to_string(at->gtids));
  }
  report_.at = std::move(at->gtids);
  opened_ = BootClock::now();
  return {};
}

// REQUIRES: the caller releases.
Status VerifyRun::open_pair() {
  for (int attempt = 1;; ++attempt) {
    Status opened = try_pair();
    bool again = !opened &&
                 (opened.error().code == Code::kConflict || opened.error().code == Code::kTimeout);
    if (!again || attempt == kStandstillTriesMax || !source_->usable() || !target_->usable())
      return opened;
    if (ends_.standstill) ends_.standstill->release();
    std::this_thread::sleep_for(kTryAgainAfter * attempt);
  }
}

Status VerifyRun::fresh_pair() {
  if (opened_ != BootTime{} && BootClock::now() < opened_ + kVerifyWindow) return {};
  Held held{ends_.standstill};
  return open_pair();
}

Result<VerifyRun::Sum> VerifyRun::sum_of(const CarriedTable& table, const KeyRange& range,
                                         End end) {
  mysql::SqlConnection& sql = end == End::kSource ? *source_ : *target_;
  auto rows = sql.query(chunk_checksum(table, range, end, sql), late());
  if (!rows) return fail(std::move(rows.error()).wrap(table.label()));
  if (rows->rows.empty()) return fail(Code::kCorrupt, "{}: no checksum", table.label());
  const auto& row = rows->rows[0];
  return Sum{row[0].value_or(""), row[1].value_or(""), row[2].value_or("")};
}

Result<std::map<VerifyRun::Key, std::string>> VerifyRun::rows_of(const CarriedTable& table,
                                                                 const KeyRange& range, End end) {
  mysql::SqlConnection& sql = end == End::kSource ? *source_ : *target_;
  auto rows = sql.stream(row_checksums(table, range, end, sql), late());
  if (!rows) return fail(std::move(rows.error()).wrap(table.label()));
  std::map<Key, std::string> sums;
  for (;;) {
    auto row = rows->next();
    if (!row) return fail(std::move(row.error()).wrap(table.label()));
    if (!*row) return sums;
    Key key;
    for (std::size_t i = 0; i < table.primary_key.size(); ++i) key.emplace_back((**row)[i]);
    sums[std::move(key)] = std::string((**row)[table.primary_key.size()]);
  }
}

Status VerifyRun::list(const CarriedTable& table, const Wrong& wrong) {
  ++report_.different;
  if (report_.differences.size() >= options_.differences_max) return {};
  auto key = source_->query(readable_key(table, wrong.key), late());
  if (!key) return fail(std::move(key.error()).wrap(table.label()));
  RowDifference difference{
      table.schema, table.name, wrong.kind, shown_key(table, key->rows.at(0)), {}};
  if (wrong.kind == DifferenceKind::kChanged) {
    auto a = source_->query(whole_row(table, wrong.key, End::kSource, *source_), late());
    if (!a) return fail(std::move(a.error()).wrap(table.label()));
    auto b = target_->query(whole_row(table, wrong.key, End::kTarget, *target_), late());
    if (!b) return fail(std::move(b.error()).wrap(table.label()));
    auto carried = table.carried();
    for (std::size_t i = 0; !a->rows.empty() && !b->rows.empty() && i < carried.size(); ++i)
      if (a->rows[0][i] != b->rows[0][i])
        difference.columns.push_back(table.columns[carried[i]].name);
  }
  report_.differences.push_back(std::move(difference));
  return {};
}

Status VerifyRun::find_rows(const CarriedTable& table, const KeyRange& range) {
  if (table.primary_key.empty()) {
    ++report_.different;
    if (report_.differences.size() < options_.differences_max)
      report_.differences.push_back({table.schema,
                                     table.name,
                                     DifferenceKind::kChanged,
                                     "(some row; the table has no primary key)",
                                     {}});
    return {};
  }
  auto source = rows_of(table, range, End::kSource);
  if (!source) return fail(std::move(source.error()));
  auto target = rows_of(table, range, End::kTarget);
  if (!target) return fail(std::move(target.error()));
  std::vector<Wrong> wrong;
  for (const auto& [key, sum] : *source) {
    auto other = target->find(key);
    if (other == target->end())
      wrong.push_back({DifferenceKind::kMissing, key});
    else if (other->second != sum)
      wrong.push_back({DifferenceKind::kChanged, key});
  }
  for (const auto& [key, sum] : *target)
    if (!source->contains(key)) wrong.push_back({DifferenceKind::kExtra, key});
  for (const Wrong& each : wrong)
    if (auto listed = list(table, each); !listed) return listed;
  return options_.repair ? repair(table, wrong) : Status();
}

Status VerifyRun::repair(const CarriedTable& table, const std::vector<Wrong>& wrong) {
  for (std::size_t i = 0; i < wrong.size(); i += kRepairRows) {
    auto some = std::span(wrong).subspan(i, std::min(kRepairRows, wrong.size() - i));
    if (auto done = repair_some(table, some); !done)
      return fail(std::move(done.error()).wrap("repairing " + table.label()));
  }
  return {};
}

Status VerifyRun::repair_some(const CarriedTable& table, std::span<const Wrong> wrong) {
  Held held{ends_.standstill};
  if (auto opened = open_pair(); !opened) return opened;
  auto writer = mysql::SqlConnection::open(ends_.target, soon());
  if (!writer) return fail(std::move(writer.error()));
  bool unlogged = ends_.standstill && !ends_.standstill->logs_repairs();
  auto quiet = prepare_writer(*writer, unlogged, soon());
  if (!quiet) return fail(std::move(quiet.error()));
  if (unlogged && !*quiet)
    return fail(
        Code::kUnauthorized,
        "a repair of a replica must not be logged there, and the account at {} lacks BINLOG "
        "ADMIN for that",
        writer->peer());
  std::vector<std::string> statements{
      // As a change of the source's, and with every index checked.
      fmt::format("SET SESSION server_id={}, unique_checks=1", source_server_),
      "START TRANSACTION"};
  std::string inserts;
  auto carried = table.carried();
  for (const Wrong& each : wrong) {
    statements.push_back(fmt::format("DELETE FROM {} WHERE {}", table.target_name(),
                                     key_equals(table, each.key, End::kTarget)));
    auto rows = source_->stream(whole_row(table, each.key, End::kSource, *source_), late());
    if (!rows) return fail(std::move(rows.error()));
    for (;;) {
      auto row = rows->next();
      if (!row) return fail(std::move(row.error()));
      if (!*row) break;
      inserts += inserts.empty() ? replace_head(table) : ",";
      append_tuple(inserts, table, carried, **row);
    }
  }
  if (!inserts.empty()) statements.push_back(std::move(inserts));
  statements.emplace_back("COMMIT");
  for (const std::string& statement : statements)
    if (auto done = writer->execute(statement, late()); !done) return done;
  report_.repaired += wrong.size();
  opened_ = {};  // the snapshots are from before the repair
  return {};
}

Status VerifyRun::pace() {
  if (options_.rows_a_second_max <= 0) return {};
  double due = static_cast<double>(report_.rows) / options_.rows_a_second_max;
  for (;;) {
    double ahead = due - seconds(BootClock::now() - begun_);
    if (ahead <= 0) return {};
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(ahead, 0.2)));
    if (progress_ && !progress_({"waiting, to keep the rate", report_.rows, rows_total_, 0,
                                 options_.rows_a_second_max, kNever}))
      return fail(Code::kConflict, "the comparison was stopped");
  }
}

Status VerifyRun::tell(const CarriedTable& table) {
  if (!progress_) return {};
  Progress at{"comparing " + table.label(), report_.rows, rows_total_, 0, 0, kNever};
  double elapsed = seconds(BootClock::now() - begun_);
  if (elapsed > 0) at.rows_a_second = static_cast<double>(report_.rows) / elapsed;
  if (at.rows_a_second > 0 && rows_total_ > report_.rows)
    at.eta = std::chrono::nanoseconds(static_cast<std::int64_t>(
        static_cast<double>(rows_total_ - report_.rows) / at.rows_a_second * 1e9));
  if (progress_(at)) return {};
  return fail(Code::kConflict, "the comparison was stopped");
}

Status VerifyRun::compare_table(const CarriedTable& table) {
  KeyRange range;
  for (bool more = true; more; range.lower = range.upper) {
    if (auto ready = fresh_pair(); !ready) return ready;
    range.upper.clear();
    if (table.chunkable()) {
      auto end = chunk_end(*source_, table, range.lower, options_.chunk_rows, late());
      if (!end) return fail(std::move(end.error()));
      if (*end) range.upper = **end;
    }
    more = !range.upper.empty();
    auto source = sum_of(table, range, End::kSource);
    if (!source) return fail(std::move(source.error()));
    auto target = sum_of(table, range, End::kTarget);
    if (!target) return fail(std::move(target.error()));
    report_.rows += number(source->rows);
    if (*source != *target)
      if (auto found = find_rows(table, range); !found) return found;
    if (auto told = tell(table); !told) return told;
    if (auto paced = pace(); !paced) return paced;
  }
  ++report_.tables;
  return {};
}

Result<VerifyReport> VerifyRun::run() {
  if (auto ready = connect(); !ready) return fail(std::move(ready.error()));
  auto tables = choose_tables();
  if (!tables) return fail(std::move(tables.error()));
  for (const CarriedTable& table : *tables) rows_total_ += table.rows_estimate;
  for (const CarriedTable& table : *tables)
    if (auto compared = compare_table(table); !compared) return fail(std::move(compared.error()));
  return std::move(report_);
}

}  // namespace leeward::replication::internal
