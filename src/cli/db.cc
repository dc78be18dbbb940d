// db status, lag, promote, reseed, rewind, degrade. What moves the writer is a plan of control;
// what mends a standby runs in that site's agent, and the command only follows it: interrupted, it
// is given again and goes on following.
#include <thread>

#include "cli/internal/agents.h"
#include "cli/internal/commands.h"
#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

constexpr Duration kPollEvery = 500ms;
constexpr Duration kPollTimeout = 3s;

struct Place {
  std::string writer;
  std::string standby;  // the site meant
};

// The standby that `only` names, or the only one there is. kRefused when that is the writer.
Result<Place> standby_of(const Json& status, const std::string& only, std::string_view verb) {
  Place place;
  place.writer = text_of(status, "writer");
  std::size_t standbys = 0;
  bool known = false;
  for (const Json& site : member(status, "sites")) {
    std::string name = text_of(site, "name");
    known |= name == only && text_of(site, "role") != "witness";
    if (text_of(site, "role") != "standby") continue;
    ++standbys;
    if (only.empty() || name == only) place.standby = name;
  }
  if (place.writer.empty())
    return fail(Code::kRefused, "no site is the writer yet: there is nothing to follow");
  if (only == place.writer)
    return fail(Code::kRefused, "{} is the writer: only a standby can be {}", only, verb);
  if (!only.empty() && !known) return fail(Code::kInvalid, "there is no workload site '{}'", only);
  if (place.standby.empty() || (only.empty() && standbys != 1))
    return fail(Code::kInvalid, "name the standby with --site");
  return place;
}

// Prints where a rejoin is until it ends: one line that is written over on a terminal, otherwise
// one a phase and one every ten seconds.
class RejoinFollower {
 public:
  RejoinFollower(const Api& agent, Io& io, Json rejoin)
      : agent_(agent), io_(io), rejoin_(std::move(rejoin)) {}

  Result<Json> until_ended() {
    double number = number_of(rejoin_, "number");
    for (;;) {
      if (number_of(rejoin_, "number") != number)
        return fail(Code::kConflict,
                    "another one has begun; `leeward db status` shows where it is");
      bool running = text_of(rejoin_, "state") == "running";
      tell(!running);
      if (!running) return rejoin_;
      std::this_thread::sleep_for(kPollEvery);
      auto answer = agent_.get("/v1/rejoin", {}, kPollTimeout);
      if (answer) {
        silent_ = false;
        bool restarted = number_of(*answer, "number") < number;
        if (restarted)
          number = number_of(*answer, "number");  // the agent did, and goes on by itself
        bool idle = restarted && text_of(*answer, "state") == "none";
        if (!idle) rejoin_ = std::move(*answer);
      } else if (!std::exchange(silent_, true)) {
        io_.err << "leeward: " << printable(answer.error().message) << "; still trying"
                << std::endl;
      }
    }
  }

 private:
  void tell(bool last) {
    auto now = std::chrono::steady_clock::now();
    std::string phase = text_of(rejoin_, "phase");
    bool due = last || phase != phase_ || now - told_ >= std::chrono::seconds(10);
    if (!io_.interactive && !due) return;
    phase_ = phase;
    told_ = now;
    std::string line = render_rejoin(rejoin_);
    if (io_.interactive)
      io_.err << "\r\033[K" << line << (last ? "\n" : "") << std::flush;
    else
      io_.err << line << std::endl;
  }

  const Api& agent_;
  Io& io_;
  Json rejoin_;
  std::string phase_;
  std::chrono::steady_clock::time_point told_{};
  bool silent_ = false;
};

int finish_rejoin(const Globals& globals, const std::string& site, const Json& rejoin, Io& io) {
  std::string state = text_of(rejoin, "state");
  std::string why = text_of(rejoin, "why");
  if (globals.json) io.out << to_text(rejoin);
  if (state == "failed")
    return report(io,
                  Error{Code::kUnhealthy,
                        fmt::format("{} could not become a standby: {}; its agent tries again by "
                                    "itself",
                                    site, why)});
  if (!globals.json)
    io.out << fmt::format("{}: {}{}\n", site,
                          state == "running" ? "under way" : text_of(rejoin, "outcome"),
                          why.empty() ? "" : " (" + why + ")");
  return 0;
}

