// leeward replication: precheck, status, pause, resume, verify, conflicts of a task. `start` is a
// role of the executable (app/replicate_role.cc).
#include <thread>

#include "cli/internal/commands.h"
#include "cli/internal/comparison.h"
#include "cli/internal/render.h"
#include "replication/precheck.h"
#include "replication/task_driver.h"
#include "replication/verify_json.h"

namespace leeward::cli {
namespace {

using replication::Task;

constexpr Duration kAskLimit = 60s;
constexpr Duration kPollEvery = 250ms;
constexpr unsigned kNoSuchTable = 1146;
constexpr unsigned kNoSuchDatabase = 1049;

Result<Task> load(const std::string& path, Io& io) {
  auto loaded = replication::load_task(path);
  if (loaded.task) return std::move(*loaded.task);
  for (const config::Problem& problem : loaded.problems)
    io.err << printable(to_string(problem)) << "\n";
  return fail(Code::kInvalid, "{} cannot be used as a task", path);
}

Result<Api> control_of(const Task& task) {
  auto control = replication::read_control(task);
  if (!control) return fail(std::move(control.error()));
  return Api({"127.0.0.1", control->port}, control->token, "task " + task.name);
}

int ask_task(const std::string& file, Io& io,
             const std::function<int(const Task&, const Api&)>& use) {
  auto task = load(file, io);
  if (!task) return report(io, task.error());
  auto api = control_of(*task);
  if (!api) return report(io, api.error());
  return use(*task, *api);
}

// Ends waiting, not the comparison: that goes on in the task, and the same command follows it.
Result<Json> follow_verify(const Api& api, Io& io) {
  for (;;) {
    auto answer = api.get("/v1/verify");
    if (!answer) return answer;
    if (!flag_of(*answer, "running")) {
      end_progress(io);
      std::string error = text_of(*answer, "error");
      if (!error.empty()) return fail(Code::kUnhealthy, "{}", error);
      return member(*answer, "report");
    }
    show_progress(io, member(*answer, "progress"));
    std::this_thread::sleep_for(kPollEvery);
  }
}

Result<Json> verify_running(const Api& api, const ReplicationOptions& options, Io& io) {
  Json body{{"tables", options.tables}, {"repair", options.repair}};
  auto begun = api.post("/v1/verify", body);
  if (!begun) {
    auto now = api.get("/v1/verify");
    if (begun.error().code != Code::kConflict || !now || !flag_of(*now, "running"))
      return fail(std::move(begun.error()));
    io.err << "leeward: a comparison runs already; following that one" << std::endl;
  }
  std::this_thread::sleep_for(kPollEvery);
  return follow_verify(api, io);
}

Result<Json> verify_here(const Task& task, const ReplicationOptions& options, Io& io) {
  replication::VerifyOptions wanted;
  wanted.tables = options.tables;
  wanted.repair = options.repair;
  wanted.chunk_rows = task.verify.chunk_rows;
  return compare_here(io, [&](const replication::OnProgress& progress) {
    return replication::verify_stopped(task, wanted, progress);
  });
}

}  // namespace

int replication_precheck(const Globals& globals, const ReplicationOptions& options, Io& io) {
  auto task = load(options.file, io);
  if (!task) return report(io, task.error());
  auto findings = replication::precheck(*task, BootClock::now() + kAskLimit);
  if (!findings) return report(io, findings.error());
  bool fit = !replication::has_errors(*findings);
  Json json{{"task", task->name},
            {"ok", fit},
            {"findings", Json::parse(replication::to_json(*findings))}};
  io.out << (globals.json ? to_text(json) : render_findings(json, globals.color));
  return fit ? 0 : exit_status(Code::kUnhealthy);
}

int replication_start(const ReplicateOptions& start, const ReplicationOptions& options,
                      const Roles& roles, Io& io) {
  if (!roles.replicate) return report(io, Error{Code::kInternal, "this executable lacks the role"});
  auto task = load(options.file, io);
  if (!task) return report(io, task.error());
  if (start.again)
    if (auto sure = confirm(io, options.yes,
                            fmt::format("Drop the tables that task {} made at {}:{} and copy them "
                                        "again?",
                                        task->name, task->target.host, task->target.port));
        !sure)
      return report(io, sure.error());
  ReplicateOptions role = start;
  role.task_path = options.file;
  return roles.replicate(role);
}

int replication_reference(Io& io) {
  io.out << replication::task_reference();
  return 0;
}

int replication_status(const Globals& globals, const ReplicationOptions& options, Io& io) {
  return ask_task(options.file, io, [&](const Task&, const Api& api) {
    std::map<std::string, std::string> query;
    if (!options.history.empty()) query["history"] = options.history;
    auto status = api.get("/v1/status", query);
    if (!status) return report(io, status.error());
    io.out << (globals.json ? to_text(*status) : render_task_status(*status));
    bool well = text_of(*status, "state") == "streaming" && text_of(*status, "error").empty();
    return options.check && !well ? exit_status(Code::kUnhealthy) : 0;
  });
}

int replication_pause(const Globals& globals, bool pause, const ReplicationOptions& options,
                      Io& io) {
  return ask_task(options.file, io, [&](const Task& task, const Api& api) {
    auto done = api.post(pause ? "/v1/pause" : "/v1/resume", Json::object());
    if (!done) return report(io, done.error());
    if (globals.json)
      io.out << to_text({{"task", task.name}, {"paused", pause}});
    else
      io.out << "task " << task.name
             << (pause ? ": paused; changes are still received\n" : ": resumed\n");
    return 0;
  });
}

int replication_verify(const Globals& globals, const ReplicationOptions& options, Io& io) {
  auto task = load(options.file, io);
  if (!task) return report(io, task.error());
  if (options.repair)
    if (auto sure = confirm(io, options.yes,
                            fmt::format("Write the source's rows over the target's at {}:{} where "
                                        "they differ?",
                                        task->target.host, task->target.port));
        !sure)
      return report(io, sure.error());
  auto api = control_of(*task);
  bool running = api || api.error().code != Code::kUnavailable;
  if (running && !api) return report(io, api.error());
  auto done = running ? verify_running(*api, options, io) : verify_here(*task, options, io);
  if (!done) return report(io, done.error());
  return print_report(globals, *done, io);
}

int replication_conflicts(const Globals& globals, const ReplicationOptions& options, Io& io) {
  auto task = load(options.file, io);
  if (!task) return report(io, task.error());
  auto account = replication::sql_target(*task, task->target);
  if (!account) return report(io, account.error());
  auto sql = mysql::SqlConnection::open(*account, BootClock::now() + kAskLimit);
  if (!sql) return report(io, sql.error());
  auto rows = sql->query(fmt::format("SELECT * FROM leeward.conflicts WHERE task = {} ORDER BY 1 "
                                     "DESC LIMIT {}",
                                     sql->quote(task->name), options.limit),
                         BootClock::now() + kAskLimit);
  bool none = !rows && (sql->last_error() == kNoSuchTable || sql->last_error() == kNoSuchDatabase);
  if (!rows && !none) return report(io, rows.error());
  Json list = Json::array();
  for (std::size_t i = 0; rows && i < rows->rows.size(); ++i) {
    Json entry;
    for (std::size_t k = 0; k < rows->columns.size(); ++k)
      entry[rows->columns[k]] = rows->rows[i][k] ? Json(*rows->rows[i][k]) : Json();
    list.push_back(std::move(entry));
  }
  Json json{{"task", task->name}, {"conflicts", std::move(list)}};
  io.out << (globals.json ? to_text(json) : render_conflicts(json));
  return 0;
}

}  // namespace leeward::cli
