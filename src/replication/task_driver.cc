#include "replication/task_driver.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "replication/internal/target.h"
#include "replication/precheck.h"
#include "replication/seed.h"
#include "replication/stream.h"

namespace leeward::replication {
namespace {

constexpr Duration kAskLimit = 30s;

// The stream's checkpoint as the open snapshot shows it.
Result<mysql::GtidPosition> shown_checkpoint(mysql::SqlConnection& target, const std::string& task,
                                             BootTime deadline) {
  auto checkpoint = internal::read_checkpoint(target, task, deadline);
  if (!checkpoint) return fail(std::move(checkpoint.error()));
  return checkpoint->position;
}

class StreamStandstill final : public Standstill {
 public:
  StreamStandstill(StreamDriver& driver, std::string task)
      : driver_(driver), task_(std::move(task)) {}
  Status hold(BootTime) override {
    driver_.hold();
    return {};
  }
  Status advance(const mysql::StreamPosition& at, BootTime deadline) override {
    return driver_.advance(at.gtids, deadline);
  }
  void release() override { driver_.release(); }
  Result<mysql::GtidPosition> shown(mysql::SqlConnection& target, BootTime deadline) override {
    return shown_checkpoint(target, task_, deadline);
  }

 private:
  StreamDriver& driver_;
  const std::string task_;
};

// Nothing moves the target; whether the source moved on is found out by `shown`.
class StoppedStandstill final : public Standstill {
 public:
  explicit StoppedStandstill(std::string task) : task_(std::move(task)) {}
  Status hold(BootTime) override { return {}; }
  Status advance(const mysql::StreamPosition& at, BootTime) override {
    wanted_ = at.gtids;
    return {};
  }
  void release() override {}
  Result<mysql::GtidPosition> shown(mysql::SqlConnection& target, BootTime deadline) override {
    auto there = shown_checkpoint(target, task_, deadline);
    if (there && *there != wanted_)
      return fail(Code::kRefused,
                  "task {} does not run, and its target is at {} while the source is at {}; start "
                  "it, and compare while it runs",
                  task_, to_string(*there), to_string(wanted_));
    return there;
  }

