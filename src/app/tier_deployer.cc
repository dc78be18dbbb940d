#include "app/tier_deployer.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/file.h"
#include "config/config.h"
#include "console/auth.h"

namespace leeward::app {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMemoryBytesMax = 16u << 20;
constexpr RevisionNumber kFirstRevision{1};

const ProcessSpec* process_of(const DeployRecord& record, RevisionNumber number) {
  auto found = record.revisions.find(number);
  return found == record.revisions.end() ? nullptr : &found->second.process;
}

}  // namespace

Result<std::unique_ptr<TierDeployer>> TierDeployer::open(net::EventLoop& loop,
                                                         const Context& context,
                                                         compute::PlaceholderValues values,
                                                         TierFunctions& functions) {
  auto images = TierImages::open(loop, context.state + "/images", context.platform.directory);
  if (!images) return fail(std::move(images.error()));
  return std::unique_ptr<TierDeployer>(
      new TierDeployer(context, std::move(values), functions, std::move(*images)));
}

TierDeployer::TierDeployer(const Context& context, compute::PlaceholderValues values,
                           TierFunctions& functions, std::unique_ptr<TierImages> images)
    : context_(context),
      values_(std::move(values)),
      functions_(functions),
      images_(std::move(images)),
      logger_(context.logger.with("deploy")),
      path_(context.state + "/deploy.json"),
      remembered_(load()) {}

Result<std::vector<compute::TierSpec>> TierDeployer::tiers() {
  std::vector<compute::TierSpec> specs;
  for (const Tier& tier : context_.platform.tiers) {
    if (!tier.process.started()) continue;
    ProcessSpec process = tier.process;
    auto spec = first_spec(tier, process);
    if (!spec) return fail(std::move(spec.error()));
    specs.push_back(std::move(*spec));
    Own& own = tiers_[tier.name];
    own.tier = &tier;
    own.record.last = kFirstRevision;
    own.record.file = process;
    own.record.revisions[kFirstRevision] = {process, clock_.now().wall};
  }
  return specs;
}

// What a tier begins with if nothing is restored: the file's process, or the one that ran last
// while the file's image is still to be unpacked. `process` becomes that one.
Result<compute::TierSpec> TierDeployer::first_spec(const Tier& tier, ProcessSpec& process) {
  if (process.image.empty()) return expand(tier, process);
  auto context = [&](Error error) { return fail(std::move(error).wrap("tier " + tier.name)); };
  auto digest = images_->find(process.image);
  if (digest && images_->stored(*digest)) {
    process.image_digest = *digest;
    return expand(tier, process);
  }
  if (auto record = remembered_.find(tier.name); record != remembered_.end())
    if (const ProcessSpec* last = process_of(record->second, record->second.rollout.memory.current))
      if (auto spec = expand(tier, *last)) {
        process = *last;
        return spec;
      }
  if (!digest) return context(std::move(digest.error()));
  logger_.info("unpacking an image", {{"tier", tier.name}, {"image", process.image}});
  auto image = images_->unpack_now(process.image);
  if (!image) return context(std::move(image.error()));
  process.image_digest = image->digest;
  return expand(tier, process);
}

void TierDeployer::attach(compute::Supervisor& supervisor) {
  supervisor_ = &supervisor;
  for (auto& [name, own] : tiers_)
    if (auto record = remembered_.extract(name); !record.empty())
      if (!restore(own, std::move(record.mapped())))
        begin_anew(name, "a revision of it cannot be run any more");
  remembered_.clear();
  for (auto& [name, own] : tiers_) follow_file(own);
  loading_ = false;
  look();
  save();
}

TierDeployer::Own* TierDeployer::find(std::string_view tier) {
  auto own = tiers_.find(tier);
  return own == tiers_.end() ? nullptr : &own->second;
}

// ------------------------------------------------------------------------------------- memory

