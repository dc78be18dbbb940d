// Asynchronous invocations: kept on disk until they are done, tried again, given to destinations.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "functions/internal/api_request.h"

namespace leeward::functions {
namespace {

using nlohmann::json;

constexpr char kQueueArn[] = "arn:aws:sqs:";

// The last part of an ARN of a queue, if that can name a directory.
std::optional<std::string> queue_of(const std::string& arn) {
  if (!arn.starts_with(kQueueArn)) return std::nullopt;
  const std::string name = arn.substr(arn.rfind(':') + 1);
  const bool sound =
      !name.empty() && name.size() <= 80 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_';
      });
  return sound ? std::optional(name) : std::nullopt;
}

std::string_view condition(EventEnd end) {
  switch (end) {
    case EventEnd::kSuccess:
      return "Success";
    case EventEnd::kRetriesExhausted:
      return "RetriesExhausted";
    case EventEnd::kEventAgeExceeded:
      return "EventAgeExceeded";
  }
  return "?";
}

json parsed_or_text(const std::string& text) {
  json value = json::parse(text, nullptr, false);
  return value.is_discarded() ? json(text) : value;
}

}  // namespace

ApiStatus FunctionService::check_destination(const std::string& arn) const {
  if (arn.empty() || queue_of(arn)) return {};
  if (auto reference = registry_.parse_reference(arn); reference && arn.starts_with("arn:"))
    if (registry_.resolve(*reference)) return {};
  return invalid_parameter(
      fmt::format("'{}' cannot be delivered to: name a function of this host by its ARN, or a "
                  "dead-letter queue of it "
                  "as arn:aws:sqs:{}:{}:NAME",
                  arn.substr(0, 200), registry_.rule().region, registry_.rule().account));
}

EventSettings FunctionService::event_settings(const FunctionReference& reference) const {
  auto function = registry_.all().find(reference.name);
  if (function == registry_.all().end()) return {};
  const auto& events = function->second.events;
  auto own = events.find(reference.qualifier == kLatest ? "" : reference.qualifier);
  return own == events.end() ? EventSettings{} : own->second;
}

ApiStatus FunctionService::accept_event(const FunctionReference& reference, Event event) {
  const EventSettings settings = event_settings(reference);
  const EventRule rule{settings.retries_max, std::chrono::seconds(settings.age_seconds_max)};
  const EventId id{++last_event_};
  if (!event_queue_.accept(BootClock::now(), id, rule))
    return tl::unexpected(ApiError{429, "TooManyRequestsException", "Too many events wait."});
  const json file{{"name", event.reference.name},
                  {"qualifier", event.reference.qualifier},
                  {"request_id", event.request_id},
                  {"payload", event.payload},
                  {"client_context", event.client_context}};
  const std::string path =
      fmt::format("{}/events/{}.json", options_.state_directory, event.request_id);
  Status kept = write_file_durably(path, file.dump(-1, ' ', false, json::error_handler_t::replace));
  events_.emplace(id, std::move(event));
  if (!kept) {  // it was not promised to anybody, so it must not run either
    const std::vector<EventId> started = event_queue_.due(BootClock::now());
    for (EventId other : started)
      if (other != id) run_event(other);
    events_.erase(id);
    static_cast<void>(event_queue_.finished(BootClock::now(), id, EventOutcome::kSucceeded));
    return service_error(kept.error());
  }
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) run_due_events();
  });
  return {};
}

Status FunctionService::load_events() {
  std::error_code ignored;
  const std::string directory = options_.state_directory + "/events";
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (entry.path().extension() != ".json") continue;
    auto text = read_file(entry.path().string());
    if (!text) return fail(text.error());
    const json file = json::parse(*text, nullptr, false);
    auto member = [&](const char* name) {
      const auto found = file.is_object() ? file.find(name) : file.end();
      return found != file.end() && found->is_string() ? found->get<std::string>() : "";
    };
    Event event{{member("name"), member("qualifier")},
                member("request_id"),
                member("payload"),
                member("client_context")};
    if (event.reference.name.empty() || event.request_id.empty())
      return fail(Code::kCorrupt, "{} is damaged; remove it to go on without that event",
                  entry.path().string());
    const EventSettings settings = event_settings(event.reference);
    const EventId id{++last_event_};
    if (!event_queue_.accept(
            BootClock::now(), id,
            {settings.retries_max, std::chrono::seconds(settings.age_seconds_max)}))
      return fail(Code::kCorrupt, "{} holds more events than events_max", directory);
    events_.emplace(id, std::move(event));
  }
  run_due_events();
  return {};
}

void FunctionService::run_due_events() {
  for (EventId id : event_queue_.due(BootClock::now())) run_event(id);
  if (event_timer_) loop_.cancel(*event_timer_);
  event_timer_.reset();
  const auto due = event_queue_.deadline();
  if (!due) return;
  event_timer_ = loop_.call_after(*due - BootClock::now(), [this] {
    event_timer_.reset();
    run_due_events();
  });
}

