#include "console/api.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "console/status_json.h"
#include "model/json.h"

namespace leeward::console {
namespace {

using Json = nlohmann::json;
using Kind = control::OperatorRequest::Kind;

constexpr Duration kWaitMax = 30s;
constexpr std::size_t kEventsMax = 1000;

net::HttpResponse ok(std::string body) {
  net::HttpResponse response;
  response.body = std::move(body);
  return response;
}

// A query parameter that is a number; `otherwise` when absent.
Result<std::uint64_t> number(const net::HttpRequest& request, std::string_view name,
                             std::uint64_t otherwise) {
  std::string_view text = request.parameter(name);
  if (text.empty()) return otherwise;
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(Code::kInvalid, "{}={} is not a number", name, text);
  return value;
}

Result<Json> body_object(const net::HttpRequest& request) {
  Json json = request.body.empty() ? Json::object() : Json::parse(request.body, nullptr, false);
  if (!json.is_object())
    return fail(Code::kInvalid, "the body of {} is not a JSON object", request.path);
  return json;
}

Duration wait_of(std::uint64_t milliseconds) {
  return std::min<Duration>(
      kWaitMax, std::chrono::milliseconds(std::min<std::uint64_t>(milliseconds, 60'000)));
}

}  // namespace

Api::Api(const Platform& platform, Tokens tokens, ControlService& service, Registry& registry)
    : platform_(platform), tokens_(std::move(tokens)), service_(service), registry_(registry) {}

void Api::handle(const net::HttpRequest& request, net::Responder respond) {
  route(request, respond);
}

void Api::route(const net::HttpRequest& request, net::Responder& respond) {
  auto refuse = [&](Error error) { respond(net::error_response(error)); };
  bool get = request.method == "GET";
  const std::string& path = request.path;
  if (get && path == "/healthz") return respond(ok("{\"ok\":true}"));
  if (get && path == "/metrics") {
    net::HttpResponse response = ok(registry_.prometheus_text());
    response.content_type = "text/plain; version=0.0.4";
    return respond(std::move(response));
  }
  bool for_agents = path == "/v1/state" || path == "/v1/lease" || path == "/v1/reports";
  if (auto allowed = authorize(request, tokens_, for_agents ? Role::kAgent : Role::kOperator);
      !allowed)
    return refuse(allowed.error());
  if (get && path == "/v1/state") return get_state(request, std::move(respond));
  if (get && path == "/v1/status")
    return respond(ok(status_json(platform_, service_.core(), service_.now())));
  if (get && path == "/v1/plan") return respond(ok(plan_json(platform_, service_.core())));
  if (get && path == "/v1/lag") return respond(ok(service_.lag().json(platform_)));
  if (get && path == "/v1/events") return get_events(request, std::move(respond));
  if (request.method == "POST") {
    if (path == "/v1/lease") return post_lease(request, std::move(respond));
    if (path == "/v1/reports") return post_reports(request, std::move(respond));
    if (path == "/v1/failover") return post_move(request, Kind::kFailover, std::move(respond));
    if (path == "/v1/switchover") return post_move(request, Kind::kSwitchover, std::move(respond));
    if (path == "/v1/failback") return post_move(request, Kind::kFailback, std::move(respond));
    if (path == "/v1/maintenance") return post_maintenance(request, std::move(respond));
    if (path == "/v1/degrade") {
      control::OperatorRequest q;
      q.kind = Kind::kDegrade;
      return operate(std::move(q), std::move(respond));
    }
  }
  refuse(Error{Code::kNotFound, fmt::format("there is no {} {}", request.method, path)});
}

void Api::get_state(const net::HttpRequest& request, net::Responder respond) {
  auto after = number(request, "after", 0);
  auto wait = number(request, "wait_ms", 0);
  auto dns_epoch = number(request, "dns_epoch", 0);
  for (const auto* n : {&after, &wait, &dns_epoch})
    if (!*n) return respond(net::error_response(n->error()));
  std::string_view site_name = request.parameter("site");
  if (!site_name.empty() && *dns_epoch != 0) {
    auto site = platform_.find_site(site_name);
    if (!site)
      return respond(
          net::error_response({Code::kInvalid, fmt::format("unknown site '{}'", site_name)}));
    service_.dns_answers(*site, Epoch{*dns_epoch});
  }
  service_.wait_for_record(*after, wait_of(*wait), [this, respond = std::move(respond)] {
    const ServiceRecord& record = service_.core().record();
    respond(
        ok(Json{{"version", record.version}, {"record", encode_json(platform_, record)}}.dump()));
  });
}

void Api::get_events(const net::HttpRequest& request, net::Responder respond) {
  auto after = number(request, "after", 0);
  auto limit = number(request, "limit", 100);
  auto wait = number(request, "wait_ms", 0);
  for (const auto* n : {&after, &limit, &wait})
    if (!*n) return respond(net::error_response(n->error()));
  service_.wait_for_events(
      *after, std::clamp<std::size_t>(*limit, 1, kEventsMax), wait_of(*wait),
      [this, respond = std::move(respond)](Result<std::vector<EventRecord>> events) {
        if (!events) return respond(net::error_response(events.error()));
        Json list = Json::array();
        for (const EventRecord& e : *events) list.push_back(encode_json(platform_, e));
        respond(ok(Json{{"events", std::move(list)}}.dump()));
      });
}

void Api::post_lease(const net::HttpRequest& request, net::Responder respond) {
  auto json = body_object(request);
  if (!json) return respond(net::error_response(json.error()));
  auto invalid = [&](std::string_view what) {
    respond(net::error_response({Code::kInvalid, fmt::format("/v1/lease: {}", what)}));
  };
  const Json& site_json = (*json)["site"];
  const Json& op_json = (*json)["op"];
  const Json& epoch_json = (*json)["epoch"];
  if (!site_json.is_string() || !op_json.is_string() || !epoch_json.is_number_unsigned())
    return invalid("needs site, op and epoch");
  auto site = platform_.find_site(site_json.get<std::string>());
  if (!site) return invalid("unknown site");
  std::string op_name = op_json.get<std::string>();
  control::LeaseOp op;
  if (op_name == "acquire") {
    op = control::LeaseOp::kAcquire;
  } else if (op_name == "renew") {
    op = control::LeaseOp::kRenew;
  } else if (op_name == "release") {
    op = control::LeaseOp::kRelease;
  } else {
    return invalid("op is acquire, renew or release");
  }
  service_.lease(
      *site, op, Epoch{epoch_json.get<std::uint64_t>()},
      [respond = std::move(respond)](control::LeaseOutcome outcome) {
        constexpr std::string_view kNames[] = {"granted", "superseded", "not_yet", "not_yet"};
        respond(ok(fmt::format(R"({{"outcome":"{}"}})", kNames[static_cast<int>(outcome)])));
      });
}

void Api::post_reports(const net::HttpRequest& request, net::Responder respond) {
  auto json = body_object(request);
  if (!json) return respond(net::error_response(json.error()));
  const Json& agent_json = (*json)["agent"];
  const Json& vantage_json = (*json)["vantage"];
  // Both are read before either is believed: a report counts whole or not at all.
  Result<AgentReport> agent = AgentReport{};
  Result<VantageReport> vantage = VantageReport{};
  if (!agent_json.is_null()) agent = decode_json<AgentReport>(platform_, agent_json);
  if (!vantage_json.is_null()) vantage = decode_json<VantageReport>(platform_, vantage_json);
  if (!agent) return respond(net::error_response(std::move(agent.error()).wrap("agent")));
  if (!vantage) return respond(net::error_response(std::move(vantage.error()).wrap("vantage")));
  auto bad_site = [](SiteId site) { return site == kNoSite; };
  if ((!agent_json.is_null() && bad_site(agent->site)) ||
      (!vantage_json.is_null() && bad_site(vantage->vantage)))
    return respond(net::error_response({Code::kInvalid, "/v1/reports: a report names no site"}));
  if (!vantage_json.is_null()) service_.vantage_report(*vantage);
  if (!agent_json.is_null()) service_.agent_report(*agent);
  respond(ok("{}"));
}

void Api::post_move(const net::HttpRequest& request, Kind kind, net::Responder respond) {
  auto json = body_object(request);
  if (!json) return respond(net::error_response(json.error()));
  control::OperatorRequest q;
  q.kind = kind;
  const Json& to = (*json)["to"];
  if (!to.is_null()) {
    auto site = to.is_string() ? platform_.find_site(to.get<std::string>()) : std::nullopt;
    if (!site)
      return respond(
          net::error_response({Code::kInvalid, fmt::format("unknown site {}", to.dump())}));
    q.to = *site;
  }
  auto flag = [&](const char* name) { return json->contains(name) && (*json)[name] == true; };
  q.accept_loss = flag("accept_loss");
  q.override_block = flag("override_block");
  if (const Json& reason = (*json)["reason"]; reason.is_string())
    q.reason = reason.get<std::string>().substr(0, 500);
  operate(std::move(q), std::move(respond));
}

void Api::post_maintenance(const net::HttpRequest& request, net::Responder respond) {
  auto json = body_object(request);
  if (!json) return respond(net::error_response(json.error()));
  const Json& paused = (*json)["paused"];
  if (!paused.is_boolean())
    return respond(
        net::error_response({Code::kInvalid, "/v1/maintenance needs {\"paused\": true or false}"}));
  control::OperatorRequest q;
  q.kind = paused.get<bool>() ? Kind::kPause : Kind::kResume;
  operate(std::move(q), std::move(respond));
}

void Api::operate(control::OperatorRequest q, net::Responder respond) {
  service_.operate(std::move(q), [this, respond = std::move(respond)](Result<std::string> result) {
    if (!result) return respond(net::error_response(result.error()));
    Json json = Json::parse(plan_json(platform_, service_.core()));
    json["message"] = *result;
    respond(ok(json.dump()));
  });
}

}  // namespace leeward::console
