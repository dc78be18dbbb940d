#include "app/standby_check.h"

namespace leeward::app {
namespace {

constexpr Duration kBetweenPasses = 20s;
constexpr Duration kAfterFailure = 15s;
constexpr std::uint64_t kChunkRows = 1000;
constexpr std::size_t kDifferencesLogged = 20;

std::string words(const replication::RowDifference& row) {
  return fmt::format("{}.{} {} {}", row.schema, row.table, row.key, replication::name(row.kind));
}

}  // namespace

StandbyCheck::StandbyCheck(net::EventLoop& loop, const Context& context, Registry& registry,
                           double rows_a_second,
                           std::function<mysql::SqlTarget(const Endpoint&)> account)
    : loop_(loop),
      logger_(context.logger),
      rows_(registry.counter("leeward_comparison_rows_total", "Rows compared with the writer's")),
      passes_(registry.counter("leeward_comparison_passes_total",
                               "Comparisons of all tables, completed")),
      different_(registry.gauge("leeward_comparison_different_rows",
                                "Rows that differed in the last comparison")),
      rows_a_second_(rows_a_second),
      account_(std::move(account)) {}

StandbyCheck::~StandbyCheck() {
  *alive_ = false;
  stop_ = true;
}

std::optional<ComparisonReport> StandbyCheck::report() const {
  if (!ends_) return std::nullopt;
  std::lock_guard lock(mutex_);
  return report_;
}

void StandbyCheck::allow(std::optional<Ends> ends) {
  if (rows_a_second_ <= 0) return;
  if (ends != ends_) {
    stop_ = true;  // what runs is of the ends before
    ends_ = std::move(ends);
  }
  if (ends_ && !running_ && BootClock::now() >= next_) begin(*ends_);
}

void StandbyCheck::begin(const Ends& ends) {
  stop_ = false;
  running_ = static_cast<bool>(worker_.submit([this, ends] { pass(ends); }));
}

void StandbyCheck::pass(const Ends& ends) {
  replication::VerifyOptions options;
  options.rows_a_second_max = rows_a_second_;
  options.chunk_rows = kChunkRows;
  options.differences_max = kDifferencesLogged;
  mysql::SqlTarget target = account_(ends.target);
  auto standstill = replication::replica_standstill(target);
  std::uint64_t counted = 0;
  auto done =
      replication::verify({account_(ends.source), target, {}, standstill.get()}, options,
                          [&](const replication::Progress& at) { return progressed(at, counted); });
  standstill.reset();
  loop_.post([this, alive = alive_, done = std::move(done)] {
    if (*alive) ended(done);
  });
}

bool StandbyCheck::progressed(const replication::Progress& at, std::uint64_t& counted) {
  std::lock_guard lock(mutex_);
  report_.rows += at.rows - counted;
  rows_.add(at.rows - counted);
  counted = at.rows;
  return !stop_;
}

void StandbyCheck::ended(const Result<replication::VerifyReport>& report) {
  running_ = false;
  next_ = BootClock::now() + (report ? kBetweenPasses : kAfterFailure);
  if (!report) {
    if (!stop_ && report.error().message != said_)
      logger_.warn("the comparison with the writer ended early", {{"why", report.error().message}});
    said_ = report.error().message;
    return;
  }
  said_.clear();
  for (const replication::RowDifference& row : report->differences)
    logger_.error("a row differs from the writer's", {{"row", words(row)}});
  std::lock_guard lock(mutex_);
  ++report_.passes;
  report_.different = report->different;
  report_.first = report->differences.empty() ? "" : words(report->differences.front());
  report_.completed = SystemClock{}.now().wall;
  passes_.add();
  different_.set(static_cast<double>(report->different));
}

}  // namespace leeward::app
