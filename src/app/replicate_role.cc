// leeward replication start: one task in the foreground, from precheck to stream, until it is told
// to stop. Stopped anywhere, it goes on there when it is started again.
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>

#include "app/context.h"
#include "app/replicate_api.h"
#include "app/replicate_json.h"
#include "app/roles.h"
#include "base/file.h"
#include "base/token.h"
#include "replication/task_driver.h"

namespace leeward::app {
namespace {

constexpr Duration kLineEvery = 500ms;
constexpr Duration kLogEvery = 10s;

// The state of the task, rewritten in place on a terminal.
class StatusLine {
 public:
  explicit StatusLine(bool terminal) : terminal_(terminal) {}
  ~StatusLine() {
    if (terminal_ && shown_) ::dprintf(STDERR_FILENO, "\n");
  }
  bool on() const { return terminal_; }
  void show(std::string text) {
    winsize size{};
    std::size_t width =
        ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79u;
    if (text.size() > width) text.resize(width);
    ::dprintf(STDERR_FILENO, "\r\033[K%s", text.c_str());
    shown_ = true;
  }

 private:
  const bool terminal_;
  bool shown_ = false;
};

// Samples once a second, and tells: on a terminal a line, else a log entry every ten seconds.
class Teller {
 public:
  Teller(net::EventLoop& loop, ReplicateRunner& runner, Logger logger, bool terminal)
      : loop_(loop), runner_(runner), logger_(std::move(logger)), line_(terminal) {
    tick();
  }

 private:
  void tick() {
    BootTime now = BootClock::now();
    if (now >= sample_at_) {
      runner_.sample();
      sample_at_ = now + kSampleEvery;
    }
    ReplicateSnapshot state = runner_.snapshot();
    if (line_.on()) {
      line_.show(status_line(state, before_, now - told_));
    } else if (now >= log_at_ && !state.seed && state.link.state != LinkState::kStopped) {
      logger_.info("state", {{"state", name(state.link.state)},
                             {"lag_seconds", state.link.lag == kNever
                                                 ? std::string("unknown")
                                                 : fmt::format("{:.3f}", seconds(state.link.lag))},
                             {"behind", state.link.behind},
                             {"transactions", state.link.transactions},
                             {"rows", state.link.rows},
                             {"error", state.link.error}});
      log_at_ = now + kLogEvery;
    }
    before_ = std::move(state);
    told_ = now;
    loop_.call_after(kLineEvery, [this] { tick(); });
  }

  using LinkState = replication::LinkState;
  net::EventLoop& loop_;
  ReplicateRunner& runner_;
  const Logger logger_;
  StatusLine line_;
  ReplicateSnapshot before_;
  BootTime told_ = BootClock::now(), sample_at_{}, log_at_{};
};

Result<replication::Task> load(const std::string& path) {
  auto loaded = replication::load_task(path);
  if (loaded.task) return std::move(*loaded.task);
  for (const config::Problem& problem : loaded.problems)
    std::fprintf(stderr, "%s\n", config::to_string(problem).c_str());
  return fail(Code::kInvalid, "{} has {} mistake{}; nothing was started", path,
              loaded.problems.size(), loaded.problems.size() == 1 ? "" : "s");
}

}  // namespace

int run_replicate(const cli::ReplicateOptions& options) {
  std::signal(SIGPIPE,
              SIG_IGN);  // a TLS library writes with write(2), also to a server that is gone
  auto task = load(options.task_path);
  if (!task) return report_failure(task.error());
  if (auto made = make_directories(task->state_dir); !made) return report_failure(made.error());
  auto lock = lock_file(task->state_dir + "/lock");
  if (!lock) return report_failure(std::move(lock.error()).wrap("task " + task->name));
  if (options.again)
    if (auto gone = replication::forget_task(*task); !gone) return report_failure(gone.error());
  if (!options.from.empty())
    if (auto begun = replication::begin_task(*task, options.from); !begun)
      return report_failure(begun.error());
  Logger logger = Logger(STDERR_FILENO, options.log_level, options.log_format).with(task->name);
  auto token = random_token();
  if (!token) return report_failure(token.error());

  Registry metrics;
  net::EventLoop loop;
  Status ended;
  ReplicateRunner runner(*task, logger, metrics, [&](Status why) {
    loop.post([&, why = std::move(why)]() mutable {
      ended = std::move(why);
      loop.stop();
    });
  });
  net::WorkerPool pool(1, 16);  // before the runner goes, its jobs are done
  ReplicateApi api(*task, runner, metrics, pool, *token);
  if (auto signals = stop_on_signals(loop); !signals) return report_failure(signals.error());
  if (auto started = runner.start(); !started) return report_failure(started.error());
  auto server = net::HttpServer::start(loop, {"127.0.0.1", task->control_port},
                                       [&](net::HttpRequest request, net::Responder respond) {
                                         api.handle(std::move(request), std::move(respond));
                                       });
  if (!server) return report_failure(std::move(server.error()).wrap("control_port"));
  if (auto told = replication::write_control(*task, {(*server)->local().port, *token}); !told)
    return report_failure(told.error());
  logger.info("started", {{"control", to_string((*server)->local())}});
  {
    Teller teller(loop, runner, logger, options.terminal);
    loop.run();
  }
  ::unlink(replication::control_file(*task).c_str());
  logger.info("stopping");
  runner.stop();
  if (!ended) return report_failure(ended.error());
  logger.info("stopped; `leeward replication start` goes on from here");
  return 0;
}

}  // namespace leeward::app
