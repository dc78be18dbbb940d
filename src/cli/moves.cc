// failover, switchover, failback: ask, start the plan, follow it to its end.
#include <thread>

#include "cli/internal/commands.h"
#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

constexpr Duration kPollEvery = 100ms;
constexpr Duration kPollTimeout = 3s;

struct Words {
  std::string_view path;
  std::string_view verb;
};

Words words(Move kind) {
  switch (kind) {
    case Move::kFailover:
      return {"/v1/failover", "Fail over"};
    case Move::kSwitchover:
      return {"/v1/switchover", "Switch over"};
    case Move::kFailback:
      return {"/v1/failback", "Fail back"};
  }
  return {};
}

Json request_body(Move kind, const MoveOptions& options) {
  Json body = Json::object();
  if (kind == Move::kFailback) return body;
  if (!options.to.empty()) body["to"] = options.to;
  if (!options.reason.empty()) body["reason"] = options.reason;
  if (kind == Move::kFailover) {
    body["accept_loss"] = options.accept_loss;
    body["override_block"] = options.override_block;
  }
  return body;
}

bool ended(const Json& plan) {
  std::string step = text_of(plan, "step");
  return step == "done" || step == "aborted";
}

// Follows one plan by polling, printing each step of its history once.
class Follower {
 public:
  Follower(const Api& api, Io& io, Json plan) : api_(api), io_(io), plan_(std::move(plan)) {}

  const Json& plan() const { return plan_; }

  // Ok when the plan has ended, in whatever way. kTimeout when it goes on, kConflict when another
  // plan took its place.
  Status until_ended(Duration timeout) {
    auto deadline = std::chrono::steady_clock::now() + timeout;
    for (;;) {
      print_new_steps();
      if (ended(plan_)) return {};
      if (std::chrono::steady_clock::now() >= deadline)
        return fail(Code::kTimeout,
                    "{} after {}; the plan goes on, `leeward status` shows where it is",
                    render_plan(plan_), format_duration(timeout));
      std::this_thread::sleep_for(kPollEvery);
      if (auto polled = poll(); !polled) return polled;
    }
  }

 private:
  Status poll() {
    auto answer = api_.get("/v1/plan", {}, kPollTimeout);
    if (!answer) {
      // A control node that restarts resumes its plan, so this is not yet the end.
      if (!std::exchange(told_, true))
        io_.err << "leeward: " << printable(answer.error().message) << "; still trying"
                << std::endl;
      return {};
    }
    told_ = false;
    const Json& plan = member(*answer, "plan");
    if (!plan.is_object()) return {};
    if (number_of(plan, "id") != number_of(plan_, "id"))
      return fail(Code::kConflict, "plan {} was followed by another one: {}",
                  number_of(plan_, "id"), render_plan(plan));
    plan_ = plan;
    return {};
  }

  void print_new_steps() {
    std::size_t known = member(plan_, "history").size();
    for (; printed_ < known; ++printed_) io_.err << render_step(plan_, printed_) << std::endl;
  }

  const Api& api_;
  Io& io_;
  Json plan_;
  std::size_t printed_ = 0;
  bool told_ = false;
};

int finish(const Globals& globals, const Json& plan, Io& io) {
  io.out << (globals.json ? to_text({{"plan", plan}}) : render_plan(plan) + "\n");
  return text_of(plan, "step") == "aborted" ? 1 : 0;
}

}  // namespace

int move(const Globals& globals, Move kind, const MoveOptions& options, Io& io) {
  Words w = words(kind);
  // Before anything is asked of the network: no terminal and no --yes is a mistake in the command.
  if (!options.yes && !io.interactive) return report(io, confirm(io, false, "").error());
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  if (!options.yes) {
    auto now = api->get("/v1/status", {}, kPollTimeout);
    std::string question = render_question(now ? *now : Json(), w.verb, options.to);
    if (auto sure = confirm(io, false, question); !sure) return report(io, sure.error());
  }
  auto answer = api->post(std::string(w.path), request_body(kind, options));
  if (!answer) return report(io, answer.error());
  const Json& plan = member(*answer, "plan");
  if (!options.wait || !plan.is_object()) return finish(globals, plan, io);
  Follower follower(*api, io, plan);
  if (auto followed = follower.until_ended(options.timeout); !followed)
    return report(io, followed.error());
  return finish(globals, follower.plan(), io);
}

}  // namespace leeward::cli