void TierDeployer::begin_anew(const std::string& tier, const std::string& why) const {
  logger_.warn("what was known of the revisions cannot be used; the file's one is begun with",
               {{"file", path_}, {"tier", tier}, {"why", why}});
}

TierDeployer::Records TierDeployer::load() const {
  Records records;
  auto text = read_file(path_, kMemoryBytesMax);
  if (!text && text.error().code == Code::kNotFound) return records;
  if (!text) {
    begin_anew("", text.error().message);
    return records;
  }
  Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json["tiers"].is_object()) {
    begin_anew("", "not what it should be");
    return records;
  }
  for (const auto& [name, own] : json["tiers"].items()) {
    auto record = decode_record(name, own);
    if (record)
      records[name] = std::move(*record);
    else
      begin_anew(name, record.error().message);
  }
  return records;
}

bool TierDeployer::restore(Own& own, DeployRecord record) {
  std::map<RevisionNumber, compute::RevisionSpecs> specs;
  for (const auto& [number, kept] : record.revisions) {
    auto expanded = expand(*own.tier, kept.process);
    if (!expanded) return false;
    specs[number] = std::move(expanded->instances);
  }
  if (!supervisor_->restore(record.rollout, specs)) return false;
  own.record = std::move(record);
  return true;
}

// What the configuration file says now, if that is new.
void TierDeployer::follow_file(Own& own) {
  ProcessSpec process = own.tier->process;
  auto refuse = [&](const Error& error) {
    logger_.error("the file's revision is not deployed",
                  {{"tier", own.tier->name}, {"why", error.message}});
  };
  if (!process.image.empty()) {
    auto digest = images_->find(process.image);
    if (!digest) return refuse(digest.error());
    process.image_digest = *digest;
  }
  if (own.record.file == process) return;
  const ProcessSpec* goal = process_of(own.record, own.record.rollout.memory.goal);
  bool known = goal != nullptr && *goal == process;
  Status begun = known ? Status{} : begin_or_unpack(own, process, true);
  if (!begun) return refuse(begun.error());
  if (!own.unpacking) own.record.file = process;
}

// REQUIRES of the process's image, if any, that it has been unpacked; kNotFound else.
Result<compute::TierSpec> TierDeployer::expand(const Tier& tier, const ProcessSpec& process) const {
  if (tier.functions_at(context_.site()))
    if (auto program = functions_.program_of(tier, process); !program)
      return fail(std::move(program.error()));
  Tier changed = instances_at(tier, context_.site());
  changed.process = process;
  if (process.image.empty())
    return compute::expand_tier(changed, values_, context_.platform.directory);
  auto image = images_->stored(process.image_digest);
  if (!image) return fail(std::move(image.error()).wrap("tier " + tier.name));
  return compute::expand_tier(changed, values_, context_.platform.directory, &*image);
}

// Whether an operator may have `process` run here.
Status TierDeployer::allowed(const Tier& tier, const ProcessSpec& process) const {
  if (!process.image.empty() && tier.functions_at(context_.site()))
    return fail(Code::kInvalid, "tier '{}' is functions on site '{}', and they run from no image",
                tier.name, context_.site().name);
  if (context_.platform.deploy_from == RevisionSource::kOperator) return {};
  const std::string only = fmt::format(
      "the agent of site '{}' runs only what {} says on its own machine "
      "(agent.deploy_from: file)",
      context_.site().name, context_.config_path);
  const config::Loaded now = config::load_file(context_.config_path);
  if (!now.platform)
    return fail(Code::kInvalid, "{}, and that cannot be used: {}", only,
                now.problems.empty() ? "it is empty" : config::to_string(now.problems.front()));
  for (const Tier& own : now.platform->tiers) {
    if (own.name != tier.name) continue;
    ProcessSpec named = process;  // an image is told of by its digest, and named in a file
    named.image_digest.clear();
    if (own.process == named) return {};
    const char* what = own.process.command != process.command ? "command"
                       : own.process.env != process.env       ? "env"
                       : own.process.image != process.image   ? "image"
                                                              : "directory";
    return fail(Code::kRefused, "{}, and there tier '{}' has another {}; change that file first",
                only, tier.name, what);
  }
  return fail(Code::kRefused, "{}, and there is no tier '{}' in it", only, tier.name);
}

