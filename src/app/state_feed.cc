#include "app/state_feed.h"

#include <nlohmann/json.hpp>

#include "model/json.h"

namespace leeward::app {

StateFeed::StateFeed(net::EventLoop& loop, net::HttpClient& http, const Context& context,
                     std::function<void(const ServiceRecord&)> on_record,
                     std::function<Epoch()> dns_epoch)
    : loop_(loop),
      http_(http),
      context_(context),
      logger_(context.logger),
      on_record_(std::move(on_record)),
      dns_epoch_(std::move(dns_epoch)) {
  again(0ms);
}

StateFeed::~StateFeed() { *alive_ = false; }

void StateFeed::again(Duration delay) {
  loop_.call_after(delay, [this, alive = alive_] {
    if (*alive) poll();
  });
}

void StateFeed::poll() {
  net::HttpRequest request;
  request.path = "/v1/state";
  request.query = {{"after", fmt::format("{}", version_)},
                   {"wait_ms", fmt::format("{}", std::chrono::milliseconds(kWait / 1ms).count())},
                   {"site", context_.site().name}};
  if (dns_epoch_) request.query["dns_epoch"] = fmt::format("{}", dns_epoch_().value);
  request.headers["Authorization"] = "Bearer " + context_.tokens.agent;
  http_.send(context_.platform.control.listen, std::move(request), kTimeout,
             [this, alive = alive_](Result<net::HttpResponse> response) {
               if (*alive) received(std::move(response));
             });
}

void StateFeed::received(Result<net::HttpResponse> response) {
  auto lost = [&](const std::string& why) {
    connected_ = false;
    // After a restart of control its store may be another one: begin from nothing.
    version_ = 0;
    if (!said_lost_)
      logger_.warn("control cannot be reached; going on with what is known", {{"why", why}});
    said_lost_ = true;
    again(kRetry);
  };
  if (!response) return lost(response.error().message);
  if (response->status != 200) return lost(net::error_from_response(*response).message);
  auto json = nlohmann::json::parse(response->body, nullptr, false);
  if (!json.is_object() || !json.contains("record") || !json["version"].is_number_unsigned())
    return lost("the answer is not a record");
  auto record = decode_json<ServiceRecord>(context_.platform, json["record"]);
  if (!record) return lost(record.error().message);
  record->version = json["version"].get<std::uint64_t>();
  if (said_lost_) logger_.info("control answers again");
  said_lost_ = false;
  connected_ = true;
  bool news = record->version != version_;
  version_ = record->version;
  on_record_(*record);
  again(news ? 0ms : 1ms);
}

}  // namespace leeward::app
