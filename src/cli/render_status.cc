#include <algorithm>
#include <map>

#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

std::string paint(std::string_view text, bool color) {
  if (!color) return std::string(text);
  std::string_view code = text == "up" ? "32" : text == "down" ? "31" : "33";
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

// "up 3/3", or "up 2/3, down: aws".
std::string votes_text(const Json& votes) {
  if (!votes.is_object() || votes.empty()) return "–";
  std::map<std::string, std::vector<std::string>> by_health;
  for (const auto& [voter, health] : votes.items())
    by_health[health.is_string() ? printable(health.get_ref<const std::string&>()) : "unknown"]
        .push_back(printable(voter));
  std::string out = fmt::format("up {}/{}", by_health["up"].size(), votes.size());
  for (const auto& [health, voters] : by_health)
    if (health != "up" && !voters.empty())
      out += fmt::format(", {}: {}", health, fmt::join(voters, " "));
  return out;
}

std::string notes_text(const Json& site, const Json& agent) {
  std::vector<std::string> notes;
  bool witness = text_of(site, "role") == "witness";
  if (!agent.is_object()) return witness ? "" : "agent does not report";
  if (flag_of(agent, "by_promise")) notes.emplace_back("lease held by promise");
  if (flag_of(agent, "rejoining")) notes.emplace_back("rejoining");
  if (double open = number_of(agent, "ledger_open"); open > 0)
    notes.push_back(fmt::format("{} lost write{} in the ledger", open, open == 1 ? "" : "s"));
  if (flag_of(member(agent, "database"), "diverged")) notes.emplace_back("history diverged");
  if (std::string problem = text_of(agent, "problem"); !problem.empty()) notes.push_back(problem);
  return fmt::format("{}", fmt::join(notes, "; "));
}

std::vector<std::string> site_row(const Json& site, bool color) {
  const Json& agent = member(site, "agent");
  const Json& database = member(agent, "database");
  bool standby = text_of(site, "role") == "standby";
  std::string lag = "–";
  if (standby && member(database, "lag_ms").is_number())
    lag = format_seconds(number_of(database, "lag_ms") / 1000);
  std::string tiers = "–";
  if (agent.is_object())
    tiers = fmt::format("{}/{}", number_of(agent, "tiers_ready"), number_of(agent, "tiers_wanted"));
  std::string gateway = text_of(agent, "gateway");
  std::string health = text_of(site, "health");
  return {text_of(site, "name"),
          text_of(site, "role"),
          health.empty() ? "–" : paint(health, color),
          votes_text(member(site, "votes")),
          lag,
          gateway.empty() ? "–" : gateway,
          tiers,
          notes_text(site, agent)};
}

// When the plan that led here ended.
std::string since_text(const Json& status) {
  const Json& plan = member(status, "plan");
  const Json& history = member(plan, "history");
  if (text_of(plan, "step") != "done" || !history.is_array() || history.empty()) return "";
  if (text_of(plan, "to") != text_of(status, "active")) return "";
  return ", since " + text_of(history.back(), "entered");
}

std::string header(const Json& status) {
  std::string writer = text_of(status, "writer");
  std::string active = text_of(status, "active");
  std::string out = text_of(status, "platform") + ": ";
  if (writer.empty())
    out += "no site may write";
  else
    out += fmt::format("{} serves, epoch {}{}", writer, number_of(status, "epoch"),
                       since_text(status));
  if (!writer.empty() && !active.empty() && active != writer)
    out += fmt::format("; clients are still sent to {}", active);
  const Json& lease = member(status, "lease");
  if (member(lease, "unchanged_ms").is_number())
    out += fmt::format("\nlease: {}, last renewed {} ago",
                       text_of(lease, "holder").empty() ? "released" : text_of(lease, "holder"),
                       format_seconds(number_of(lease, "unchanged_ms") / 1000));
  out += "\nfailover mode: " + text_of(status, "mode");
  if (flag_of(status, "paused")) out += ", paused for maintenance";
  if (flag_of(status, "blocked")) out += ", blocked after a recent automatic failover";
  return out + "\n";
}

std::vector<std::string> why_not(const Json& failover) {
  std::vector<std::string> reasons;
  for (const Json& reason : member(failover, "why_not"))
    if (reason.is_string()) reasons.push_back(printable(reason.get_ref<const std::string&>()));
  if (reasons.empty()) reasons.emplace_back("no reason given");
  return reasons;
}

std::string loss_text(const Json& failover) {
  const Json& loss = member(failover, "estimated_loss_seconds");
  if (!loss.is_number()) return "an unknown amount would be lost";
  if (loss.get<double>() <= 0) return "nothing would be lost";
  return fmt::format("about {} would be lost", format_seconds(loss.get<double>()));
}

std::string outlook(const Json& status) {
  const Json& failover = member(status, "failover");
  if (flag_of(failover, "possible"))
    return fmt::format("failover now: yes → {}, {}\n", text_of(failover, "to"),
                       loss_text(failover));
  return fmt::format("failover now: no: {}\n", fmt::join(why_not(failover), "; "));
}

}  // namespace

std::string render_status(const Json& status, bool color) {
  std::string out = header(status) + "\n";
  std::vector<std::vector<std::string>> rows{
      {"SITE", "ROLE", "HEALTH", "VOTES", "LAG", "GATEWAY", "TIERS", "NOTES"}};
  for (const Json& site : member(status, "sites")) rows.push_back(site_row(site, color));
  out += columns(rows) + "\n";
  const Json& plan = member(status, "plan");
  std::string step = text_of(plan, "step");
  if (!step.empty() && step != "done" && step != "aborted") out += render_plan(plan) + "\n";
  const Json& proposal = member(status, "proposal");
  if (proposal.is_object())
    out += fmt::format("waiting for you: fail over {} → {} ({}); run: leeward failover\n",
                       text_of(proposal, "from"), text_of(proposal, "to"),
                       text_of(proposal, "why_not_automatic"));
  return out + outlook(status);
}

std::vector<std::string> complaints(const Json& status) {
  std::vector<std::string> found;
  if (text_of(status, "writer").empty()) found.emplace_back("no site may write");
  for (const Json& site : member(status, "sites")) {
    std::string health = text_of(site, "health");
    if (text_of(site, "role") != "witness" && health != "up")
      found.push_back(
          fmt::format("site {} is {}", text_of(site, "name"), health.empty() ? "unknown" : health));
  }
  const Json& failover = member(status, "failover");
  if (!flag_of(failover, "possible"))
    found.push_back(fmt::format("no failover possible: {}", fmt::join(why_not(failover), "; ")));
  return found;
}

std::string render_question(const Json& status, std::string_view verb, const std::string& to) {
  const Json& failover = member(status, "failover");
  std::string target = to.empty() ? text_of(failover, "to") : to;
  std::string out = fmt::format("{} {}", verb, text_of(status, "platform"));
  if (std::string writer = text_of(status, "writer"); !writer.empty()) out += " from " + writer;
  if (!target.empty()) out += " to " + target;
  out += "?";
  if (verb == "Fail over" && member(failover, "estimated_loss_seconds").is_number())
    out += fmt::format(" In this moment {}.", loss_text(failover));
  return out;
}

}  // namespace leeward::cli