 private:
  const std::string task_;
  mysql::GtidPosition wanted_;
};

SeedOptions seed_options(const Task& task, const mysql::SqlTarget& source,
                         const mysql::SqlTarget& target) {
  return {task.name, task.mapping, source, target, task.seed, task.throttle};
}

StreamOptions stream_options(const Task& task, const mysql::SqlTarget& source,
                             const mysql::SqlTarget& target) {
  StreamOptions options;
  options.task = task.name;
  options.source = {source.endpoint, source.user, source.password, source.tls};
  options.source_sql = source;
  options.target = target;
  options.server_id = task.server_id;
  options.mapping = task.mapping;
  options.state_dir = task.state_dir;
  options.workers = task.apply.workers;
  options.group = static_cast<std::uint64_t>(task.apply.group);
  options.conflicts = task.conflicts;
  options.heartbeat = task.heartbeat;
  options.source_threads_running_max = task.throttle.source_threads_running;
  return options;
}

}  // namespace

Result<std::unique_ptr<Driver>> make_driver(const Task& task, Logger logger, Registry* metrics) {
  auto source = sql_target(task, task.source);
  if (!source) return fail(std::move(source.error()).wrap("source"));
  auto target = sql_target(task, task.target);
  if (!target) return fail(std::move(target.error()).wrap("target"));
  StreamOptions options = stream_options(task, *source, *target);
  options.logger = logger;
  options.metrics = metrics;
  // The parts need the driver that they are parts of.
  auto self = std::make_shared<StreamDriver*>(nullptr);
  StreamParts parts;
  parts.precheck = [task](BootTime deadline) { return precheck(task, deadline); };
  parts.seed = [task, source = *source, target = *target,
                logger](const OnProgress& progress) -> Result<mysql::GtidPosition> {
    auto done = seed(seed_options(task, source, target), progress);
    if (!done) return fail(std::move(done.error()));
    for (const std::string& note : done->notes) logger.warn(note);
    logger.info("the first copy is done", {{"tables", done->tables},
                                           {"rows", done->rows},
                                           {"bytes", done->bytes},
                                           {"from", to_string(done->state.from)}});
    return std::move(done->state.from);
  };
  parts.verify = [self, task, source = *source, target = *target](const VerifyOptions& wanted,
                                                                  const OnProgress& progress) {
    StreamStandstill standstill(**self, task.name);
    return verify({source, target, task.mapping, &standstill}, wanted, progress);
  };
  auto driver = std::make_unique<StreamDriver>(std::move(options), std::move(parts));
  *self = driver.get();
  return driver;
}

Result<VerifyReport> verify_stopped(const Task& task, const VerifyOptions& options,
                                    const OnProgress& progress) {
  auto source = sql_target(task, task.source);
  if (!source) return fail(std::move(source.error()).wrap("source"));
  auto target = sql_target(task, task.target);
  if (!target) return fail(std::move(target.error()).wrap("target"));
  StoppedStandstill standstill(task.name);
  return verify({*source, *target, task.mapping, &standstill}, options, progress);
}

Status begin_task(const Task& task, const std::string& from) {
  BootTime deadline = BootClock::now() + kAskLimit;
  auto target_at = sql_target(task, task.target);
  if (!target_at) return fail(std::move(target_at.error()).wrap("target"));
  auto target = mysql::SqlConnection::open(*target_at, deadline);
  if (!target) return fail(std::move(target.error()).wrap("target"));
  if (auto made = internal::create_stream_tables(*target, deadline); !made) return made;
  auto known = internal::read_checkpoint(*target, task.name, deadline);
  if (known)
    return fail(Code::kConflict, "task {} is at {} already; start it without --from", task.name,
                to_string(known->position));
  if (known.error().code != Code::kNotFound) return fail(std::move(known.error()));
  std::string text = from;
  if (from == "now") {
    auto source_at = sql_target(task, task.source);
    if (!source_at) return fail(std::move(source_at.error()).wrap("source"));
    auto source = mysql::SqlConnection::open(*source_at, deadline);
    if (!source) return fail(std::move(source.error()).wrap("source"));
    auto rows = source->query("SELECT @@global.gtid_binlog_pos", deadline);
    if (!rows) return fail(std::move(rows.error()).wrap("source"));
    text = rows->scalar();
  }
  auto position = mysql::parse_gtid_position(text);
  if (!position)
    return fail(Code::kInvalid, "'{}' is no GTID position; write one like 0-1-100,1-2-7, or now",
                from);
  return internal::write_checkpoint(*target, task.name, {*position, 0}, deadline);
}

Status forget_task(const Task& task) {
  auto target = sql_target(task, task.target);
  if (!target) return fail(std::move(target.error()).wrap("target"));
  return forget_seed(*target, task.name, task.mapping);
}

std::string control_file(const Task& task) { return task.state_dir + "/control.json"; }

Status write_control(const Task& task, const ControlPort& control) {
  nlohmann::json json{{"port", control.port}, {"token", control.token}};
  return write_file_durably(control_file(task), json.dump() + "\n");
}

Result<ControlPort> read_control(const Task& task) {
  auto text = read_file(control_file(task), 4096);
  if (!text) {
    if (text.error().code != Code::kNotFound) return fail(std::move(text.error()));
    return fail(Code::kUnavailable,
                "task {} does not run here (no {}); `leeward replication start` runs it", task.name,
                control_file(task));
  }
  auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object() || !json["port"].is_number_unsigned() || !json["token"].is_string())
    return fail(Code::kCorrupt, "{} is not what a task writes; start the task again",
                control_file(task));
  return ControlPort{json["port"].get<std::uint16_t>(), json["token"].get<std::string>()};
}

}  // namespace leeward::replication
