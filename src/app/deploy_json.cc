#include "app/deploy_json.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace leeward::app {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMomentMax = 253'402'300'799'000;  // year 9999, in milliseconds
constexpr std::size_t kSlotsMax = 2 * ScalingSpec::kInstancesMax;

std::int64_t milliseconds_of(WallTime at) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

Result<WallTime> moment(const Json& json) {
  if (!json.is_number_integer() || json < 0 || json > kMomentMax)
    return fail(Code::kCorrupt, "a moment is none");
  return WallTime{std::chrono::milliseconds(json.get<std::int64_t>())};
}

Result<RevisionNumber> revision(const Json& json) {
  if (!json.is_number_unsigned() || json > std::numeric_limits<std::uint32_t>::max())
    return fail(Code::kCorrupt, "the number of a revision is none");
  return RevisionNumber{json.get<std::uint32_t>()};
}

Json at(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) ? json[key] : Json();
}

bool sound_text(const Json& json) {
  return json.is_string() && json.get_ref<const std::string&>().find('\0') == std::string::npos;
}

Result<std::map<RevisionNumber, KeptRevision>> decode_revisions(const Json& json) {
  std::map<RevisionNumber, KeptRevision> all;
  if (!json.is_array()) return fail(Code::kCorrupt, "no list of revisions");
  for (const Json& own : json) {
    auto number = revision(at(own, "number"));
    if (!number) return fail(std::move(number.error()));
    auto process = decode_process(at(own, "process"));
    if (!process) return fail(Code::kCorrupt, "{}", process.error().message);
    auto since = moment(at(own, "since"));
    if (!since) return fail(std::move(since.error()));
    all[*number] = {std::move(*process), *since};
  }
  return all;
}

Result<compute::TierRollout> decode_rollout(const std::string& tier, const Json& json) {
  compute::TierRollout rollout;
  rollout.tier = tier;
  compute::RolloutMemory& m = rollout.memory;
  for (auto [key, target] : {std::pair{"current", &m.current}, std::pair{"goal", &m.goal},
                             std::pair{"previous", &m.previous}, std::pair{"failed", &m.failed}}) {
    auto number = revision(at(json, key));
    if (!number) return fail(std::move(number.error()));
    *target = *number;
  }
  Json phase = at(json, "phase");
  auto known =
      phase.is_string() ? compute::rollout_phase_from_name(phase.get<std::string>()) : std::nullopt;
  Json places = at(json, "places");
  if (!known || m.current.value == 0 || m.goal.value == 0 || !sound_text(at(json, "reason")) ||
      !places.is_array() || places.size() > kSlotsMax)
    return fail(Code::kCorrupt, "not the state of a deployment");
  m.phase = *known;
  m.reason = json["reason"].get<std::string>();
  for (const Json& place : places) {
    auto number = revision(at(place, "revision"));
    if (!number) return fail(std::move(number.error()));
    if (!at(place, "run").is_boolean() || !at(place, "offered").is_boolean())
      return fail(Code::kCorrupt, "a slot without its state");
    rollout.places.push_back({*number, place["run"].get<bool>(), place["offered"].get<bool>()});
  }
  return rollout;
}

}  // namespace

Json encode_process(const ProcessSpec& process) {
  return {{"command", process.command},
          {"env", process.env},
          {"directory", process.directory},
          {"image", process.image},
          {"image_digest", process.image_digest}};
}