Status TierDeployer::begin(Own& own, const ProcessSpec& process) {
  auto expanded = expand(*own.tier, process);
  if (!expanded) return fail(std::move(expanded.error()));
  RevisionNumber number{own.record.last.value + 1};
  own.record.revisions[number] = {process, clock_.now().wall};
  own.record.last = number;
  auto begun = supervisor_->deploy(own.tier->name, number, std::move(expanded->instances));
  if (begun) return {};
  own.record.revisions.erase(number);
  own.record.last.value -= 1;
  return begun;
}

Status TierDeployer::begin_or_unpack(Own& own, const ProcessSpec& process, bool of_file) {
  if (own.unpacking)
    return fail(Code::kConflict, "the image of revision {} of tier '{}' is being unpacked",
                own.unpacking->number.value, own.tier->name);
  if (process.image.empty() || images_->stored(process.image_digest)) return begin(own, process);
  // As the supervisor will say after it.
  const compute::RolloutMemory& m = own.record.rollout.memory;
  if (m.phase == compute::RolloutPhase::kReplacing ||
      m.phase == compute::RolloutPhase::kPreparing || m.phase == compute::RolloutPhase::kWatching)
    return fail(Code::kConflict,
                "revision {} is being deployed; wait for its end, or roll it back first",
                m.goal.value);
  own.unpacking = Unpacking{{own.record.last.value + 1}, process, of_file};
  logger_.info("unpacking an image", {{"tier", own.tier->name}, {"image", process.image}});
  images_->unpack(process.image,
                  [this, tier = own.tier->name, number = own.unpacking->number](
                      Result<compute::Image> image) { unpacked(tier, number, std::move(image)); });
  return {};
}

void TierDeployer::unpacked(const std::string& tier, RevisionNumber number,
                            Result<compute::Image> image) {
  Own* own = find(tier);
  if (own == nullptr || !own->unpacking || own->unpacking->number != number) return;  // taken back
  Unpacking done = std::move(*own->unpacking);
  own->unpacking.reset();
  if (done.of_file) own->record.file = done.process;
  Status begun = image ? Status{} : fail(std::move(image.error()));
  if (begun) {
    done.process.image_digest = image->digest;  // it may have been replaced meanwhile
    begun = begin(*own, done.process);
  }
  if (!begun) return unpack_failed(*own, done.number, begun.error().message);
  look();
  save();
}

void TierDeployer::unpack_failed(Own& own, RevisionNumber number, const std::string& why) {
  logger_.error("a revision is not deployed", {{"tier", own.tier->name}, {"why", why}});
  own.record.last = number;
  own.unpack_failure = {number, clock_.now().wall, false, why};
  ended(own, own.unpack_failure);
  save();
}

void TierDeployer::ended(Own& own, DeployOutcome outcome) {
  successes_ += outcome.succeeded;
  rollbacks_ += !outcome.succeeded;
  last_ = fmt::format("{}, revision {}", own.tier->name, outcome.revision.value);
  if (!outcome.succeeded) last_ += ": " + outcome.reason;
  own.record.history.push_back(std::move(outcome));
  if (own.record.history.size() > kDeployHistoryMax) own.record.history.pop_front();
}