void FunctionService::run_event(EventId id) {
  const Event& event = events_.at(id);
  auto resolved = registry_.resolve(event.reference, chance());
  if (!resolved) {  // deleted meanwhile: nobody is left to run it for
    InvocationResult result;
    result.end = InvocationEnd::kFunctionError;
    result.payload =
        json{{"errorType", "ResourceNotFoundException"}, {"errorMessage", resolved.error().message}}
            .dump();
    loop_.post([this, alive = std::weak_ptr(alive_), id, result] {
      if (!alive.expired()) event_finished(id, "", result);
    });
    return;
  }
  Invocation invocation;
  invocation.request_id = event.request_id;
  invocation.function_arn = registry_.arn(event.reference.name, event.reference.qualifier);
  invocation.payload = event.payload;
  invocation.client_context = event.client_context;
  InvocationCaller caller;
  caller.done = [this, alive = std::weak_ptr(alive_), id,
                 version = resolved->version](InvocationResult result) {
    loop_.post([this, alive, id, version, result = std::move(result)] {
      if (!alive.expired()) event_finished(id, version, result);
    });
  };
  run(*resolved, std::move(invocation), std::move(caller));
}

void FunctionService::event_finished(EventId id, const std::string& version,
                                     const InvocationResult& result) {
  const EventOutcome outcome = result.end == InvocationEnd::kAnswered ? EventOutcome::kSucceeded
                               : result.end == InvocationEnd::kFunctionError
                                   ? EventOutcome::kFunctionError
                                   : EventOutcome::kNotRun;
  const EventVerdict verdict = event_queue_.finished(BootClock::now(), id, outcome);
  if (!verdict.end) return run_due_events();
  const Event event = std::move(events_.extract(id).mapped());
  const EventSettings settings = event_settings(event.reference);
  const bool success = *verdict.end == EventEnd::kSuccess;
  const std::string arn =
      registry_.arn(event.reference.name,
                    event.reference.qualifier.empty() ? kLatest : event.reference.qualifier);
  json record{{"version", "1.0"},
              {"timestamp", format_wall(SystemClock().now().wall)},
              {"requestContext",
               {{"requestId", event.request_id},
                {"functionArn", arn},
                {"condition", condition(*verdict.end)},
                {"approximateInvokeCount", verdict.tries}}},
              {"requestPayload", parsed_or_text(event.payload)},
              {"responseContext", {{"statusCode", 200}, {"executedVersion", version}}},
              {"responsePayload", parsed_or_text(result.payload)}};
  if (!success) record["responseContext"]["functionError"] = "Unhandled";
  const std::string text = record.dump(-1, ' ', false, json::error_handler_t::replace);
  if (success) {
    deliver(settings.on_success_arn, event.request_id, text);
  } else {
    deliver(settings.on_failure_arn, event.request_id, text);
    auto function = registry_.all().find(event.reference.name);
    // The older dead-letter queue gets the event itself (as AWS sends it), the destination a
    // record.
    if (function != registry_.all().end())
      deliver(function->second.latest.dead_letter_arn, event.request_id, event.payload);
    options_.logger.warn("an asynchronous invocation was given up",
                         {{"function", event.reference.name},
                          {"request", event.request_id},
                          {"condition", condition(*verdict.end)}});
  }
  // Only now: after a crash before this point the event runs again rather than being lost.
  ::unlink(fmt::format("{}/events/{}.json", options_.state_directory, event.request_id).c_str());
  run_due_events();
}

void FunctionService::deliver(const std::string& arn, const std::string& request_id,
                              const std::string& record) {
  if (arn.empty()) return;
  if (auto queue = queue_of(arn)) {
    const std::string directory = options_.state_directory + "/dead-letters/" + *queue;
    Status kept = make_directories(directory);
    std::error_code ignored;
    const auto count = std::distance(std::filesystem::directory_iterator(directory, ignored), {});
    if (kept && static_cast<std::size_t>(count) >= options_.dead_letters_max)
      kept = fail(Code::kUnavailable, "{} is full", directory);
    if (kept) kept = write_file_durably(fmt::format("{}/{}.json", directory, request_id), record);
    if (!kept)
      options_.logger.error(
          "a dead letter was dropped",
          {{"queue", *queue}, {"request", request_id}, {"why", kept.error().message}});
    return;
  }
  auto reference = registry_.parse_reference(arn);
  if (!reference) return;
  ApiStatus accepted = accept_event(*reference, {*reference, uuid(), record, ""});
  if (!accepted)
    options_.logger.error("a destination did not take its record",
                          {{"destination", arn}, {"why", accepted.error().message}});
}

}  // namespace leeward::functions
