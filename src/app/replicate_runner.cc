#include "app/replicate_runner.h"

#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "replication/precheck.h"
#include "replication/task_driver.h"

namespace leeward::app {
namespace {

using replication::Driver;
using replication::Finding;
using replication::Progress;
using replication::Severity;
using replication::VerifyOptions;

constexpr Duration kAskLimit = 30s;
constexpr Duration kLogEvery = 10s;
constexpr Duration kVerifyPause = 60s;  // between two rounds of the continuous comparison

BootTime soon() { return BootClock::now() + kAskLimit; }

}  // namespace

ReplicateRunner::ReplicateRunner(replication::Task task, Logger logger, Registry& metrics,
                                 std::function<void(Status)> on_end)
    : task_(std::move(task)),
      logger_(std::move(logger)),
      metrics_(metrics),
      on_end_(std::move(on_end)) {}

ReplicateRunner::~ReplicateRunner() { stop(); }

Status ReplicateRunner::start() {
  paused_ = std::filesystem::exists(pause_file());
  auto driver = replication::make_driver(task_, logger_, &metrics_);
  if (!driver) return fail(std::move(driver.error()));
  driver_ = std::move(*driver);
  thread_ = std::thread([this] { run(); });
  verifier_ = std::thread([this] { verify_loop(); });
  return {};
}

void ReplicateRunner::stop() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (verifier_.joinable()) verifier_.join();
  if (driver_) (void)driver_->stop(soon());
}

void ReplicateRunner::run() {
  Status done = work();
  {
    std::lock_guard lock(mutex_);
    if (ending_) return;
    if (!done) error_ = done.error().message;
  }
  if (!done) on_end_(std::move(done));
}

Status ReplicateRunner::work() {
  if (auto fit = check(); !fit) return fit;
  if (auto seeded = seed(); !seeded) return seeded;
  bool paused = false;
  {
    std::lock_guard lock(mutex_);
    if (ending_) return {};
    paused = paused_;
  }
  if (paused)
    if (auto held = driver_->pause(soon()); !held) return held;
  if (auto started = driver_->start(soon()); !started) return started;
  logger_.info("the stream runs");
  std::lock_guard lock(mutex_);
  streaming_ = true;
  changed_.notify_all();
  return {};
}

Status ReplicateRunner::check() {
  auto findings = driver_->precheck(soon());
  if (!findings) return fail(std::move(findings.error()));
  std::string errors;
  for (const Finding& each : *findings) {
    LogLevel level = each.severity == Severity::kError     ? LogLevel::kError
                     : each.severity == Severity::kWarning ? LogLevel::kWarn
                                                           : LogLevel::kInfo;
    logger_.write(level, each.where + ": " + each.what, {{"code", each.code}, {"cure", each.cure}});
    if (each.severity == Severity::kError) errors += (errors.empty() ? "" : ", ") + each.code;
  }
  if (errors.empty()) return {};
  return fail(Code::kRefused,
              "task {} cannot run: {}; `leeward replication precheck` tells how to mend each",
              task_.name, errors);
}

bool ReplicateRunner::wait_while_paused() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ending_ || !paused_; });
  return !ending_;
}

Status ReplicateRunner::seed() {
  for (;;) {
    BootTime logged{};
    auto done = driver_->seed([&](const Progress& progress) {
      if (BootClock::now() >= logged + kLogEvery) {
        logged = BootClock::now();
        logger_.info(progress.phase,
                     {{"rows", progress.rows},
                      {"rows_total", progress.rows_total},
                      {"bytes", progress.bytes},
                      {"rows_a_second", fmt::format("{:.0f}", progress.rows_a_second)},
                      {"seconds_left", progress.eta == kNever
                                           ? std::string("unknown")
                                           : fmt::format("{:.0f}", seconds(progress.eta))}});
      }
      std::lock_guard lock(mutex_);
      seed_ = progress;
      return !ending_ && !paused_;
    });
    {
      std::lock_guard lock(mutex_);
      seed_.reset();
      if (ending_) return {};
      if (done || !paused_ || done.error().code != Code::kConflict) return done;
    }
    logger_.info("the first copy is paused");
    if (!wait_while_paused()) return {};
  }
}

ReplicateSnapshot ReplicateRunner::snapshot() const {
  ReplicateSnapshot now;
  now.link = driver_->status();
  std::lock_guard lock(mutex_);
  now.seed = seed_;
  now.verify = verify_;
  now.verify.running |= wanted_verify_.has_value();
  now.paused = paused_;
  now.error = error_;
  if (seed_) now.link.state = replication::LinkState::kSeeding;
  return now;
}

