// status, events, maintenance.
#include <algorithm>
#include <thread>

#include "cli/internal/commands.h"
#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

constexpr std::uint64_t kPage = 500;
constexpr Duration kPollWait = 10s;
constexpr Duration kRetryPause = 1s;

std::uint64_t sequence_of(const Json& event) {
  const Json& value = member(event, "sequence");
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}

Result<Json> fetch(const Api& api, std::uint64_t after, Duration wait) {
  std::map<std::string, std::string> query{{"after", std::to_string(after)},
                                           {"limit", std::to_string(kPage)}};
  if (wait > 0s) query["wait_ms"] = std::to_string(wait / 1ms);
  auto answer = api.get("/v1/events", std::move(query), kCallTimeout + wait);
  if (!answer) return answer;
  return member(*answer, "events");
}

void print(Io& io, const Globals& globals, const Json& event) {
  io.out << (globals.json ? to_text(event, -1) : render_event(event) + "\n") << std::flush;
}

// All events after `after`, page by page; of these the newest `limit`.
Result<Json> newest(const Api& api, std::uint64_t& after, std::uint64_t limit) {
  Json kept = Json::array();
  for (;;) {
    auto page = fetch(api, after, 0s);
    if (!page) return page;
    std::uint64_t before = after;
    for (const Json& event : *page) {
      after = std::max(after, sequence_of(event));
      kept.push_back(event);
    }
    if (kept.size() > limit)
      kept.erase(kept.begin(), kept.end() - static_cast<std::ptrdiff_t>(limit));
    if (after == before) return kept;
  }
}

// Until the process is ended. An answer that does not come is told once and asked for again.
[[noreturn]] void follow(const Api& api, const Globals& globals, std::uint64_t after, Io& io) {
  bool told = false;
  for (;;) {
    auto page = fetch(api, after, kPollWait);
    if (!page) {
      if (!std::exchange(told, true))
        io.err << "leeward: " << printable(page.error().message) << "; still trying" << std::endl;
      std::this_thread::sleep_for(kRetryPause);
      continue;
    }
    told = false;
    for (const Json& event : *page) {
      if (sequence_of(event) <= after) continue;
      after = sequence_of(event);
      print(io, globals, event);
    }
  }
}

}  // namespace

int status(const Globals& globals, bool check, Io& io) {
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto answer = api->get("/v1/status");
  if (!answer) return report(io, answer.error());
  io.out << (globals.json ? to_text(*answer) : render_status(*answer, globals.color));
  if (!check) return 0;
  auto found = complaints(*answer);
  for (const std::string& complaint : found) io.err << "leeward: " << complaint << "\n";
  return found.empty() ? 0 : exit_status(Code::kUnhealthy);
}

int events(const Globals& globals, const EventOptions& options, Io& io) {
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  std::uint64_t after = options.after;
  auto found = newest(*api, after, options.limit);
  if (!found) return report(io, found.error());
  if (globals.json && !options.follow) {
    io.out << to_text({{"events", *found}});
    return 0;
  }
  for (const Json& event : *found) print(io, globals, event);
  if (options.follow) follow(*api, globals, after, io);
  return 0;
}

int maintenance(const Globals& globals, bool on, Io& io) {
  auto api = control_api(globals, io);
  if (!api) return report(io, api.error());
  auto answer = api->post("/v1/maintenance", {{"paused", on}});
  if (!answer) return report(io, answer.error());
  if (globals.json)
    io.out << to_text(*answer);
  else
    io.out << (on ? "maintenance on: no automatic failover until `leeward maintenance off`\n"
                  : "maintenance off: automatic failover is watching again\n");
  return 0;
}

}  // namespace leeward::cli