// Takes over what the supervisor says, and forgets revisions that nothing uses. Functions are
// always of the revision that is the goal: they have nothing to replace, and follow it at once.
void TierDeployer::look() {
  for (compute::TierRollout& rollout : supervisor_->rollouts()) {
    Own* own = find(rollout.tier);
    if (own == nullptr) continue;
    const compute::RolloutMemory& m = rollout.memory;
    std::erase_if(own->record.revisions, [&](const auto& kept) {
      bool used = kept.first == m.current || kept.first == m.goal || kept.first == m.previous;
      for (const compute::SlotPlace& p : rollout.places) used = used || p.revision == kept.first;
      return !used;
    });
    own->record.rollout = std::move(rollout);
    auto goal = own->record.revisions.find(own->record.rollout.memory.goal);
    if (goal == own->record.revisions.end()) continue;
    if (Status ordered = functions_.run(*own->tier, goal->second.process); !ordered)
      logger_.error("functions are not told their revision",
                    {{"tier", own->tier->name}, {"why", ordered.error().message}});
  }
}

void TierDeployer::save() {
  Json tiers = Json::object();
  std::set<std::string> images;
  for (const auto& [name, own] : tiers_) {
    tiers[name] = encode_record(own.record);
    for (const auto& [number, kept] : own.record.revisions)
      images.insert(kept.process.image_digest);
    if (own.unpacking) images.insert(own.unpacking->process.image_digest);
  }
  if (auto saved = write_file_durably(path_, Json{{"tiers", tiers}}.dump()); !saved)
    logger_.warn("what is known of the revisions cannot be saved",
                 {{"why", saved.error().message}});
  images_->keep_only(std::move(images));
}

void TierDeployer::changed(const std::string& tier, compute::RolloutEvent event) {
  Own* own = find(tier);
  if (own == nullptr || loading_) return;
  look();
  const compute::RolloutMemory& m = own->record.rollout.memory;
  bool succeeded = event == compute::RolloutEvent::kSucceeded;
  if (succeeded || event == compute::RolloutEvent::kUndone)
    ended(*own, {succeeded ? m.current : m.failed, clock_.now().wall, succeeded,
                 succeeded ? "" : m.reason});
  save();
}

// -------------------------------------------------------------------------------------- answers

bool TierDeployer::answers(const net::HttpRequest& request) {
  return request.path == "/v1/deploy" || request.path.starts_with("/v1/deploy/");
}

Json TierDeployer::status(const Own& own, const compute::TierRollout& rollout,
                          const std::vector<compute::InstanceStatus>& all) const {
  Json instances = Json::array();
  Json functions;
  for (const compute::InstanceStatus& i : all) {
    if (i.tier == functions_name(*own.tier))
      functions = {
          {"state", name(i.state)}, {"last_exit", i.last_exit}, {"last_check", i.last_check}};
    if (i.tier != rollout.tier || (!i.wanted && i.pid == 0)) continue;
    instances.push_back({{"number", i.number},
                         {"revision", i.revision.value},
                         {"state", name(i.state)},
                         {"offered", i.offered},
                         {"last_exit", i.last_exit},
                         {"last_check", i.last_check}});
  }
  Json revisions = Json::array();
  for (const auto& [number, kept] : own.record.revisions)
    revisions.push_back({{"number", number.value},
                         {"command", kept.process.command},
                         {"image", kept.process.image},
                         {"image_digest", kept.process.image_digest},
                         {"since", format_wall(kept.since)}});
  const compute::RolloutMemory& m = rollout.memory;
  bool unpack_failed = own.unpack_failure.revision > m.failed;
  bool blue_green = own.tier->deploy && own.tier->deploy->strategy == DeployStrategy::kBlueGreen;
  Json status = {{"tier", rollout.tier},
                 {"strategy", blue_green ? "blue-green" : "rolling"},
                 {"active", rollout.active},
                 {"phase", own.unpacking ? "unpacking" : name(m.phase)},
                 {"current", m.current.value},
                 {"goal", own.unpacking ? own.unpacking->number.value : m.goal.value},
                 {"previous", m.previous.value},
                 {"failed", unpack_failed ? own.unpack_failure.revision.value : m.failed.value},
                 {"reason", unpack_failed ? own.unpack_failure.reason : m.reason},
                 {"instances", instances},
                 {"revisions", revisions},
                 {"history", encode_outcomes(own.record.history)}};
  if (!functions.is_null()) status["functions"] = std::move(functions);
  return status;
}

