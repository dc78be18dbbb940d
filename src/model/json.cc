#include "model/json.h"

#include <array>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"

namespace leeward {
namespace {

using Json = nlohmann::json;

// Each type's fields are listed once, for both directions: Writer and Reader are called with every
// key and member. T is the model type, const when written.
template <typename T, typename Model>
concept Is = std::same_as<std::remove_const_t<T>, Model>;

template <typename Visitor, Is<Intent> T>
void fields(Visitor& visit, T& intent) {
  visit("writer", intent.writer);
  visit("epoch", intent.epoch);
  visit("drain", intent.drain);
  visit("required", intent.required);
  visit("complete", intent.complete);
  visit("link", intent.link);
}

template <typename Visitor, Is<Protection> T>
void fields(Visitor& visit, T& protection) {
  visit("state", protection.state);
  visit("number", protection.number);
  visit("epoch", protection.epoch);
  visit("standby", protection.standby);
  visit("link", protection.link);
}

template <typename Visitor, Is<StepRecord> T>
void fields(Visitor& visit, T& record) {
  visit("step", record.step);
  visit("entered", record.entered);
}

template <typename Visitor, Is<Plan> T>
void fields(Visitor& visit, T& plan) {
  visit("id", plan.id);
  visit("kind", plan.kind);
  visit("from", plan.from);
  visit("to", plan.to);
  visit("step", plan.step);
  visit("automatic", plan.automatic);
  visit("accept_loss", plan.accept_loss);
  visit("reason", plan.reason);
  visit("outcome", plan.outcome);
  visit("estimated_loss_ms", plan.estimated_loss);
  visit("drained", plan.drained);
  visit("history", plan.history);
}

template <typename Visitor, Is<Proposal> T>
void fields(Visitor& visit, T& proposal) {
  visit("from", proposal.from);
  visit("to", proposal.to);
  visit("why_not_automatic", proposal.why_not_automatic);
}

template <typename Visitor, Is<ServiceRecord> T>
void fields(Visitor& visit, T& record) {
  visit("intent", record.intent);
  visit("active", record.active);
  visit("active_epoch", record.active_epoch);
  visit("up_epoch", record.up_epoch);
  visit("protection", record.protection);
  visit("plan", record.plan);
  visit("last_plan", record.last_plan);
  visit("blocked", record.blocked);
  visit("paused", record.paused);
  visit("proposal", record.proposal);
}

template <typename Visitor, Is<EventRecord> T>
void fields(Visitor& visit, T& event) {
  visit("sequence", event.sequence);
  visit("time", event.time);
  visit("kind", event.kind);
  visit("site", event.site);
  visit("epoch", event.epoch);
  visit("message", event.message);
}

template <typename Visitor, Is<LeaseValue> T>
void fields(Visitor& visit, T& lease) {
  visit("holder", lease.holder);
  visit("epoch", lease.epoch);
  visit("sequence", lease.sequence);
}

template <typename Visitor, Is<DatabaseStatus> T>
void fields(Visitor& visit, T& status) {
  visit("reachable", status.reachable);
  visit("read_only", status.read_only);
  visit("epoch", status.epoch);
  visit("term", status.term);
  visit("source", status.source);
  visit("replication", status.replication);
  visit("written", status.written);
  visit("received", status.received);
  visit("durable", status.durable);
  visit("applied", status.applied);
  visit("diverged", status.diverged);
  visit("incomplete", status.incomplete);
  visit("heartbeat_age_ms", status.heartbeat_age);
  visit("heartbeat_written", status.heartbeat_written);
  visit("lag_ms", status.lag);
  visit("strict", status.strict);
  visit("acknowledges", status.acknowledges);
  visit("link", status.link);
  visit("semi_sync", status.semi_sync);
  visit("fallbacks", status.fallbacks);
  visit("alone", status.alone);
}

template <typename Visitor, Is<VantageReport> T>
void fields(Visitor& visit, T& report) {
  visit("vantage", report.vantage);
  visit("life", report.life);
  visit("sequence", report.sequence);
  visit("health", report.health);
  visit("failures", report.failures);
  visit("detail", report.detail);
}

template <typename Visitor, Is<NodeReport> T>
void fields(Visitor& visit, T& node) {
  visit("reachable", node.reachable);
  visit("primary", node.primary);
  visit("epoch", node.epoch);
  visit("term", node.term);
  visit("replication", node.replication);
  visit("applied", node.applied);
}

template <typename Visitor, Is<RedisNodeReport> T>
void fields(Visitor& visit, T& node) {
  visit("reachable", node.reachable);
  visit("primary", node.primary);
  visit("link_up", node.link_up);
  visit("offset", node.offset);
}

template <typename Visitor, Is<RedisReport> T>
void fields(Visitor& visit, T& report) {
  visit("nodes", report.nodes);
  visit("primary", report.primary);
  visit("open", report.open);
  visit("lag_bytes", report.lag_bytes);
  visit("losses", report.losses);
  visit("lost_bytes", report.lost_bytes);
  visit("lost_exactly", report.lost_exactly);
}

template <typename Visitor, Is<ComparisonReport> T>
void fields(Visitor& visit, T& report) {
  visit("passes", report.passes);
  visit("rows", report.rows);
  visit("different", report.different);
  visit("first", report.first);
  visit("completed", report.completed);
}

template <typename Visitor, Is<AgentReport> T>
void fields(Visitor& visit, T& report) {
  visit("site", report.site);
  visit("life", report.life);
  visit("sequence", report.sequence);
  visit("highest_epoch", report.highest_epoch);
  visit("lease_epoch", report.lease_epoch);
  visit("by_promise", report.by_promise);
  visit("gateway", report.gateway);
  visit("writing_epoch", report.writing_epoch);
  visit("drained_plan", report.drained_plan);
  visit("drained_position", report.drained_position);
  visit("rejoining", report.rejoining);
  visit("database", report.database);
  visit("heartbeat_late_ms", report.heartbeat_late);
  visit("nodes", report.nodes);
  visit("node_in_sync", report.node_in_sync);
  visit("node_moving", report.node_moving);
  visit("comparison", report.comparison);
  visit("redis", report.redis);
  visit("tiers_ready", report.tiers_ready);
  visit("tiers_wanted", report.tiers_wanted);
  visit("deployments", report.deployments);
  visit("rollbacks", report.rollbacks);
  visit("deployment", report.deployment);
  visit("protection", report.protection);
  visit("ledger_open", report.ledger_open);
  visit("problem", report.problem);
}

template <typename Visitor, typename T>
concept HasFields = requires(Visitor& visit, T& value) {
  fields(visit, value);
};

// The last enumerator, where reading stops to look for a name.
constexpr ProtectionState last(ProtectionState) { return ProtectionState::kOn; }
constexpr PlanKind last(PlanKind) { return PlanKind::kFailback; }
constexpr PlanStep last(PlanStep) { return PlanStep::kAborted; }
constexpr ReplicationState last(ReplicationState) { return ReplicationState::kBroken; }
constexpr SemiSync last(SemiSync) { return SemiSync::kFallen; }
constexpr Health last(Health) { return Health::kDown; }
constexpr GatewayMode last(GatewayMode) { return GatewayMode::kRemote; }

class Writer {
 public:
  explicit Writer(const Platform& platform) : platform_(platform) {}