void ReplicateRunner::sample() {
  ReplicateSnapshot now = snapshot();
  LagSample sample;
  sample.at = SystemClock().now().wall;
  sample.state = now.link.state;
  sample.received = now.link.received_lag;
  sample.durable = now.link.durable_lag;
  sample.applied = now.link.applied_lag();
  sample.transactions = now.link.transactions;
  sample.rows = now.link.rows;
  publish("received", sample.received);
  publish("durable", sample.durable);
  publish("applied", sample.applied);
  Labels labels{{"task", task_.name}};
  if (now.seed)
    metrics_.gauge("leeward_replication_seed_rows", "Rows copied by the first copy", labels)
        .set(static_cast<double>(now.seed->rows));
  if (now.verify.report)
    metrics_
        .gauge("leeward_replication_different_rows", "Rows that differed in the last comparison",
               labels)
        .set(static_cast<double>(now.verify.report->different));
  std::lock_guard lock(mutex_);
  history_.add(sample);
}

void ReplicateRunner::publish(const char* position, const replication::LinkLag& lag) {
  Labels labels{{"task", task_.name}, {"position", position}};
  if (lag.time != kNever)
    metrics_.gauge("leeward_replication_lag_seconds", "How old what is there is", labels)
        .set(seconds(lag.time));
  metrics_
      .gauge("leeward_replication_behind_transactions",
             "Transactions of the source that are not there yet", labels)
      .set(static_cast<double>(lag.transactions));
}

std::vector<LagSample> ReplicateRunner::history(Duration back) const {
  std::lock_guard lock(mutex_);
  return history_.since(SystemClock().now().wall, back);
}

Status ReplicateRunner::pause() {
  if (auto kept = write_file_durably(pause_file(), ""); !kept) return kept;
  {
    std::lock_guard lock(mutex_);
    paused_ = true;
  }
  logger_.info("paused");
  return driver_->pause(soon());
}

Status ReplicateRunner::resume() {
  std::error_code error;
  std::filesystem::remove(pause_file(), error);
  if (error) return fail(os_error(error.value(), "remove " + pause_file()));
  {
    std::lock_guard lock(mutex_);
    paused_ = false;
  }
  changed_.notify_all();
  logger_.info("resumed");
  return driver_->resume(soon());
}

Status ReplicateRunner::begin_verify(VerifyOptions options) {
  std::lock_guard lock(mutex_);
  if (!streaming_)
    return fail(Code::kConflict, "task {}: nothing to compare before the stream runs", task_.name);
  if (paused_)
    return fail(Code::kConflict, "task {} is paused; resume it, or both ends never meet",
                task_.name);
  if (wanted_verify_ || (verify_.running && verify_.on_demand))
    return fail(Code::kConflict, "task {}: a comparison runs already", task_.name);
  wanted_verify_ = std::move(options);
  cancel_verify_ = verify_.running;  // the continuous one makes way
  changed_.notify_all();
  return {};
}

void ReplicateRunner::cancel_verify() {
  std::lock_guard lock(mutex_);
  cancel_verify_ = true;
}

// One comparison at a time: what is asked for, else the continuous one.
void ReplicateRunner::verify_loop() {
  bool continuous = task_.verify.rows_a_second > 0;
  BootTime next{};
  for (;;) {
    VerifyOptions options;
    bool on_demand = false;
    {
      std::unique_lock lock(mutex_);
      auto due = [&] { return continuous && streaming_ && !paused_ && BootClock::now() >= next; };
      while (!ending_ && !wanted_verify_ && !due()) changed_.wait_for(lock, 500ms);
      if (ending_) return;
      on_demand = wanted_verify_.has_value();
      if (on_demand) options = *std::exchange(wanted_verify_, {});
    }
    if (!on_demand) {
      options.chunk_rows = task_.verify.chunk_rows;
      options.rows_a_second_max = task_.verify.rows_a_second;
    }
    verify_once(options, on_demand);
    next = BootClock::now() + kVerifyPause;
  }
}

void ReplicateRunner::verify_once(const VerifyOptions& options, bool on_demand) {
  {
    std::lock_guard lock(mutex_);
    verify_.running = true;
    verify_.on_demand = on_demand;
    verify_.progress = {};
    verify_.error.clear();
    cancel_verify_ = false;
  }
  auto report = driver_->verify(options, [&](const Progress& progress) {
    std::lock_guard lock(mutex_);
    verify_.progress = progress;
    return !ending_ && !cancel_verify_;
  });
  std::lock_guard lock(mutex_);
  verify_.running = false;
  if (!report) {
    verify_.error = report.error().message;
    if (!cancel_verify_ && !ending_) logger_.warn("comparison", {{"why", report.error().message}});
    return;
  }
  verify_.error.clear();
  verify_.ended_at = SystemClock().now().wall;
  logger_.write(report->equal() ? LogLevel::kInfo : LogLevel::kError, "compared both ends",
                {{"rows", report->rows},
                 {"different", report->different},
                 {"repaired", report->repaired},
                 {"at", to_string(report->at)}});
  verify_.report = std::move(*report);
}

}  // namespace leeward::app
