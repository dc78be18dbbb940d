#include "app/replicate_api.h"

#include <nlohmann/json.hpp>

#include "app/replicate_json.h"
#include "console/auth.h"

namespace leeward::app {
namespace {

using Json = nlohmann::json;

net::HttpResponse ok(std::string body) {
  net::HttpResponse response;
  response.body = std::move(body);
  return response;
}

}  // namespace

void ReplicateApi::handle(net::HttpRequest request, net::Responder respond) {
  auto is = [&](std::string_view method, std::string_view path) {
    return request.method == method && request.path == path;
  };
  if (is("GET", "/healthz")) return respond(ok("{\"ok\":true}"));
  if (is("GET", "/metrics")) {
    net::HttpResponse response = ok(metrics_.prometheus_text());
    response.content_type = "text/plain; version=0.0.4";
    return respond(std::move(response));
  }
  console::Tokens tokens;
  tokens.operator_ = token_;
  if (auto allowed = console::authorize(request, tokens, console::Role::kOperator); !allowed)
    return respond(net::error_response(allowed.error()));
  if (is("GET", "/v1/status")) return get_status(request, respond);
  if (is("GET", "/v1/verify")) return respond(ok(verify_json(runner_.snapshot().verify)));
  if (is("POST", "/v1/pause")) return run([this] { return runner_.pause(); }, std::move(respond));
  if (is("POST", "/v1/resume")) return run([this] { return runner_.resume(); }, std::move(respond));
  if (is("POST", "/v1/verify")) return post_verify(request, respond);
  if (is("DELETE", "/v1/verify")) {
    runner_.cancel_verify();
    return respond(ok("{\"ok\":true}"));
  }
  respond(net::error_response(
      {Code::kNotFound, fmt::format("there is no {} {}", request.method, request.path)}));
}

void ReplicateApi::get_status(const net::HttpRequest& request, const net::Responder& respond) {
  Duration back{};
  if (std::string text(request.parameter("history")); !text.empty()) {
    auto parsed = parse_duration(text);
    if (!parsed) return respond(net::error_response(std::move(parsed.error()).wrap("history")));
    back = *parsed;
  }
  auto history = back > 0s ? runner_.history(back) : std::vector<LagSample>();
  respond(ok(status_json(task_, runner_.snapshot(), history)));
}

void ReplicateApi::post_verify(const net::HttpRequest& request, const net::Responder& respond) {
  Json json = Json::parse(request.body, nullptr, false);
  auto invalid = [&](std::string_view what) {
    respond(net::error_response({Code::kInvalid, fmt::format("/v1/verify: {}", what)}));
  };
  if (!json.is_object()) return invalid("the body is not a JSON object");
  replication::VerifyOptions options;
  options.chunk_rows = task_.verify.chunk_rows;
  for (const Json& table : json.value("tables", Json::array())) {
    if (!table.is_string()) return invalid("`tables` is a list of SCHEMA.TABLE");
    options.tables.push_back(table.get<std::string>());
  }
  Json repair = json.value("repair", Json(false));
  if (!repair.is_boolean()) return invalid("`repair` is true or false");
  options.repair = repair.get<bool>();
  auto begun = runner_.begin_verify(std::move(options));
  respond(begun ? ok("{\"ok\":true}") : net::error_response(begun.error()));
}

void ReplicateApi::run(std::function<Status()> work, net::Responder respond) {
  auto queued = pool_.submit([work = std::move(work), respond] {
    auto done = work();
    respond(done ? ok("{\"ok\":true}") : net::error_response(done.error()));
  });
  if (!queued) respond(net::error_response(queued.error()));
}

}  // namespace leeward::app