  template <typename T>
  void operator()(const char* key, const T& value) {
    object_[key] = json(value);
  }
  Json take() { return std::move(object_); }

 private:
  template <typename T>
  requires std::is_arithmetic_v<T> Json json(const T& value)
  const { return value; }
  template <typename T>
  requires std::is_enum_v<T> Json json(const T& value)
  const { return name(value); }
  template <typename Tag, typename Value>
  Json json(const Strong<Tag, Value>& number) const {
    return number.value;
  }
  template <typename T>
  Json json(const std::optional<T>& value) const {
    return value ? json(*value) : Json(nullptr);
  }
  template <typename T>
  Json json(const std::vector<T>& values) const {
    Json array = Json::array();
    for (const T& value : values) array.push_back(json(value));
    return array;
  }
  // One value a site, as an object by site name.
  template <typename T>
  Json json(const std::array<T, kSitesMax>& values) const {
    Json object = Json::object();
    for (std::size_t i = 0; i < platform_.sites.size(); ++i)
      object[platform_.sites[i].name] = json(values[i]);
    return object;
  }
  template <typename T>
  requires HasFields<Writer, const T> Json json(const T& value)
  const {
    Writer nested(platform_);
    fields(nested, value);
    return nested.take();
  }
  Json json(const SiteId& site) const {
    if (site == kNoSite) return nullptr;
    LEEWARD_CHECK(site.value < platform_.sites.size());
    return platform_.site(site).name;
  }
  Json json(const std::string& text) const { return text; }
  Json json(const WallTime& time) const { return format_wall(time); }
  Json json(const Duration& d) const {
    if (d == kNever) return nullptr;
    return std::chrono::ceil<std::chrono::milliseconds>(d).count();
  }

  const Platform& platform_;
  Json object_ = Json::object();
};

// Remembers the first error and then reads nothing more.
class Reader {
 public:
  Reader(const Platform& platform, const Json& json) : platform_(platform), object_(&json) {}

