#include "app/instance_feed.h"

#include <nlohmann/json.hpp>

namespace leeward::app {
namespace {

using Json = nlohmann::json;

constexpr Duration kWait = 2s;     // of a long poll
constexpr Duration kTimeout = 4s;  // then the agent is taken to be away
constexpr Duration kRetry = 200ms;

}  // namespace

InstanceFeed::InstanceFeed(net::EventLoop& loop, net::HttpClient& http, const Context& context,
                           OnReady on_ready)
    : loop_(loop),
      http_(http),
      context_(context),
      logger_(context.logger),
      on_ready_(std::move(on_ready)) {
  bool any = false;
  for (const Tier& tier : context.platform.tiers) any |= tier.scaling.has_value();
  if (!any) return;
  for (SiteId site : context.platform.workload_sites()) {
    auto source = std::make_unique<Source>();
    source->site = site;
    for (const Tier& tier : context.platform.tiers) {
      if (!tier.scaling) continue;
      std::vector<bool> ready(static_cast<std::size_t>(tier.slots()));
      for (int i = 0; i < tier.slots(); ++i)
        ready[static_cast<std::size_t>(i)] = i < tier.instances;
      source->ready[tier.name] = ready;
      on_ready_(site, tier, ready);
    }
    sources_.push_back(std::move(source));
    again(*sources_.back(), 0ms);
  }
}

InstanceFeed::~InstanceFeed() { *alive_ = false; }

void InstanceFeed::repeat() const {
  for (const auto& source : sources_)
    for (const Tier& tier : context_.platform.tiers)
      if (auto known = source->ready.find(tier.name); known != source->ready.end())
        on_ready_(source->site, tier, known->second);
}

void InstanceFeed::again(Source& source, Duration delay) {
  loop_.call_after(delay, [this, &source, alive = alive_] {
    if (*alive) poll(source);
  });
}

void InstanceFeed::poll(Source& source) {
  net::HttpRequest request;
  request.path = "/v1/instances";
  request.query = {{"life", source.life},
                   {"after", fmt::format("{}", source.version)},
                   {"wait_ms", fmt::format("{}", kWait / 1ms)}};
  request.headers["Authorization"] = "Bearer " + context_.tokens.agent;
  Endpoint agent{context_.platform.site(source.site).address, context_.platform.agent_port};
  http_.send(agent, std::move(request), kTimeout,
             [this, &source, alive = alive_](Result<net::HttpResponse> response) {
               if (!*alive) return;
               Status taken;
               if (!response)
                 taken = fail(response.error());
               else if (response->status != 200)
                 taken = fail(net::error_from_response(*response));
               else
                 taken = take(source, response->body);
               if (!taken && !source.said_lost)
                 logger_.warn("an agent does not tell its instances; the last ones stay",
                              {{"site", context_.platform.site(source.site).name},
                               {"why", taken.error().message}});
               source.said_lost = !taken;
               again(source, taken ? 1ms : kRetry);
             });
}

Status InstanceFeed::take(Source& source, const std::string& body) {
  Json json = Json::parse(body, nullptr, false);
  bool sound = json.is_object() && json["life"].is_string() &&
               json["version"].is_number_unsigned() && json["tiers"].is_object();
  if (!sound) return fail(Code::kCorrupt, "the answer is not a list of instances");
  for (const Tier& tier : context_.platform.tiers) {
    auto known = source.ready.find(tier.name);
    if (known == source.ready.end() || !json["tiers"].contains(tier.name)) continue;
    const Json& theirs = json["tiers"][tier.name];
    if (!theirs.is_object() || !theirs.contains("ready") || !theirs["ready"].is_array())
      return fail(Code::kCorrupt, "the instances of tier '{}' are not a list", tier.name);
    std::vector<bool> ready(static_cast<std::size_t>(tier.slots()));
    for (const Json& number : theirs["ready"])
      if (number.is_number_unsigned() && number.get<std::uint64_t>() < ready.size())
        ready[number.get<std::size_t>()] = true;
    if (ready == known->second) continue;
    known->second = ready;
    on_ready_(source.site, tier, ready);
  }
  source.life = json["life"].get<std::string>();
  source.version = json["version"].get<std::uint64_t>();
  return {};
}

}  // namespace leeward::app
