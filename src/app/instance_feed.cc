#include "app/instance_feed.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leeward::app {
namespace {

using Json = nlohmann::json;

constexpr Duration kWait = 2s;     // of a long poll
constexpr Duration kTimeout = 4s;  // then the agent is taken to be away
constexpr Duration kRetry = 200ms;

// One entry an origin of the tier at `site`, in the edge's order: its functions, if it has any
// there, then its instances. Functions are asked only while no instance is ready.
std::vector<bool> ready_origins(const Site& site, const Tier& tier, bool functions,
                                std::vector<bool> instances) {
  if (!tier.functions_at(site)) return instances;
  const bool none = std::find(instances.begin(), instances.end(), true) == instances.end();
  instances.insert(instances.begin(), functions && none);
  return instances;
}

}  // namespace

InstanceFeed::InstanceFeed(net::EventLoop& loop, net::HttpClient& http, const Context& context,
                           OnReady on_ready)
    : loop_(loop),
      http_(http),
      context_(context),
      logger_(context.logger),
      on_ready_(std::move(on_ready)) {
  for (SiteId id : context.platform.workload_sites()) {
    const Site& site = context.platform.site(id);
    auto source = std::make_unique<Source>();
    source->site = id;
    for (const Tier& tier : context.platform.tiers) {
      if (!tier.followed_at(site)) continue;
      // Until the agent has said something: functions where there are some.
      const bool functions = tier.functions_at(site);
      std::vector<bool> instances(static_cast<std::size_t>(tier.slots_at(site)));
      for (std::size_t i = 0; i < instances.size(); ++i)
        instances[i] = !functions && i < static_cast<std::size_t>(tier.instances);
      std::vector<bool> ready = ready_origins(site, tier, functions, std::move(instances));
      source->ready[tier.name] = ready;
      on_ready_(id, tier, ready);
    }
    if (source->ready.empty()) continue;
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
    const Site& site = context_.platform.site(source.site);
    std::vector<bool> instances(static_cast<std::size_t>(tier.slots_at(site)));
    for (const Json& number : theirs["ready"])
      if (number.is_number_unsigned() && number.get<std::uint64_t>() < instances.size())
        instances[number.get<std::size_t>()] = true;
    const bool functions = theirs.contains("functions") && theirs["functions"] == true;
    std::vector<bool> ready = ready_origins(site, tier, functions, std::move(instances));
    if (ready == known->second) continue;
    known->second = ready;
    on_ready_(source.site, tier, ready);
  }
  source.life = json["life"].get<std::string>();
  source.version = json["version"].get<std::uint64_t>();
  return {};
}

}  // namespace leeward::app
