#include "app/tier_scaler.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/scaling_json.h"
#include "app/tier_functions.h"
#include "base/file.h"
#include "base/token.h"
#include "console/auth.h"

namespace leeward::app {
namespace {

using Json = nlohmann::json;

constexpr Duration kSaveEvery = 1min;
constexpr Duration kAskPeersEvery = 10s;
constexpr Duration kPeerTimeout = 1s;
constexpr Duration kWaitMax = 30s;
constexpr Duration kSetForMax = 30 * 24h;
constexpr std::size_t kLogLinesBytesMax = 4u << 20;
constexpr std::size_t kMemoryBytesMax = 4u << 20;

net::HttpResponse ok(const Json& body) {
  net::HttpResponse response;
  response.body = body.dump();
  return response;
}

}  // namespace

TierScaler::TierState::TierState(const Tier& t, net::HttpClient& http, const Context& context)
    : tier(t), core(*t.scaling, t.instances), samples(http, context, t) {}

TierScaler::TierScaler(net::EventLoop& loop, net::HttpClient& http, const Context& context,
                       compute::Supervisor& supervisor, Registry& registry)
    : loop_(loop),
      http_(http),
      context_(context),
      supervisor_(supervisor),
      logger_(context.logger.with("scaling")),
      path_(context.state + "/scaling.json"),
      log_(context.state + "/log/scaling.log", kLogLinesBytesMax),
      life_(random_token().value_or("")) {
  for (const Tier& tier : context.platform.tiers) {
    if (!tier.scaling || tier.slots_at(context.site()) == 0) continue;
    tiers_.push_back(std::make_unique<TierState>(tier, http, context));
    Labels labels{{"tier", tier.name}};
    tiers_.back()->desired =
        &registry.gauge("leeward_scaling_desired", "Instances that the autoscaler wants", labels);
    tiers_.back()->predicted =
        &registry.gauge("leeward_scaling_predicted", "Instances that the forecast expects", labels);
  }
  published_ = ready_set();
  if (tiers_.empty()) return;
  load();
  ask_peers();
  save();
}

TierScaler::~TierScaler() {
  for (auto& t : tiers_) loop_.cancel(t->timer);
  for (net::TimerId timer : {peer_timer_, save_timer_, waiter_timer_}) loop_.cancel(timer);
}

TierScaler::TierState* TierScaler::find(std::string_view tier) {
  for (auto& t : tiers_)
    if (t->tier.name == tier) return t.get();
  return nullptr;
}

// ------------------------------------------------------------------------------------- memory

void TierScaler::load() {
  auto text = read_file(path_, kMemoryBytesMax);
  if (!text && text.error().code == Code::kNotFound) return;
  Json json = text ? Json::parse(*text, nullptr, false) : Json();
  auto begin_anew = [&](const std::string& why) {
    logger_.warn("what the autoscaler knew cannot be read; it begins anew",
                 {{"file", path_}, {"why", why}});
  };
  if (!text) return begin_anew(text.error().message);
  if (!json.is_object() || !json["tiers"].is_object() || !json["epoch"].is_number_unsigned())
    return begin_anew("not what it should be");
  epoch_ = Epoch{json["epoch"].get<std::uint64_t>()};
  for (auto& t : tiers_) {
    if (!json["tiers"].contains(t->tier.name)) continue;
    const Json& own = json["tiers"][t->tier.name];
    auto memory = decode_scaling(own);
    if (!memory) {
      begin_anew(memory.error().message);
      continue;
    }
    t->core.restore(*memory, clock_.now());
    if (own.contains("peer_peak") && own["peer_peak"].is_number_unsigned())
      t->peer_peak = static_cast<int>(std::min<std::uint64_t>(own["peer_peak"].get<std::uint64_t>(),
                                                              ScalingSpec::kInstancesMax));
  }
}

void TierScaler::save() {
  loop_.cancel(save_timer_);
  save_timer_ = loop_.call_after(kSaveEvery, [this] { save(); });
  Json json{{"epoch", epoch_.value}, {"tiers", Json::object()}};
  for (const auto& t : tiers_) {
    Json own = encode_scaling(t->core.memory(clock_.now()));
    if (t->peer_peak) own["peer_peak"] = *t->peer_peak;
    json["tiers"][t->tier.name] = std::move(own);
  }
  if (auto saved = write_file_durably(path_, json.dump()); !saved)
    logger_.warn("what the autoscaler knows cannot be saved", {{"why", saved.error().message}});
}

// ---------------------------------------------------------------------------------- decisions

void TierScaler::follow(bool serving, Epoch epoch) {
  if (serving == serving_) return;
  serving_ = serving;
  if (tiers_.empty()) return;
  // The same epoch: only this process was away, and what it had decided still holds.
  bool takes_over = serving && epoch != epoch_;
  bool first_ever = epoch_.value == 0;
  if (takes_over) epoch_ = epoch;
  for (auto& t : tiers_) {
    loop_.cancel(t->timer);
    if (takes_over)
      t->core.activate(clock_.now(), t->peer_peak, !first_ever || t->peer_peak.has_value());
    if (serving) {
      if (takes_over && t->peer_peak)
        logger_.info(
            "begins with what the other site needed",
            {{"tier", t->tier.name}, {"peak", *t->peer_peak}, {"instances", t->core.desired()}});
      apply(*t);
      arm(*t, t->core.spec().interval);
      continue;
    }
    t->core.deactivate();
    // A warm standby has its configured number; a cold one has none whatever is said here.
    if (auto scaled = supervisor_.scale(t->tier.name, t->tier.instances); !scaled)
      logger_.error("cannot scale", {{"why", scaled.error().message}});
  }
  save();
  instances_changed();
}

void TierScaler::arm(TierState& t, Duration delay) {
  t.timer = loop_.call_after(delay, [this, &t] {
    arm(t, t.core.spec().interval);
    sample(t);
  });
}

void TierScaler::sample(TierState& t) {
  if (t.sampling) return;  // the last answers are still out: that is what a time-out is for
  t.sampling = true;
  BootTime now = BootClock::now();
  std::vector<compute::InstanceStatus> counted;
  for (compute::InstanceStatus& i : supervisor_.status()) {
    bool warm =
        i.state == compute::InstanceState::kReady && now - i.ready_since >= t.core.spec().warm_up;
    if (i.tier == t.tier.name && i.offered && warm) counted.push_back(std::move(i));
  }
  t.samples.take(std::move(counted), t.core.spec().interval / 2,
                 [this, &t](const std::vector<std::optional<double>>& samples) {
                   t.sampling = false;
                   if (serving_) decide(t, samples);
                 });
}

void TierScaler::decide(TierState& t, const std::vector<std::optional<double>>& samples) {
  compute::ScalingInput input;
  input.now = clock_.now();
  input.samples = samples;
  for (const compute::InstanceStatus& i : supervisor_.status()) {
    if (i.tier != t.tier.name || !i.wanted || !i.offered) continue;
    bool warm = i.state == compute::InstanceState::kReady &&
                input.now.boot - i.ready_since >= t.core.spec().warm_up;
    ++(warm ? input.counted : input.warming);
    input.protected_instances += i.is_protected;
  }
  compute::Decision decision = t.core.decide(input);
  record(t, decision);
  t.desired->set(decision.desired);
  if (decision.predicted) t.predicted->set(*decision.predicted);
  if (!decision.changed()) return;
  logger_.info("scales", {{"tier", t.tier.name}, {"why", explain(t.core.spec(), decision)}});
  apply(t);
  save();
}

// Kept when it changes the number, or when another reason keeps the number as it is.
void TierScaler::record(TierState& t, const compute::Decision& decision) {
  std::string reasons = fmt::format("{}", decision.desired);
  for (std::size_t i = 0; i < decision.policies; ++i)
    reasons += fmt::format(" {}", static_cast<int>(decision.proposals[i].reason));
  for (std::size_t i = 0; i < decision.reason_count; ++i)
    reasons += fmt::format(",{}", static_cast<int>(decision.reasons[i].why));
  if (!decision.changed() && reasons == t.last_text) return;
  t.last_text = std::move(reasons);
  t.history.push_back(encode_decision(t.core.spec(), decision).dump());
  if (t.history.size() > kHistoryMax) t.history.pop_front();
  log_.append(fmt::format("{} {} {}\n", format_wall(decision.at.wall), t.tier.name,
                          explain(t.core.spec(), decision)));
}

void TierScaler::apply(TierState& t) {
  std::map<int, std::uint64_t> busy;  // requests a second: the best that is known of its load
  for (const auto& [number, rate] : t.samples.requests())
    busy[number] = static_cast<std::uint64_t>(rate * 1000);
  if (auto scaled = supervisor_.scale(t.tier.name, t.core.desired(), busy); !scaled)
    logger_.error("cannot scale", {{"tier", t.tier.name}, {"why", scaled.error().message}});
  t.desired->set(t.core.desired());
}

// ------------------------------------------------------------------------------- other site

void TierScaler::ask_peers() {
  peer_timer_ = loop_.call_after(kAskPeersEvery, [this] { ask_peers(); });
  if (serving_) return;
  for (SiteId site : context_.platform.workload_sites()) {
    if (site == context_.self) continue;
    net::HttpRequest request;
    request.path = "/v1/instances";
    request.headers["Authorization"] = "Bearer " + context_.tokens.agent;
    Endpoint peer{context_.platform.site(site).address, context_.platform.agent_port};
    http_.send(peer, std::move(request), kPeerTimeout, [this](Result<net::HttpResponse> response) {
      if (response && response->status == 200) learn(response->body);
    });
  }
}

void TierScaler::learn(const std::string& body) {
  Json json = Json::parse(body, nullptr, false);
  if (!json.is_object() || json["serving"] != true || !json["tiers"].is_object()) return;
  for (auto& t : tiers_) {
    const Json& tiers = json["tiers"];
    if (!tiers.contains(t->tier.name) || !tiers[t->tier.name].is_object()) continue;
    const Json& theirs = tiers[t->tier.name];
    if (!theirs.contains("peak") || !theirs["peak"].is_number_unsigned()) continue;
    t->peer_peak = static_cast<int>(
        std::min<std::uint64_t>(theirs["peak"].get<std::uint64_t>(), ScalingSpec::kInstancesMax));
  }
}

// -------------------------------------------------------------------------------------- answers

bool TierScaler::answers(const net::HttpRequest& request) {
  return request.path == "/v1/instances" || request.path == "/v1/scale" ||
         request.path.starts_with("/v1/scale/");
}

std::string TierScaler::ready_set() const {
  Json tiers = Json::object();
  for (const Tier& tier : context_.platform.tiers) tiers[tier.name] = {{"ready", Json::array()}};
  const auto ready = supervisor_.ready_instances();
  for (const Tier& tier : context_.platform.tiers) {
    Json& numbers = tiers[tier.name]["ready"];
    bool functions = false;
    for (const auto& [name, number] : ready) {
      if (name == tier.name) numbers.push_back(number);
      functions |= name == functions_name(tier);
    }
    if (tier.functions_at(context_.site())) tiers[tier.name]["functions"] = functions;
  }
  for (const auto& t : tiers_) {
    tiers[t->tier.name]["desired"] = t->core.desired();
    if (auto peak = t->core.peak(clock_.now().wall)) tiers[t->tier.name]["peak"] = *peak;
  }
  return Json{{"site", context_.site().name}, {"serving", serving_}, {"tiers", tiers}}.dump();
}

void TierScaler::instances_changed() {
  std::string now = ready_set();
  if (now == published_) return;
  published_ = std::move(now);
  ++version_;
  answer_waiters(true);
}

void TierScaler::answer_waiters(bool all) {
  loop_.cancel(waiter_timer_);
  BootTime now = BootClock::now();
  std::vector<Waiter> waiting = std::exchange(waiters_, {});
  for (Waiter& w : waiting) {
    if (!all && now < w.until) {
      waiters_.push_back(std::move(w));
      continue;
    }
    Json json = Json::parse(published_);
    json["life"] = life_;
    json["version"] = version_;
    w.respond(ok(json));
  }
  if (waiters_.empty()) return;
  auto next = std::min_element(waiters_.begin(), waiters_.end(),
                               [](const Waiter& a, const Waiter& b) { return a.until < b.until; });
  waiter_timer_ = loop_.call_after(next->until - now, [this] { answer_waiters(false); });
}

void TierScaler::get_instances(const net::HttpRequest& request, net::Responder respond) {
  instances_changed();  // peaks change without an instance's doing
  auto number = [&](const char* name) {
    return std::strtoull(std::string(request.parameter(name)).c_str(), nullptr, 10);
  };
  Waiter waiter{number("after"), BootClock::now(), std::move(respond)};
  bool current = request.parameter("life") == life_ && waiter.after == version_;
  if (current && waiters_.size() < kWaitersMax)
    waiter.until += std::min<Duration>(
        std::chrono::milliseconds(std::min<std::uint64_t>(number("wait_ms"), 60'000)), kWaitMax);
  waiters_.push_back(std::move(waiter));
  answer_waiters(false);
}

void TierScaler::get_scale(const net::HttpRequest& request, const net::Responder& respond) {
  auto refuse = [&](Code code, const std::string& why) {
    respond(net::error_response({code, why}));
  };
  if (request.path == "/v1/scale/history") {
    TierState* t = find(request.parameter("tier"));
    if (t == nullptr)
      return refuse(Code::kNotFound,
                    fmt::format("there is no tier '{}' that scales", request.parameter("tier")));
    std::size_t limit = std::strtoull(std::string(request.parameter("limit")).c_str(), nullptr, 10);
    if (limit == 0 || limit > kHistoryMax) limit = kHistoryMax;
    Json decisions = Json::array();
    std::size_t first = t->history.size() - std::min(limit, t->history.size());
    for (std::size_t i = first; i < t->history.size(); ++i)
      decisions.push_back(Json::parse(t->history[i]));
    Json outcomes = Json::array();
    for (const compute::ForecastOutcome& o : t->core.forecast().outcomes())
      outcomes.push_back(
          {{"hour", format_wall(WallTime{std::chrono::hours(o.hour)} - t->core.spec().utc_offset)},
           {"predicted", o.predicted},
           {"actual", o.actual}});
    auto error = t->core.forecast().mean_error();
    return respond(ok({{"site", context_.site().name},
                       {"tier", t->tier.name},
                       {"decisions", decisions},
                       {"forecast", outcomes},
                       {"mean_error", error ? Json(*error) : Json()}}));
  }
  Json tiers = Json::array();
  std::vector<compute::InstanceStatus> all = supervisor_.status();
  for (auto& t : tiers_) {
    Json instances = Json::array();
    for (const compute::InstanceStatus& i : all) {
      if (i.tier != t->tier.name || (!i.wanted && i.pid == 0)) continue;
      instances.push_back({{"number", i.number},
                           {"state", name(i.state)},
                           {"protected", i.is_protected},
                           {"restarts", i.restarts},
                           {"memory_bytes", i.usage.memory_bytes.value_or(0)},
                           {"memory_kills", i.memory_kills},
                           {"last_exit", i.last_exit}});
    }
    Now now = clock_.now();
    auto peak = t->core.peak(now.wall);
    Json tier{{"tier", t->tier.name},
              {"min", t->core.spec().min},
              {"max", t->core.spec().max},
              {"desired", t->core.desired()},
              {"peak", peak ? Json(*peak) : Json()},
              {"other_site_peak", t->peer_peak ? Json(*t->peer_peak) : Json()},
              {"instances", instances},
              {"last", t->history.empty() ? Json() : Json::parse(t->history.back())}};
    if (const auto& bounds = t->core.bounds())
      tier["set"] = {{"min", bounds->min ? Json(*bounds->min) : Json()},
                     {"max", bounds->max ? Json(*bounds->max) : Json()},
                     {"until", format_wall(bounds->until)}};
    if (auto frozen = t->core.frozen_until(); frozen && *frozen > now.boot)
      tier["no_scale_in_until"] = format_wall(now.wall + (*frozen - now.boot));
    tiers.push_back(std::move(tier));
  }
  respond(ok({{"site", context_.site().name}, {"serving", serving_}, {"tiers", tiers}}));
}

void TierScaler::post_set(const net::HttpRequest& request, const net::Responder& respond) {
  Json json = Json::parse(request.body, nullptr, false);
  auto refuse = [&](Code code, const std::string& why) {
    respond(net::error_response({code, "/v1/scale/set: " + why}));
  };
  if (!json.is_object() || !json["tier"].is_string())
    return refuse(Code::kInvalid, "needs tier, and min, max and for_s, or clear");
  TierState* t = find(json["tier"].get<std::string>());
  if (t == nullptr) return refuse(Code::kNotFound, "no such tier scales");
  if (json.value("clear", Json()) == true) {
    t->core.set(std::nullopt);
  } else {
    compute::OperatorBounds bounds;
    for (auto [key, target] : {std::pair{"min", &bounds.min}, std::pair{"max", &bounds.max}}) {
      if (!json.contains(key) || json[key].is_null()) continue;
      if (!json[key].is_number_integer() || json[key] < 1 || json[key] > t->core.spec().max)
        return refuse(Code::kInvalid, fmt::format("{} is a number from 1 to the tier's max, {}",
                                                  key, t->core.spec().max));
      *target = json[key].get<int>();
    }
    if (!bounds.min && !bounds.max) return refuse(Code::kInvalid, "needs min, max or both");
    if (bounds.min && bounds.max && *bounds.min > *bounds.max)
      return refuse(Code::kInvalid, "min is more than max");
    double for_s = json["for_s"].is_number() ? json["for_s"].get<double>() : 0;
    if (!(for_s >= 1) || for_s > seconds(kSetForMax))
      return refuse(Code::kInvalid, "for_s is a number of seconds, up to 30 days");
    bounds.until = clock_.now().wall + std::chrono::milliseconds(std::llround(for_s * 1000));
    t->core.set(bounds);
  }
  logger_.info("an operator sets the bounds", {{"tier", t->tier.name}, {"body", json.dump()}});
  save();
  if (serving_) sample(*t);  // now, not at the next interval
  respond(ok({{"set", true}, {"serving", serving_}}));
}

void TierScaler::post_protect(const net::HttpRequest& request, const net::Responder& respond) {
  Json json = Json::parse(request.body, nullptr, false);
  if (!json.is_object() || !json["tier"].is_string() || !json["number"].is_number_integer() ||
      !json["on"].is_boolean() || json["number"] < 0 || json["number"] > ScalingSpec::kInstancesMax)
    return respond(
        net::error_response({Code::kInvalid, "/v1/scale/protect: needs tier, number and on"}));
  auto done = supervisor_.protect(json["tier"].get<std::string>(), json["number"].get<int>(),
                                  json["on"].get<bool>());
  if (!done) return respond(net::error_response(done.error()));
  respond(ok({{"protected", json["on"]}}));
}

void TierScaler::handle(net::HttpRequest request, net::Responder respond) {
  bool instances = request.path == "/v1/instances";
  auto needed = instances ? console::Role::kAgent : console::Role::kOperator;
  if (auto allowed = console::authorize(request, context_.tokens, needed); !allowed)
    return respond(net::error_response(allowed.error()));
  bool get = request.method == "GET";
  bool post = request.method == "POST";
  if (get && instances) return get_instances(request, std::move(respond));
  if (get && (request.path == "/v1/scale" || request.path == "/v1/scale/history"))
    return get_scale(request, respond);
  if (post && request.path == "/v1/scale/set") return post_set(request, respond);
  if (post && request.path == "/v1/scale/protect") return post_protect(request, respond);
  respond(net::error_response(
      {Code::kNotFound, fmt::format("there is no {} {}", request.method, request.path)}));
}

}  // namespace leeward::app