std::string question(Rejoining how, const Place& place, const Json& status) {
  if (how == Rejoining::kRewind)
    return fmt::format(
        "Undo what {} has and {} lacks? It is written to the ledger first; where undoing "
        "is not possible everything is copied afresh.",
        place.standby, place.writer);
  bool protects = text_of(member(status, "protection"), "state") != "off";
  return fmt::format(
      "Drop all data at {} and copy it afresh from {}? Until that is done {} cannot take "
      "over{}.",
      place.standby, place.writer, place.standby,
      protects ? ", and commits wait for it as replication.on_standby_loss says" : "");
}

}  // namespace

int db_status(const Globals& globals, Io& io) {
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto status = api->get("/v1/status");
  if (!status) return report(io, status.error());
  Json databases = databases_of(*status);
  io.out << (globals.json ? to_text(databases) : render_databases(databases));
  return 0;
}

int db_lag(const Globals& globals, std::uint64_t last, Io& io) {
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto answer = api->get("/v1/lag");
  if (!answer) return report(io, answer.error());
  Json& samples = (*answer)["samples"];
  if (samples.is_array() && samples.size() > last)
    samples.erase(samples.begin(), samples.end() - static_cast<std::ptrdiff_t>(last));
  io.out << (globals.json ? to_text(*answer) : render_lag(*answer));
  return 0;
}

int db_promote(const Globals& globals, const MoveOptions& options, Io& io) {
  if (!options.yes && !io.interactive) return report(io, confirm(io, false, "").error());
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto status = api->get("/v1/status");
  if (!status) return report(io, status.error());
  std::string writer = text_of(*status, "writer");
  std::string health;
  for (const Json& site : member(*status, "sites"))
    if (text_of(site, "name") == writer) health = text_of(site, "health");
  bool works = health == "up" || health == "degraded";
  io.err << fmt::format("{} is {}: {}\n", writer.empty() ? "no writer" : writer,
                        health.empty() ? "unknown" : health,
                        works ? "this is a switchover, which loses nothing" : "this is a failover");
  return move(globals, works ? Move::kSwitchover : Move::kFailover, options, io);
}

int db_rejoin(const Globals& globals, Rejoining how, const RejoinOptions& options, Io& io) {
  bool reseed = how == Rejoining::kReseed;
  if (!options.yes && !io.interactive) return report(io, confirm(io, false, "").error());
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto status = api->get("/v1/status");
  if (!status) return report(io, status.error());
  auto place = standby_of(*status, options.site, reseed ? "reseeded" : "rewound");
  if (!place) return report(io, place.error());
  auto all = agents(globals, place->standby, io);
  if (!all) return report(io, all.error());
  const Api& agent = all->front().api;
  auto rejoin = agent.get("/v1/rejoin");
  if (!rejoin) return report(io, rejoin.error());
  if (text_of(*rejoin, "state") == "running") {
    io.err << place->standby << " is at it already; following\n";
  } else {
    if (auto sure = confirm(io, options.yes, question(how, *place, *status)); !sure)
      return report(io, sure.error());
    rejoin = agent.post("/v1/rejoin", {{"how", reseed ? "reseed" : "rewind"}});
    if (!rejoin) return report(io, rejoin.error());
  }
  if (!options.wait) return finish_rejoin(globals, place->standby, *rejoin, io);
  auto ended = RejoinFollower(agent, io, *rejoin).until_ended();
  if (!ended) return report(io, ended.error());
  return finish_rejoin(globals, place->standby, *ended, io);
}

int db_degrade(const Globals& globals, bool yes, Io& io) {
  auto sure =
      confirm(io, yes,
              "Let the writer acknowledge commits without a copy at the standby, until that "
              "streams again? Should the writer be lost meanwhile, they are lost with it.");
  if (!sure) return report(io, sure.error());
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto answer = api->post("/v1/degrade", Json::object());
  if (!answer) return report(io, answer.error());
  io.out << (globals.json ? to_text(*answer) : text_of(*answer, "message") + "\n");
  return 0;
}

}  // namespace leeward::cli
