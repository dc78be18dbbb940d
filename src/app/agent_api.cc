#include "app/agent_api.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leeward::app {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kEntriesMax = 1000;  // of the ledger in one answer
constexpr std::size_t kPageBytes = 4u << 20;

net::HttpResponse ok(std::string body) {
  net::HttpResponse response;
  response.body = std::move(body);
  return response;
}

// A page of the list: what stands after entry `after`, at most kEntriesMax and some kPageBytes.
Result<std::string> list_entries(database::Ledger& ledger, const database::ReplayTarget& target,
                                 const std::string& site, const std::string& after) {
  const auto& list = ledger.list();
  auto next = list.begin();
  if (!after.empty()) {
    next = std::find_if(list.begin(), list.end(),
                        [&](const auto& entry) { return entry.id == after; });
    if (next == list.end()) return fail(Code::kNotFound, "the ledger has no entry {}", after);
    ++next;
  }
  std::string entries;
  std::size_t count = 0;
  for (; next != list.end() && count < kEntriesMax && entries.size() < kPageBytes;
       ++next, ++count) {
    auto entry = ledger.show(next->id);
    if (!entry) return fail(std::move(entry.error()));
    // The list is worth showing even when the writer cannot be asked what changed since.
    bool open = entry->state == database::LedgerState::kOpen;
    auto checked = open ? database::check_entry(*entry, target) : entry;
    entries += (count == 0 ? "" : ",") + database::to_json(checked ? *checked : *entry);
  }
  return fmt::format(R"({{"site":{},"total":{},"more":{},"entries":[{}]}})", Json(site).dump(),
                     list.size(), next != list.end(), entries);
}

}  // namespace

void AgentApi::handle(const net::HttpRequest& request, net::Responder respond) {
  auto refuse = [&](const Error& error) { respond(net::error_response(error)); };
  if (request.method == "GET" && request.path == "/healthz") return respond(ok("{\"ok\":true}"));
  if (request.method == "GET" && request.path == "/metrics") {
    net::HttpResponse response = ok(registry_.prometheus_text());
    response.content_type = "text/plain; version=0.0.4";
    return respond(std::move(response));
  }
  bool promise = request.path == "/v1/promise";
  auto needed = promise ? console::Role::kAgent : console::Role::kOperator;
  if (auto allowed = console::authorize(request, context_.tokens, needed); !allowed)
    return refuse(allowed.error());
  if (promise && request.method == "POST") return post_promise(request, std::move(respond));
  if (request.method == "POST" && request.path == "/v1/node/primary")
    return post_node(request, std::move(respond));
  if (request.path == "/v1/ledger" || request.path.starts_with("/v1/ledger/"))
    return ledger(request, std::move(respond));
  if (request.path == "/v1/rejoin") return rejoin(request, std::move(respond));
  refuse({Code::kNotFound, fmt::format("there is no {} {}", request.method, request.path)});
}

void AgentApi::post_promise(const net::HttpRequest& request, net::Responder respond) {
  Json json = Json::parse(request.body, nullptr, false);
  auto invalid = [&](std::string_view what) {
    respond(net::error_response({Code::kInvalid, fmt::format("/v1/promise: {}", what)}));
  };
  if (!json.is_object() || !json["from"].is_string() || !json["epoch"].is_number_unsigned())
    return invalid("needs from and epoch");
  auto from = context_.platform.find_site(json["from"].get<std::string>());
  if (!from || *from == context_.self) return invalid("'from' is not another site");
  promise_(*from, Epoch{json["epoch"].get<std::uint64_t>()},
           [respond = std::move(respond)](bool granted) {
             respond(ok(granted ? R"({"granted":true})" : R"({"granted":false})"));
           });
}

void AgentApi::rejoin(const net::HttpRequest& request, net::Responder respond) {
  auto answer = [&] { respond(ok(databases_.rejoin().json(BootClock::now()))); };
  auto refuse = [&](const Error& error) { respond(net::error_response(error)); };
  if (request.method == "GET") return answer();
  if (request.method != "POST")
    return refuse({Code::kNotFound, fmt::format("there is no {} /v1/rejoin", request.method)});
  Json json = Json::parse(request.body, nullptr, false);
  std::string how =
      json.is_object() && json["how"].is_string() ? json["how"].get<std::string>() : "";
  if (how != "rewind" && how != "reseed")
    return refuse({Code::kInvalid, "/v1/rejoin: how is rewind or reseed"});
  auto asked = rejoin_(how == "reseed" ? control::Rejoin::kReseed : control::Rejoin::kRewind);
  if (!asked) return refuse(asked.error());
  answer();
}

void AgentApi::post_node(const net::HttpRequest& request, net::Responder respond) {
  Json json = Json::parse(request.body, nullptr, false);
  bool sound =
      json.is_object() && json.contains("node") && (json["node"] == 1 || json["node"] == 2);
  if (!sound)
    return respond(net::error_response({Code::kInvalid, "/v1/node/primary: needs node, 1 or 2"}));
  int node = json["node"].get<int>();
  std::string why = node_(node == 1 ? kFirstNode : kSecondNode);
  if (!why.empty())
    return respond(net::error_response(
        {Code::kRefused, fmt::format("node {} of site {}: {}", node, context_.site().name, why)}));
  respond(ok(R"({"begun":true})"));
}

void AgentApi::ledger(const net::HttpRequest& request, net::Responder respond) {
  auto done = [respond](Result<std::string> result) {
    respond(result ? ok(*result) : net::error_response(result.error()));
  };
  std::string site = context_.site().name;
  if (request.path == "/v1/ledger") {
    if (request.method != "GET")
      return done(fail(Code::kNotFound, "there is no {} /v1/ledger", request.method));
    return databases_.with_ledger(
        [site, after = std::string(request.parameter("after"))](
            database::Ledger& ledger, const database::ReplayTarget& target) {
          return list_entries(ledger, target, site, after);
        },
        done);
  }
  std::string id = request.path.substr(std::string_view("/v1/ledger/").size());
  std::string action;
  if (auto slash = id.find('/'); slash != std::string::npos) {
    action = id.substr(slash + 1);
    id.resize(slash);
  }
  bool show = request.method == "GET" && action.empty();
  bool change = request.method == "POST" && (action == "replay" || action == "discard");
  if (!show && !change)
    return done(fail(Code::kNotFound, "there is no {} {}", request.method, request.path));
  Json body = request.body.empty() ? Json::object() : Json::parse(request.body, nullptr, false);
  if (!body.is_object())
    return done(fail(Code::kInvalid, "the body of {} is not a JSON object", request.path));
  bool force = body.contains("force") && body["force"] == true;
  databases_.with_ledger(
      [=](database::Ledger& ledger, const database::ReplayTarget& target) -> Result<std::string> {
        Status changed;
        if (action == "replay") changed = database::replay_entry(ledger, id, target, force);
        auto before = ledger.show(id);
        if (!before) return fail(before.error());
        if (action == "discard" && before->state != database::LedgerState::kOpen)
          return fail(Code::kRefused, "{} is {} already", id, database::name(before->state));
        if (action == "discard") changed = ledger.mark(id, database::LedgerState::kDiscarded);
        if (!changed) return fail(changed.error());
        auto entry = ledger.show(id);
        if (!entry) return fail(entry.error());
        auto checked = action.empty() ? database::check_entry(*entry, target) : entry;
        return database::to_json(checked ? *checked : *entry);
      },
      done);
}

}  // namespace leeward::app
