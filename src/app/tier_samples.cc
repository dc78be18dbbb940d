#include "app/tier_samples.h"

#include <algorithm>
#include <limits>

#include "app/edge_config.h"
#include "model/edge.h"

namespace leeward::app {

std::optional<double> CounterRate::next(BootTime now, std::optional<double> value) {
  auto before = std::exchange(last_, std::nullopt);
  if (!value) return std::nullopt;
  last_ = {now, *value};
  if (!before || *value < before->second || now <= before->first) return std::nullopt;
  return (*value - before->second) / seconds(now - before->first);
}

struct TierSamples::Round {
  std::vector<compute::InstanceStatus> counted;
  std::vector<std::optional<double>> samples;
  std::vector<std::map<int, double>> by_instance;  // by policy: what instances answered
  int pending = 1;                                 // answers, and this round's own beginning
  Done done;
};

TierSamples::TierSamples(net::HttpClient& http, const Context& context, const Tier& tier)
    : http_(http), context_(context), tier_(tier) {
  std::size_t policies = tier.scaling->policies.size();
  series_.resize(policies);
  instance_series_.resize(policies);
  last_buckets_.resize(policies);
  if (!context.platform.edge) return;
  const EdgeSpec& edge = *context.platform.edge;
  auto group = std::find_if(edge.origins.begin(), edge.origins.end(),
                            [&](const EdgeOrigins& o) { return o.tier == tier.name; });
  if (group == edge.origins.end()) return;
  group_ = group->name;
  // The edge numbers its origins in the order of its configuration, which is made here as there.
  edge::EdgeConfig config = edge_config(context.platform, context.self);
  const auto& origins =
      config.groups[static_cast<std::size_t>(group - edge.origins.begin())].origins;
  int number = 0;
  for (std::size_t i = 0; i < origins.size(); ++i)
    if (origins[i].site == context.self && !origins[i].edge && !origins[i].functions)
      origins_[number++] = std::to_string(i);
  for (const edge::RouteSpec& route : config.routes)
    if (config.groups[route.group].name == group_) routes_.push_back(route.name);
}

void TierSamples::take(std::vector<compute::InstanceStatus> counted, Duration patience, Done done) {
  auto round = std::make_shared<Round>();
  const auto& policies = tier_.scaling->policies;
  round->counted = std::move(counted);
  round->samples.resize(policies.size());
  round->by_instance.resize(policies.size());
  round->done = std::move(done);
  if (!group_.empty())
    ask(round, {context_.site().address, context_.platform.edge->admin_port}, "/metrics", patience,
        [this, round](const std::string& text) { read_edge(*round, text); });
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const ScalingMetric& metric = policies[i].metric;
    if (metric.source == ScalingSource::kCpu) round->samples[i] = cpu(*round);
    if (metric.source == ScalingSource::kMemory) round->samples[i] = memory(*round);
    if (metric.source != ScalingSource::kPrometheus) continue;
    auto selector = compute::parse_selector(metric.series);
    if (!selector) continue;  // the configuration's check has refused it
    if (!metric.address.empty()) {
      auto endpoint = parse_endpoint(metric.address);
      if (!endpoint) continue;
      ask(round, *endpoint, metric.path, patience,
          [this, round, i, selector = *selector, rate = metric.rate](const std::string& text) {
            auto value = compute::sum_of(text, selector);
            round->samples[i] = rate ? series_[i].next(BootClock::now(), value) : value;
          });
      continue;
    }
    std::string host = tier_.local ? "127.0.0.1" : context_.site().address;
    for (const compute::InstanceStatus& instance : round->counted) {
      auto port =
          static_cast<std::uint16_t>(tier_.first_port_at(context_.site()) + instance.number);
      ask(round, {host, port}, metric.path, patience,
          [this, round, i, selector = *selector, rate = metric.rate,
           number = instance.number](const std::string& text) {
            auto value = compute::sum_of(text, selector);
            if (rate) value = instance_series_[i][number].next(BootClock::now(), value);
            if (value) round->by_instance[i][number] = *value;
          });
    }
  }
  finish(*round);
}