Result<ProcessSpec> decode_process(const Json& json) {
  Json command = at(json, "command");
  Json env = at(json, "env");
  Json directory = at(json, "directory");
  Json image = at(json, "image");
  Json digest = at(json, "image_digest");
  if (!command.is_array() || command.size() > kArgumentsMax)
    return fail(Code::kInvalid, "'command' is a list of at most {} texts", kArgumentsMax);
  if ((!image.is_null() && !sound_text(image)) || (!digest.is_null() && !sound_text(digest)))
    return fail(Code::kInvalid, "'image' and 'image_digest' are texts");
  if (!env.is_object() || env.size() > kArgumentsMax)
    return fail(Code::kInvalid, "'env' maps at most {} names to texts", kArgumentsMax);
  if (!sound_text(directory)) return fail(Code::kInvalid, "'directory' is a text");
  ProcessSpec process;
  for (const Json& argument : command) {
    if (!sound_text(argument)) return fail(Code::kInvalid, "an argument is a text without NUL");
    process.command.push_back(argument.get<std::string>());
  }
  for (const auto& [name, value] : env.items()) {
    if (name.empty() || name.find('=') != std::string::npos ||
        name.find('\0') != std::string::npos || !sound_text(value))
      return fail(Code::kInvalid, "a variable of 'env' is not one");
    process.env[name] = value.get<std::string>();
  }
  process.directory = directory.get<std::string>();
  if (!image.is_null()) process.image = image.get<std::string>();
  if (!digest.is_null()) process.image_digest = digest.get<std::string>();
  if (!process.started())
    return fail(Code::kInvalid, "there is neither a 'command' nor an 'image'");
  return process;
}

Json encode_outcomes(const std::deque<DeployOutcome>& history) {
  Json all = Json::array();
  for (const DeployOutcome& o : history)
    all.push_back({{"revision", o.revision.value},
                   {"at_ms", milliseconds_of(o.at)},
                   {"at", format_wall(o.at)},
                   {"outcome", o.succeeded ? "succeeded" : "rolled_back"},
                   {"reason", o.reason}});
  return all;
}

Json encode_record(const DeployRecord& record) {
  Json revisions = Json::array();
  for (const auto& [number, own] : record.revisions)
    revisions.push_back({{"number", number.value},
                         {"process", encode_process(own.process)},
                         {"since", milliseconds_of(own.since)}});
  Json places = Json::array();
  for (const compute::SlotPlace& p : record.rollout.places)
    places.push_back({{"revision", p.revision.value}, {"run", p.run}, {"offered", p.offered}});
  const compute::RolloutMemory& m = record.rollout.memory;
  return {{"last", record.last.value},
          {"file", encode_process(record.file)},
          {"revisions", revisions},
          {"rollout",
           {{"phase", name(m.phase)},
            {"current", m.current.value},
            {"goal", m.goal.value},
            {"previous", m.previous.value},
            {"failed", m.failed.value},
            {"reason", m.reason},
            {"places", places}}},
          {"history", encode_outcomes(record.history)}};
}

Result<DeployRecord> decode_record(const std::string& tier, const Json& json) {
  DeployRecord record;
  auto last = revision(at(json, "last"));
  if (!last) return fail(std::move(last.error()));
  record.last = *last;
  auto file = decode_process(at(json, "file"));
  if (!file) return fail(Code::kCorrupt, "{}", file.error().message);
  record.file = std::move(*file);
  auto revisions = decode_revisions(at(json, "revisions"));
  if (!revisions) return fail(std::move(revisions.error()));
  record.revisions = std::move(*revisions);
  for (const auto& [number, own] : record.revisions)
    if (number > record.last) return fail(Code::kCorrupt, "a revision is newer than the last one");
  auto rollout = decode_rollout(tier, at(json, "rollout"));
  if (!rollout) return fail(std::move(rollout.error()));
  record.rollout = std::move(*rollout);
  Json history = at(json, "history");
  if (!history.is_array() || history.size() > kDeployHistoryMax)
    return fail(Code::kCorrupt, "no history");
  for (const Json& own : history) {
    auto number = revision(at(own, "revision"));
    auto when = moment(at(own, "at_ms"));
    if (!number || !when || !at(own, "outcome").is_string() || !sound_text(at(own, "reason")))
      return fail(Code::kCorrupt, "the history is damaged");
    record.history.push_back(
        {*number, *when, own["outcome"] == "succeeded", own["reason"].get<std::string>()});
  }
  return record;
}

}  // namespace leeward::app