  template <typename T>
  void operator()(const char* key, T& value) {
    if (error_) return;
    const std::size_t length = enter(key);
    const auto found = object_->find(key);
    if (found == object_->end())
      refuse("missing");
    else
      read(*found, value);
    path_.resize(length);
  }

  template <typename T>
  void read_object(const Json& json, T& value) {
    if (!json.is_object()) return refuse("must be an object");
    const Json* outer = std::exchange(object_, &json);
    fields(*this, value);
    object_ = outer;
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  // Appends to the path; the returned length takes it back.
  std::size_t enter(std::string_view key) {
    const std::size_t length = path_.size();
    if (!path_.empty()) path_ += '.';
    path_ += key;
    return length;
  }
  void refuse(std::string_view why) {
    if (error_) return;
    error_ = Error{Code::kCorrupt, path_.empty() ? fmt::format("JSON value {}", why)
                                                 : fmt::format("{}: {}", path_, why)};
  }

  void read(const Json& json, bool& value) {
    if (!json.is_boolean()) return refuse("must be true or false");
    value = json.get<bool>();
  }
  template <std::unsigned_integral T>
  void read(const Json& json, T& value) {
    if (!json.is_number_unsigned() || json.get<std::uint64_t>() > std::numeric_limits<T>::max())
      return refuse(fmt::format("must be an integer from 0 to {}", std::numeric_limits<T>::max()));
    value = json.get<T>();
  }
  template <typename T>
  requires std::is_enum_v<T>
  void read(const Json& json, T& value) {
    if (!json.is_string()) return refuse("must be a string");
    const auto& text = json.get_ref<const std::string&>();
    for (std::size_t i = 0; i <= static_cast<std::size_t>(last(T{})); ++i) {
      if (name(static_cast<T>(i)) != text) continue;
      value = static_cast<T>(i);
      return;
    }
    refuse(fmt::format("unknown value '{}'", text));
  }
  template <typename Tag, typename Value>
  void read(const Json& json, Strong<Tag, Value>& number) {
    read(json, number.value);
  }
  template <typename T>
  void read(const Json& json, std::optional<T>& value) {
    if (json.is_null()) return value.reset();
    read(json, value.emplace());
  }
  template <typename T>
  void read(const Json& json, std::vector<T>& values) {
    if (!json.is_array()) return refuse("must be an array");
    values.clear();
    for (const Json& element : json) {
      const std::size_t length = path_.size();
      path_ += fmt::format("[{}]", values.size());
      read(element, values.emplace_back());
      path_.resize(length);
      if (error_) return;
    }
  }
  template <typename T>
  void read(const Json& json, std::array<T, kSitesMax>& values) {
    if (!json.is_object()) return refuse("must be an object");
    values = {};
    for (const auto& [key, element] : json.items()) {
      const std::size_t length = enter(key);
      if (const auto site = platform_.find_site(key))
        read(element, values[site->value]);
      else
        refuse("unknown site");
      path_.resize(length);
    }
  }
  template <typename T>
  requires HasFields<Reader, T>
  void read(const Json& json, T& value) { read_object(json, value); }
  void read(const Json& json, SiteId& site) {
    if (json.is_null()) {
      site = kNoSite;
      return;
    }
    if (!json.is_string()) return refuse("must be a site's name or null");
    const auto& text = json.get_ref<const std::string&>();
    const auto found = platform_.find_site(text);
    if (!found) return refuse(fmt::format("unknown site '{}'", text));
    site = *found;
  }
  void read(const Json& json, std::string& text) {
    if (!json.is_string()) return refuse("must be a string");
    text = json.get_ref<const std::string&>();
  }
  void read(const Json& json, WallTime& time) {
    if (!json.is_string()) return refuse("must be an RFC 3339 time");
    auto parsed = parse_wall(json.get_ref<const std::string&>());
    if (!parsed) return refuse(parsed.error().message);
    time = *parsed;
  }
  void read(const Json& json, Duration& d) {
    if (json.is_null()) {
      d = kNever;
      return;
    }
    constexpr std::int64_t kLimit = Duration::max() / 1ms;
    if (json.is_number_unsigned() ? json.get<std::uint64_t>() > std::uint64_t{kLimit}
                                  : !json.is_number_integer() || json.get<std::int64_t>() < -kLimit)
      return refuse("must be an integer of milliseconds or null");
    d = std::chrono::milliseconds(json.get<std::int64_t>());
  }

  const Platform& platform_;
  const Json* object_;
  std::string path_;
  std::optional<Error> error_;
};

template <JsonModel T>
Result<T> from_text(const Platform& platform, std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return fail(Code::kCorrupt, "not JSON");
  return decode_json<T>(platform, json);
}

// Takes `count` digits from the front of `text`.
std::optional<int> take_number(std::string_view& text, std::size_t count) {
  int number = 0;
  if (text.size() < count) return std::nullopt;
  for (char c : text.substr(0, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  text.remove_prefix(count);
  return number;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// "Z" or "+01:30", as what has to be added to UTC.
std::optional<std::chrono::minutes> take_offset(std::string_view& text) {
  if (take(text, "Zz")) return std::chrono::minutes(0);
  const bool negative = text.starts_with('-');
  if (!take(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!take(text, ":")) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const auto offset = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
  return negative ? -offset : offset;
}

std::optional<Duration> take_fraction(std::string_view& text) {
  if (!take(text, ".")) return Duration{0};
  Duration fraction{0};
  Duration unit = 100ms;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    fraction += (text.front() - '0') * unit;
    unit /= 10;
    text.remove_prefix(1);
  }
  return fraction;
}

std::optional<WallTime> read_wall(std::string_view text) {
  const auto year = take_number(text, 4);
  if (!take(text, "-")) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!take(text, "-")) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!take(text, "Tt ")) return std::nullopt;
  const auto hour = take_number(text, 2);
  if (!take(text, ":")) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!take(text, ":")) return std::nullopt;
  const auto second = take_number(text, 2);
  const auto fraction = take_fraction(text);
  const auto offset = take_offset(text);
  if (!year || !month || !day || !hour || !minute || !second || !fraction || !offset ||
      !text.empty())
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *year < 1678 || *year > 2261 || *hour > 23 || *minute > 59 || *second > 59)
    return std::nullopt;
  return WallTime(Duration(std::chrono::sys_days(date).time_since_epoch()) +
                  std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
                  std::chrono::seconds(*second) + *fraction - *offset);
}

}  // namespace

Result<WallTime> parse_wall(std::string_view text) {
  if (auto time = read_wall(text)) return *time;
  return fail(Code::kInvalid,
              "'{}' is not an RFC 3339 time; write for example 2026-01-31T23:59:59Z", text);
}

template <JsonModel T>
Json encode_json(const Platform& platform, const T& value) {
  Writer writer(platform);
  fields(writer, value);
  return writer.take();
}

template <JsonModel T>
Result<T> decode_json(const Platform& platform, const Json& json) {
  T value{};
  Reader reader(platform, json);
  reader.read_object(json, value);
  if (reader.error()) return fail(*reader.error());
  return value;
}

template <JsonModel T>
std::string to_json_text(const Platform& platform, const T& value) {
  return encode_json(platform, value).dump(-1, ' ', false, Json::error_handler_t::replace);
}

#define LEEWARD_JSON_MODEL(Type)                                         \
  template Json encode_json<Type>(const Platform&, const Type&);         \
  template Result<Type> decode_json<Type>(const Platform&, const Json&); \
  template std::string to_json_text<Type>(const Platform&, const Type&);
LEEWARD_JSON_MODEL(ServiceRecord)
LEEWARD_JSON_MODEL(Plan)
LEEWARD_JSON_MODEL(Intent)
LEEWARD_JSON_MODEL(Protection)
LEEWARD_JSON_MODEL(LeaseValue)
LEEWARD_JSON_MODEL(AgentReport)
LEEWARD_JSON_MODEL(DatabaseStatus)
LEEWARD_JSON_MODEL(VantageReport)
LEEWARD_JSON_MODEL(EventRecord)
#undef LEEWARD_JSON_MODEL

Result<ServiceRecord> record_from_json(const Platform& platform, std::string_view text) {
  return from_text<ServiceRecord>(platform, text);
}
Result<Plan> plan_from_json(const Platform& platform, std::string_view text) {
  return from_text<Plan>(platform, text);
}
Result<Intent> intent_from_json(const Platform& platform, std::string_view text) {
  return from_text<Intent>(platform, text);
}
Result<LeaseValue> lease_from_json(const Platform& platform, std::string_view text) {
  return from_text<LeaseValue>(platform, text);
}
Result<AgentReport> agent_report_from_json(const Platform& platform, std::string_view text) {
  return from_text<AgentReport>(platform, text);
}
Result<DatabaseStatus> database_status_from_json(const Platform& platform, std::string_view text) {
  return from_text<DatabaseStatus>(platform, text);
}
Result<VantageReport> vantage_report_from_json(const Platform& platform, std::string_view text) {
  return from_text<VantageReport>(platform, text);
}
Result<EventRecord> event_from_json(const Platform& platform, std::string_view text) {
  return from_text<EventRecord>(platform, text);
}

}  // namespace leeward
