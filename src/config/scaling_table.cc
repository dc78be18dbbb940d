#include "config/internal/scaling_table.h"

#include <algorithm>
#include <array>

#include "config/internal/edge_table.h"
#include "model/edge.h"

namespace leeward::config {
namespace {

constexpr std::array<std::string_view, 7> kDays{"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
constexpr std::size_t kStepsMax = 20;  // AWS's limit
constexpr double kNumberMax = 1e12;

bool digits(std::string_view t) {
  return t.size() == 2 &&
         std::all_of(t.begin(), t.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool clock_time(std::string_view t, int hours_max) {
  if (t.size() != 5 || t[2] != ':' || !digits(t.substr(0, 2)) || !digits(t.substr(3))) return false;
  int hours = (t[0] - '0') * 10 + t[1] - '0';
  int minutes = (t[3] - '0') * 10 + t[4] - '0';
  return minutes < 60 && (hours < hours_max || (hours == hours_max && minutes == 0));
}

// REQUIRES: clock_time(t).
Duration since_midnight(std::string_view t) {
  int hours = (t[0] - '0') * 10 + t[1] - '0';
  int minutes = (t[3] - '0') * 10 + t[4] - '0';
  return std::chrono::hours(hours) + std::chrono::minutes(minutes);
}

const TextRule kTimeRule{"time of day", "write hours and minutes in quotes, for example \"08:30\"",
                         "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
                         [](std::string_view t) { return clock_time(t, 24); }};
const TextRule kOffsetRule{
    "offset from UTC", "write a sign, hours and minutes in quotes, for example \"+09:00\"",
    "^[+-](0[0-9]|1[0-3]):[0-5][0-9]$|^[+-]14:00$", [](std::string_view t) {
      return t.size() == 6 && (t[0] == '+' || t[0] == '-') && clock_time(t.substr(1), 14);
    }};
const TextRule kDayRule{"day of the week", "write mon, tue, wed, thu, fri, sat or sun",
                        "^(mon|tue|wed|thu|fri|sat|sun)$", [](std::string_view t) {
                          return std::find(kDays.begin(), kDays.end(), t) != kDays.end();
                        }};
const TextRule kSeriesRule{
    "series", "write its name, and labels if needed: jobs_waiting{queue=\"mail\"}",
    "^[a-zA-Z_:][a-zA-Z0-9_:]*(\\{[^{}]*\\})?$", [](std::string_view t) {
      auto brace = t.find('{');
      std::string_view name = t.substr(0, brace);
      auto word = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == ':';
      };
      if (name.empty() || (name[0] >= '0' && name[0] <= '9') || t.size() > 500) return false;
      if (!std::all_of(name.begin(), name.end(), word)) return false;
      if (brace == std::string_view::npos) return true;
      std::string_view labels = t.substr(brace + 1);
      return !labels.empty() && labels.back() == '}' &&
             labels.find_first_of("{}") == labels.size() - 1;
    }};

template <typename T>
void add_time(Table<T>& t, const char* name, Duration T::*member, const char* sentence) {
  Setting s = Table<T>::setting(Setting::Kind::kText, name, sentence);
  s.rule = &kTimeRule;
  t.add(s, [member](Reader& r, const Place& p, T& target) {
     if (auto text = r.text(p, kTimeRule)) target.*member = since_midnight(*text);
   }).required();
}

template <typename T>
void add_optional_count(Table<T>& t, const char* name, std::optional<int> T::*member,
                        const char* sentence) {
  constexpr Bounds<std::int64_t> kBounds{1, ScalingSpec::kInstancesMax};
  Setting s = Table<T>::setting(Setting::Kind::kInteger, name, sentence);
  s.minimum = kBounds.min;
  s.maximum = kBounds.max;
  s.bounds = fmt::format("{} … {}", kBounds.min, kBounds.max);
  t.add(s, [member, kBounds](Reader& r, const Place& p, T& target) {
    if (auto v = r.integer(p, kBounds)) target.*member = static_cast<int>(*v);
  });
}

Table<ScalingSchedule> schedule_table() {
  Table<ScalingSchedule> t;
  Setting days =
      Table<ScalingSchedule>::setting(Setting::Kind::kTexts, "days", "On which days it begins.");
  days.rule = &kDayRule;
  days.default_text = "every day";
  t.add(days, [](Reader& r, const Place& p, ScalingSchedule& schedule) {
    auto items = r.sequence(p);
    if (!items) return;
    for (const Place& item : *items)
      if (auto day = r.text(item, kDayRule))
        schedule.days[static_cast<std::size_t>(std::find(kDays.begin(), kDays.end(), *day) -
                                               kDays.begin())] = true;
  });
  add_time(t, "from", &ScalingSchedule::from, "When it begins.");
  add_time(t, "until", &ScalingSchedule::until,
           "When it ends; not later than from: on the next day.");
  add_optional_count(t, "min", &ScalingSchedule::min, "At least so many instances.");
  add_optional_count(t, "max", &ScalingSchedule::max, "At most so many instances.");
  return t;
}

Table<ScalingStep> step_table() {
  Table<ScalingStep> t;
  t.number("offset", &ScalingStep::offset, {0, kNumberMax},
           "Applies from so far beyond the threshold on, up to the next step.");
  t.integer("change", &ScalingStep::change, {-100, 1000},
            "How many more (or, negative, fewer); in percent, or exactly, by unit.")
      .required();
  return t;
}

Table<ScalingPolicy> policy_table() {
  using P = ScalingPolicy;
  auto metric = [](auto ScalingMetric::*member) {
    return [member](P & p) -> auto& { return p.metric.*member; };
  };
  Table<P> t;
  t.choice("kind", &P::kind,
           std::vector<std::pair<std::string, ScalingKind>>{{"target", ScalingKind::kTarget},
                                                            {"step", ScalingKind::kStep}},
           "target (keeps a metric at a value, in proportion) or step (changes by so many when a "
           "threshold is passed).");
  t.choice(
       "metric", metric(&ScalingMetric::source),
       std::vector<std::pair<std::string, ScalingSource>>{
           {"cpu", ScalingSource::kCpu},
           {"memory", ScalingSource::kMemory},
           {"requests", ScalingSource::kRequests},
           {"latency", ScalingSource::kLatency},
           {"prometheus", ScalingSource::kPrometheus}},
       "cpu (percent of one processor, or of limits.processors), memory (percent of "
       "limits.memory_bytes_max), requests (a second and instance, from this site's edge), "
       "latency (milliseconds to the end of the response, from this site's edge) or prometheus (a "
       "series of any endpoint). Averages over the instances that have warmed up.")
      .required();
  t.percent("quantile", metric(&ScalingMetric::quantile), {0.5, 0.999},
            "latency: the share of requests that are as fast.");
  t.text("series", metric(&ScalingMetric::series), kSeriesRule,
         "prometheus: name of the series, with labels that it must have. Several that match are "
         "added up.");
  t.text("path", metric(&ScalingMetric::path), kPathRule, "prometheus: path to ask.");
  t.text("address", metric(&ScalingMetric::address), kEndpointRule,
         "prometheus: address to ask, for the whole tier.")
      .default_text("each instance's own port");
  t.boolean("rate", metric(&ScalingMetric::rate),
            "prometheus: the series is a counter; its increase a second counts.");
  t.boolean("scale_in", &P::scale_in, "May ask for fewer instances.");
  t.number("target", &P::target, {0, kNumberMax},
           "target: the value to keep: a percentage for cpu and memory, 60 for example.");
  t.boolean("total", &P::total,
            "target: the metric is a sum over the tier, such as a queue, and target is what one "
            "instance can take of it.");
  t.number("threshold", &P::threshold, {-kNumberMax, kNumberMax}, "step: what is to be passed.");
  t.boolean("below", &P::below, "step: the threshold is passed downwards.");
  t.duration("sustain", &P::sustain, {0s, 1h},
             "step: passed for this long before anything is done.");
  t.choice("unit", &P::unit,
           std::vector<std::pair<std::string, StepUnit>>{{"change", StepUnit::kChange},
                                                         {"percent", StepUnit::kPercent},
                                                         {"exact", StepUnit::kExact}},
           "step: change (so many more or fewer), percent (of the current number) or exact (this "
           "number).");
  t.integer("change_min", &P::change_min, {0, ScalingSpec::kInstancesMax},
            "step, percent: at least so many.");
  Setting steps = Table<P>::setting(Setting::Kind::kSections, "steps",
                                    "step: what is done, by how far the threshold is passed.");
  steps.settings = step_table().settings();
  t.add(steps, [table = step_table()](Reader& r, const Place& p, P& policy) {
    auto items = r.sequence(p);
    if (!items) return;
    if (items->size() > kStepsMax) {
      r.problem(p.key, p.path,
                fmt::format("{} steps are too many; {} at most", items->size(), kStepsMax));
      return;
    }
    for (const Place& item : *items) table.read(r, item, policy.steps.emplace_back());
  });
  return t;
}

void check_policy(Reader& r, const Platform& p, const Tier& tier, const ScalingPolicy& policy,
                  const std::string& path) {
  auto problem = [&](const char* key, const std::string& message) {
    std::string at = path + "." + key;
    if (r.sound(path)) r.problem(r.present(at) ? r.value_at(at) : r.key_at(path), at, message);
  };
  bool target = policy.kind == ScalingKind::kTarget;
  for (const char* key : {"threshold", "below", "sustain", "unit", "change_min", "steps"})
    if (target && r.present(path + "." + key))
      return problem(key, fmt::format("'{}' belongs to kind: step", key));
  for (const char* key : {"target", "total"})
    if (!target && r.present(path + "." + key))
      return problem(key, fmt::format("'{}' belongs to kind: target", key));
  if (target && !(policy.target > 0)) return problem("target", "a target above zero is needed");
  if (!target && policy.steps.empty()) return problem("steps", "at least one step is needed");
  if (!target && !r.present(path + ".threshold"))
    return problem("threshold", "'threshold' is missing");
  for (std::size_t i = 1; i < policy.steps.size(); ++i)
    if (policy.steps[i].offset <= policy.steps[i - 1].offset)
      return problem("steps", "steps must be in the order of their offsets, each larger");
  const ScalingMetric& m = policy.metric;
  bool prometheus = m.source == ScalingSource::kPrometheus;
  if (prometheus && m.series.empty()) return problem("series", "'series' is missing");
  for (const char* key : {"series", "path", "address", "rate"})
    if (!prometheus && r.present(path + "." + key))
      return problem(key, fmt::format("'{}' belongs to metric: prometheus", key));
  if (policy.total && !prometheus)
    return problem("total", "only a prometheus metric can be a sum over the tier");
  if (m.source == ScalingSource::kMemory && tier.limits.memory_bytes == 0)
    return problem("metric",
                   "memory is a share of limits.memory_bytes_max, which this tier does not have");
  if (m.source == ScalingSource::kLatency && target)
    return problem("metric",
                   "latency does not fall in proportion to the number of instances, so it has no "
                   "target; write kind: step");
  if (m.source != ScalingSource::kRequests && m.source != ScalingSource::kLatency) return;
  bool behind_edge =
      p.edge && std::any_of(p.edge->origins.begin(), p.edge->origins.end(),
                            [&](const EdgeOrigins& o) { return o.tier == tier.name; });
  if (!behind_edge && r.sound("edge"))
    problem("metric", fmt::format("requests and latency are counted by the edge, and no group of "
                                  "edge.origins has tier: {}",
                                  tier.name));
}

constexpr std::size_t kOriginsMax = 64;  // of a group of the edge (edge/origin_core.h)

// `at`: the setting that makes them many.
void check_origins(Reader& r, const Platform& p, const Tier& tier, const std::string& at) {
  if (!p.edge || !r.sound("sites")) return;
  for (const EdgeOrigins& group : p.edge->origins) {
    if (group.tier != tier.name) continue;
    auto slots = static_cast<std::size_t>(tier.slots());
    std::size_t all = tier.local ? slots + 1 : slots * p.workload_sites().size();
    for (const Site& site : p.sites) all += tier.functions_at(site);
    if (all > kOriginsMax)
      r.problem(r.value_at(at), at,
                fmt::format("over all sites that is {} origins of the edge; a group has at most {}",
                            all, kOriginsMax));
  }
}

}  // namespace

Table<CgroupLimits> limits_table() {
  constexpr std::int64_t kMiB = 1 << 20;
  Table<CgroupLimits> t;
  t.integer("memory_bytes_max", &CgroupLimits::memory_bytes, {4 * kMiB, 16 * kMiB * kMiB},
            "Memory of an instance, swap included. What needs more is killed, and that is "
            "reported.");
  t.number("processors", &CgroupLimits::processors, {0.01, 1024},
           "Processors that an instance may use: 1.5 is one and a half.");
  t.integer("processes", &CgroupLimits::processes, {1, 1'000'000},
            "Processes and threads of an instance.");
  return t;
}

Table<ScalingSpec> scaling_table() {
  using S = ScalingSpec;
  constexpr Bounds<std::int64_t> kCount{1, S::kInstancesMax};
  Table<S> t;
  t.integer("min", &S::min, kCount, "At least so many instances.");
  t.integer("max", &S::max, kCount, "At most so many; each has a port, from the tier's port on.")
      .required();
  add_named(t, "policies", &S::policies, policy_table(), "a policy",
            "What the number follows; the policy that asks for most decides.");
  add_named(t, "schedules", &S::schedules, schedule_table(), "a schedule",
            "Bounds at certain hours of the week.");
  Setting offset = Table<S>::setting(Setting::Kind::kText, "utc_offset",
                                     "Clock of schedules and forecast, ahead of UTC.");
  offset.rule = &kOffsetRule;
  offset.default_text = "+00:00";
  t.add(offset, [](Reader& r, const Place& p, S& spec) {
    auto text = r.text(p, kOffsetRule);
    if (!text) return;
    Duration ahead = since_midnight(std::string_view(*text).substr(1));
    spec.utc_offset = text->front() == '-' ? -ahead : ahead;
  });
  t.choice("forecast", &S::forecast,
           std::vector<std::pair<std::string, ForecastMode>>{{"off", ForecastMode::kOff},
                                                             {"observe", ForecastMode::kObserve},
                                                             {"floor", ForecastMode::kFloor}},
           "By the hour of the week, from the last four weeks: off, observe (predicts and "
           "compares) or floor (at least what it predicts).");
  t.duration("interval", &S::interval, {1s, 5min}, "Time between two decisions.");
  t.duration("warm_up", &S::warm_up, {0s, 1h}, "From ready until an instance's own metrics count.");
  t.percent("tolerance", &S::tolerance, {0, 0.5},
            "So close to a target nothing changes, for tolerance_for.");
  t.duration("tolerance_for", &S::tolerance_for, {0s, 1h},
             "A value that stays above its target for this long is acted on however close.");
  t.duration("scale_out_cooldown", &S::scale_out_cooldown, {0s, 1h},
             "After a step out, the next one counts from the number before it, for this long.");
  t.duration("scale_in_cooldown", &S::scale_in_cooldown, {0s, 24h},
             "Between two scale-ins; a scale-out ends it.");
  t.duration("stabilisation", &S::stabilisation, {0s, 24h},
             "Fewer only down to the most that was wanted in this time. 18m is what keeps the tier "
             "from ever being below what AWS would have.");
  t.percent("rate_percent", &S::rate_percent, {0, 100},
            "Out, each rate_period: at most this share more,");
  t.integer("rate_count", &S::rate_count, kCount, "or so many, whichever is more.");
  t.duration("rate_period", &S::rate_period, {1s, 1h}, "See rate_percent.");
  t.percent("failover_percent", &S::failover_percent, {0, 10},
            "After a failover at least this share of what the other site needed at most in 24 h.");
  t.duration("hold_down", &S::hold_down, {0s, 24h}, "After a failover nothing scales in.");
  return t;
}

Table<DeploySpec> deploy_table() {
  using D = DeploySpec;
  constexpr Bounds<std::int64_t> kCount{0, ScalingSpec::kInstancesMax};
  Table<D> t;
  t.choice("strategy", &D::strategy,
           std::vector<std::pair<std::string, DeployStrategy>>{
               {"rolling", DeployStrategy::kRolling}, {"blue-green", DeployStrategy::kBlueGreen}},
           "rolling (some instances at a time) or blue-green (all new ones beside the old ones, on "
           "as many ports more; then the edges change over at once).");
  t.integer("max_surge", &D::surge, kCount,
            "rolling: so many instances more than wanted run meanwhile; each has a port after the "
            "others.");
  t.integer("max_unavailable", &D::unavailable, kCount,
            "rolling: so many fewer than wanted are ready meanwhile.");
  t.duration("ready_within", &D::ready_within, {1s, 1h},
             "A new instance that is not ready for so long makes the deployment fail.");
  t.integer("crashes", &D::crashes, {1, 1000},
            "New instances that exit by themselves so many times make it fail.");
  t.duration("watch", &D::watch, {0s, 1h},
             "How long all new instances must stay ready before the revision counts.");
  t.duration("keep_old", &D::keep_old, {0s, 24h},
             "blue-green: how long the old instances run on after that, for a rollback at once.");
  return t;
}

void check_deploy(Reader& r, const Platform& p, const Tier& tier, const std::string& path) {
  std::string at = path + ".deploy";
  if (!tier.deploy || !r.sound(at)) return;
  const DeploySpec& d = *tier.deploy;
  bool rolling = d.strategy == DeployStrategy::kRolling;
  for (const char* key : {"max_surge", "max_unavailable"})
    if (!rolling && r.present(at + "." + key))
      return r.problem(r.key_at(at + "." + key), at + "." + key,
                       fmt::format("'{}' belongs to strategy: rolling", key));
  if (rolling && r.present(at + ".keep_old"))
    return r.problem(r.key_at(at + ".keep_old"), at + ".keep_old",
                     "'keep_old' belongs to strategy: blue-green");
  if (rolling && d.surge == 0 && d.unavailable == 0)
    return r.problem(r.key_at(at), at,
                     "nothing could be replaced: max_surge or max_unavailable must be above zero");
  const char* more = rolling ? ".max_surge" : ".strategy";
  if (tier.spare_slots() > 0) check_origins(r, p, tier, at + more);
}

void check_scaling(Reader& r, const Platform& p, const Tier& tier, const std::string& path) {
  if (tier.notify && tier.ready && r.sound(path))
    r.problem(r.value_at(path + ".notify"), path + ".notify",
              "give either ready or notify: an instance is ready by one of them");
  if (!tier.scaling) return;
  const ScalingSpec& s = *tier.scaling;
  std::string at = path + ".scaling";
  if (!r.sound(at)) return;
  if (s.min > s.max)
    return r.problem(r.value_at(at + ".min"), at + ".min",
                     fmt::format("min {} is more than max {}", s.min, s.max));
  if (r.present(path + ".instances") && (tier.instances < s.min || tier.instances > s.max))
    r.problem(r.value_at(path + ".instances"), path + ".instances",
              fmt::format("{} instances at the start are not within {} to {}", tier.instances,
                          s.min, s.max));
  if (s.policies.size() > ScalingSpec::kPoliciesMax)
    r.problem(r.key_at(at + ".policies"), at + ".policies",
              fmt::format("{} policies are too many; {} at most", s.policies.size(),
                          ScalingSpec::kPoliciesMax));
  if (s.schedules.size() > ScalingSpec::kSchedulesMax)
    r.problem(r.key_at(at + ".schedules"), at + ".schedules",
              fmt::format("{} schedules are too many; {} at most", s.schedules.size(),
                          ScalingSpec::kSchedulesMax));
  check_origins(r, p, tier, at + ".max");
  for (const ScalingPolicy& policy : s.policies)
    check_policy(r, p, tier, policy, at + ".policies." + policy.name);
  for (const ScalingSchedule& schedule : s.schedules) {
    std::string own = at + ".schedules." + schedule.name;
    if (!r.sound(own)) continue;
    if (!schedule.min && !schedule.max)
      r.problem(r.key_at(own), own, "a schedule needs min, max or both");
    if (schedule.min && schedule.max && *schedule.min > *schedule.max)
      r.problem(r.value_at(own + ".min"), own + ".min",
                fmt::format("min {} is more than max {}", *schedule.min, *schedule.max));
  }
}

}  // namespace leeward::config
