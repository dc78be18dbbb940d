// ledger list, show, replay, discard. The ledger of lost writes lies on each site's agent, so every
// workload site is asked; one that cannot be reached is told of and does not stop the others.
#include <algorithm>

#include "cli/internal/agents.h"
#include "cli/internal/commands.h"
#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

bool valid_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '@';  // "0-1-42@7"
  });
}

// All pages of one site's ledger as one answer.
Result<Json> whole_ledger(const Api& api) {
  auto whole = api.get("/v1/ledger");
  if (!whole) return whole;
  Json entries = member(*whole, "entries");
  for (bool more = flag_of(*whole, "more"); more && !entries.empty();) {
    auto page = api.get("/v1/ledger", {{"after", text_of(entries.back(), "id")}});
    if (!page) return page;
    const Json& next = member(*page, "entries");
    more = flag_of(*page, "more") && !next.empty();
    entries.insert(entries.end(), next.begin(), next.end());
  }
  (*whole)["entries"] = std::move(entries);
  whole->erase("more");
  return whole;
}

struct Found {
  const Agent* agent;
  Json entry;
};

// The site that has entry `id`. Errors: kNotFound when the sites that answered do not have it,
// kConflict when several do, or the error of a site that did not answer.
Result<Found> find_entry(const std::vector<Agent>& all, const std::string& id) {
  if (!valid_id(id)) return fail(Code::kInvalid, "'{}' is not an id of a ledger entry", id);
  std::optional<Found> found;
  std::optional<Error> silent;
  for (const Agent& agent : all) {
    auto entry = agent.api.get("/v1/ledger/" + id);
    if (!entry && entry.error().code != Code::kNotFound) silent = entry.error();
    if (!entry) continue;
    if (found)
      return fail(Code::kConflict, "sites {} and {} both have an entry {}; name one with --site",
                  found->agent->site, agent.site, id);
    found = Found{&agent, std::move(*entry)};
  }
  if (found) return std::move(*found);
  if (silent) return fail(std::move(*silent));
  return fail(Code::kNotFound, "no site has a ledger entry {}", id);
}

}  // namespace

int ledger_list(const Globals& globals, const LedgerOptions& options, Io& io) {
  auto all = agents(globals, options.site, io);
  if (!all) return report(io, all.error());
  std::vector<Json> answers;
  int worst = 0;
  for (const Agent& agent : *all) {
    auto answer = whole_ledger(agent.api);
    if (answer)
      answers.push_back(std::move(*answer));
    else
      worst = report(io, answer.error());
  }
  if (globals.json) {
    io.out << to_text({{"sites", answers}});
    return worst;
  }
  // "no lost writes" must not be read as the word of a site that said nothing.
  if (!answers.empty()) io.out << render_ledger(answers);
  return worst;
}

int ledger_show(const Globals& globals, const LedgerOptions& options, Io& io) {
  auto all = agents(globals, options.site, io);
  if (!all) return report(io, all.error());
  auto found = find_entry(*all, options.id);
  if (!found) return report(io, found.error());
  io.out << (globals.json ? to_text(found->entry) : render_ledger_entry(found->entry));
  return 0;
}

int ledger_act(const Globals& globals, LedgerAction action, const LedgerOptions& options, Io& io) {
  bool replay = action == LedgerAction::kReplay;
  if (!options.yes && !io.interactive) return report(io, confirm(io, false, "").error());
  auto all = agents(globals, options.site, io);
  if (!all) return report(io, all.error());
  auto found = find_entry(*all, options.id);
  if (!found) return report(io, found.error());
  if (!options.yes) {
    io.err << render_ledger_entry(found->entry) << "\n";
    auto sure = confirm(io, false,
                        replay ? "Write these changes to the serving database?"
                               : "Give these changes up for good?");
    if (!sure) return report(io, sure.error());
  }
  std::string path = fmt::format("/v1/ledger/{}/{}", options.id, replay ? "replay" : "discard");
  Json body = Json::object();
  if (replay) body["force"] = options.force;
  auto answer = found->agent->api.post(path, body);
  if (!answer) return report(io, answer.error());
  if (globals.json)
    io.out << to_text(*answer);
  else
    io.out << fmt::format("{} {}\n", options.id, replay ? "replayed" : "discarded");
  return 0;
}

}  // namespace leeward::cli