Json TierDeployer::status() const {
  Json tiers = Json::array();
  std::vector<compute::InstanceStatus> all = supervisor_->status();
  for (const compute::TierRollout& rollout : supervisor_->rollouts())
    if (auto own = tiers_.find(rollout.tier); own != tiers_.end())
      tiers.push_back(status(own->second, rollout, all));
  return {{"site", context_.site().name}, {"tiers", tiers}};
}

Result<Json> TierDeployer::roll_back(Own& own) {
  const std::string why = "an operator asked for it";
  if (own.unpacking)
    unpack_failed(own, std::exchange(own.unpacking, std::nullopt)->number, why);
  else if (auto undone = supervisor_->roll_back(own.tier->name, why); !undone)
    return fail(std::move(undone.error()));
  look();
  return Json{{"site", context_.site().name},
              {"tier", own.tier->name},
              {"revision", own.record.rollout.memory.goal.value},
              {"begun", true}};
}

Result<Json> TierDeployer::deploy(Own& own, const ProcessSpec& process) {
  const compute::RolloutMemory& m = own.record.rollout.memory;
  const ProcessSpec* goal =
      own.unpacking ? &own.unpacking->process : process_of(own.record, m.goal);
  bool begun = goal == nullptr || *goal != process || m.phase == compute::RolloutPhase::kUndoing;
  if (begun) {
    if (auto may = allowed(*own.tier, process); !may) return fail(std::move(may.error()));
    if (auto started = begin_or_unpack(own, process, false); !started)
      return fail(std::move(started.error()));
  }
  look();
  if (own.unpacking) save();
  return Json{{"site", context_.site().name},
              {"tier", own.tier->name},
              {"revision", own.unpacking ? own.unpacking->number.value : m.goal.value},
              {"begun", begun}};
}

void TierDeployer::post(const net::HttpRequest& request, const net::Responder& respond) {
  auto answer = [respond](const Result<Json>& result) {
    if (!result) return respond(net::error_response(result.error()));
    net::HttpResponse response;
    response.body = result->dump();
    respond(std::move(response));
  };
  Json json = Json::parse(request.body, nullptr, false);
  if (!json.is_object() || !json["tier"].is_string())
    return answer(fail(Code::kInvalid, "{}: needs tier", request.path));
  std::string tier = json["tier"].get<std::string>();
  Own* own = find(tier);
  if (own == nullptr) return answer(fail(Code::kNotFound, "there is no tier '{}' here", tier));
  if (request.path == "/v1/deploy/rollback") return answer(roll_back(*own));
  auto process = decode_process(json["process"]);
  if (!process) return answer(fail(std::move(process.error()).wrap(request.path)));
  if (process->image.empty()) return answer(deploy(*own, *process));
  images_->find(process->image,
                [this, tier, process = *process, answer](Result<std::string> digest) {
                  if (!digest) return answer(fail(std::move(digest.error())));
                  ProcessSpec found = process;
                  found.image_digest = *digest;
                  answer(deploy(*find(tier), found));
                });
}

void TierDeployer::handle(const net::HttpRequest& request, const net::Responder& respond) {
  if (auto allowed = console::authorize(request, context_.tokens, console::Role::kOperator);
      !allowed)
    return respond(net::error_response(allowed.error()));
  bool known = request.path == "/v1/deploy" || request.path == "/v1/deploy/rollback";
  if (request.method == "POST" && known) return post(request, respond);
  if (request.method != "GET" || request.path != "/v1/deploy")
    return respond(net::error_response(
        {Code::kNotFound, fmt::format("there is no {} {}", request.method, request.path)}));
  net::HttpResponse response;
  response.body = status().dump();
  respond(std::move(response));
}

}  // namespace leeward::app