void TierSamples::ask(const std::shared_ptr<Round>& round, const Endpoint& from,
                      const std::string& path, Duration patience,
                      std::function<void(const std::string& text)> read) {
  ++round->pending;
  net::HttpRequest request;
  request.path = path;
  http_.send(from, std::move(request), patience,
             [this, round, read = std::move(read)](Result<net::HttpResponse> response) {
               bool ok = response && response->status == 200 &&
                         response->body.size() <= tier_.scaling->scrape_bytes_max;
               if (ok) read(response->body);
               finish(*round);
             });
}

void TierSamples::finish(Round& round) {
  if (--round.pending > 0) return;
  const auto& policies = tier_.scaling->policies;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const auto& answers = round.by_instance[i];
    if (answers.empty()) continue;
    double sum = 0;
    for (const auto& [number, value] : answers) sum += value;
    // A sum needs every instance; an average is still one without some.
    if (!policies[i].total)
      round.samples[i] = sum / static_cast<double>(answers.size());
    else if (answers.size() == round.counted.size())
      round.samples[i] = sum;
  }
  round.done(round.samples);
}

std::optional<double> TierSamples::cpu(const Round& round) {
  double processors = tier_.limits.processors > 0 ? tier_.limits.processors : 1;
  double sum = 0;
  int known = 0;
  for (const compute::InstanceStatus& i : round.counted) {
    std::optional<double> used;
    if (i.usage.processor_time) used = seconds(*i.usage.processor_time);
    auto rate = processor_[i.number].next(BootClock::now(), used);
    if (!rate) continue;
    sum += 100 * *rate / processors;
    ++known;
  }
  if (known == 0) return std::nullopt;
  return sum / known;
}

std::optional<double> TierSamples::memory(const Round& round) const {
  double sum = 0;
  int known = 0;
  for (const compute::InstanceStatus& i : round.counted) {
    if (!i.usage.memory_bytes) continue;
    sum += 100 * static_cast<double>(*i.usage.memory_bytes) /
           static_cast<double>(tier_.limits.memory_bytes);
    ++known;
  }
  if (known == 0) return std::nullopt;
  return sum / known;
}

void TierSamples::read_edge(Round& round, const std::string& text) {
  BootTime now = BootClock::now();
  requests_.clear();
  for (const auto& [number, index] : origins_) {
    compute::SeriesSelector selector{"leeward_edge_origin_requests_total",
                                     {{"group", group_}, {"origin", index}}};
    // The edge does not name an origin that it never asked.
    double total = compute::sum_of(text, selector).value_or(0);
    if (auto rate = request_rate_[number].next(now, total)) requests_[number] = *rate;
  }
  const auto& policies = tier_.scaling->policies;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    if (policies[i].metric.source == ScalingSource::kLatency)
      round.samples[i] = latency(policies[i].metric, text, i);
    if (policies[i].metric.source != ScalingSource::kRequests || round.counted.empty()) continue;
    double sum = 0;
    bool all = true;
    for (const compute::InstanceStatus& instance : round.counted) {
      auto found = requests_.find(instance.number);
      all &= found != requests_.end();
      if (found != requests_.end()) sum += found->second;
    }
    if (all) round.samples[i] = sum / static_cast<double>(round.counted.size());
  }
}

// Of the requests since the last time, over all routes that lead here.
std::optional<double> TierSamples::latency(const ScalingMetric& metric, const std::string& text,
                                           std::size_t policy) {
  std::map<double, double> counts;
  for (const std::string& route : routes_)
    compute::each_sample(text, {"leeward_edge_request_seconds_bucket", {{"route", route}}},
                         [&](const compute::SeriesLabels& labels, double value) {
                           auto le = labels.find("le");
                           if (le == labels.end()) return;
                           double bound = le->second == "+Inf"
                                              ? std::numeric_limits<double>::infinity()
                                              : std::strtod(le->second.c_str(), nullptr);
                           counts[bound] += value;
                         });
  std::vector<compute::HistogramBucket> buckets;
  for (const auto& [bound, count] : counts) buckets.push_back({bound, count});
  auto before = std::exchange(last_buckets_[policy], buckets);
  if (buckets.empty()) return 0;  // the edge answered: no request was slow
  if (before.empty()) return std::nullopt;
  if (before.size() != buckets.size()) return std::nullopt;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i].count < before[i].count) return std::nullopt;  // the edge was restarted
    buckets[i].count -= before[i].count;
  }
  auto quantile = compute::histogram_quantile(buckets, metric.quantile);
  return quantile.value_or(0) * 1000;  // without requests none was slow
}

}  // namespace leeward::app
