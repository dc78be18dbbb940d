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
constexpr Duration kWriteAgain = 100ms;  // when too much waits for the disk
constexpr auto kReplace = json::error_handler_t::replace;

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

// A value of a record: JSON as it is, anything else as a string. It is not made into a tree, whose
// copies and text take the stack as deep as the value is nested, and that is for a caller to
// choose.
std::string value_text(const std::string& text) {
  return json::accept(text) ? text : json(text).dump(-1, ' ', false, kReplace);
}

// What a destination gets to know of an event's end, in AWS's shape.
std::string record_of(const std::string& request_id, const std::string& arn,
                      const EventVerdict& verdict, const std::string& payload,
                      const std::string& version, const std::string& answer) {
  const json context{{"requestId", request_id},
                     {"functionArn", arn},
                     {"condition", condition(*verdict.end)},
                     {"approximateInvokeCount", verdict.tries}};
  json response{{"statusCode", 200}, {"executedVersion", version}};
  if (*verdict.end != EventEnd::kSuccess) response["functionError"] = "Unhandled";
  return fmt::format(R"({{"version":"1.0","timestamp":{},"requestContext":{},"requestPayload":{},)"
                     R"("responseContext":{},"responsePayload":{}}})",
                     json(format_wall(SystemClock().now().wall)).dump(),
                     context.dump(-1, ' ', false, kReplace), value_text(payload), response.dump(),
                     value_text(answer));
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

std::string FunctionService::event_path(const std::string& request_id) const {
  return fmt::format("{}/events/{}.json", options_.state_directory, request_id);
}

void FunctionService::accept_event(Event event, std::function<void(ApiStatus)> then) {
  const EventSettings settings = event_settings(event.reference);
  const EventRule rule{settings.retries_max, std::chrono::seconds(settings.age_seconds_max)};
  const EventId id{++last_event_};
  const ApiError full{429, "TooManyRequestsException", "Too many events wait."};
  if (!event_queue_.accept(BootClock::now(), id, rule)) return then(tl::unexpected(full));
  const json file{{"name", event.reference.name},
                  {"qualifier", event.reference.qualifier},
                  {"request_id", event.request_id},
                  {"payload", event.payload},
                  {"client_context", event.client_context}};
  auto write = [this, alive = std::weak_ptr(alive_), id, then, path = event_path(event.request_id),
                text = file.dump(-1, ' ', false, kReplace)] {
    Status kept = write_file_durably(path, text);
    // It was not promised to anybody, so it must not run after a restart either.
    if (!kept) ::unlink(path.c_str());
    loop_.post([this, alive, id, then, kept] {
      if (alive.expired()) return;
      if (!kept) {
        event_queue_.withdraw(id);
        events_.erase(id);
        return then(service_error(kept.error()));
      }
      event_queue_.kept(BootClock::now(), id);
      then({});
      run_due_events();
    });
  };
  if (!writers_->submit(std::move(write))) {
    event_queue_.withdraw(id);
    return then(tl::unexpected(full));
  }
  events_.emplace(id, std::move(event));
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
    event_queue_.kept(BootClock::now(), id);
    events_.emplace(id, std::move(event));
  }
  run_due_events();
  return {};
}

void FunctionService::run_due_events() {
  if (stopping_) return;  // they are on disk, and run in the host's next life
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
  const std::string arn =
      registry_.arn(event.reference.name,
                    event.reference.qualifier.empty() ? kLatest : event.reference.qualifier);
  const bool success = *verdict.end == EventEnd::kSuccess;
  const std::string& destination = success ? settings.on_success_arn : settings.on_failure_arn;
  std::vector<Delivery> deliveries;
  if (!destination.empty())
    deliveries.push_back({destination, record_of(event.request_id, arn, verdict, event.payload,
                                                 version, result.payload)});
  if (!success) {
    // The older dead-letter queue gets the event itself (as AWS sends it), the destination a
    // record.
    auto function = registry_.all().find(event.reference.name);
    if (function != registry_.all().end() && !function->second.latest.dead_letter_arn.empty())
      deliveries.push_back({function->second.latest.dead_letter_arn, event.payload});
    options_.logger.warn("an asynchronous invocation was given up",
                         {{"function", event.reference.name},
                          {"request", event.request_id},
                          {"condition", condition(*verdict.end)}});
  }
  hand_over(event.request_id, std::move(deliveries));
  run_due_events();
}

// One delivery after the other, then the event's file goes. Only then: after a crash before that
// the event runs again rather than being lost.
void FunctionService::hand_over(const std::string& request_id, std::vector<Delivery> left) {
  if (left.empty()) {
    ::unlink(event_path(request_id).c_str());
    return;
  }
  const Delivery delivery = std::move(left.back());
  left.pop_back();
  const std::string& arn = delivery.arn;
  if (auto queue = queue_of(arn))
    return write_letter(request_id, *queue, delivery, std::move(left));
  auto dropped = [this, arn](const std::string& why) {
    options_.logger.error("a destination did not take its record",
                          {{"destination", arn}, {"why", why}});
  };
  auto reference = registry_.parse_reference(arn);
  if (!reference || delivery.text.size() > kAsynchronousPayloadBytesMax) {
    dropped(reference ? fmt::format("{} bytes are too many for an event", delivery.text.size())
                      : reference.error().message);
    return hand_over(request_id, std::move(left));
  }
  accept_event({*reference, uuid(), delivery.text, ""},
               [this, request_id, left = std::move(left), dropped](const ApiStatus& accepted) {
                 if (!accepted) dropped(accepted.error().message);
                 hand_over(request_id, left);
               });
}

void FunctionService::write_letter(const std::string& request_id, const std::string& queue,
                                   const Delivery& delivery, std::vector<Delivery> left) {
  const std::string directory = options_.state_directory + "/dead-letters/" + queue;
  auto write = [this, alive = std::weak_ptr(alive_), request_id, queue, directory, left,
                text = delivery.text] {
    Status kept = make_directories(directory);
    {
      std::lock_guard lock(letters_);  // so that the bound is one
      std::error_code ignored;
      const auto count = std::distance(std::filesystem::directory_iterator(directory, ignored), {});
      if (kept && static_cast<std::size_t>(count) >= options_.dead_letters_max)
        kept = fail(Code::kUnavailable, "{} is full", directory);
      if (kept) kept = write_file_durably(fmt::format("{}/{}.json", directory, request_id), text);
    }
    loop_.post([this, alive, request_id, queue, left, kept] {
      if (alive.expired()) return;
      if (!kept)
        options_.logger.error(
            "a dead letter was dropped",
            {{"queue", queue}, {"request", request_id}, {"why", kept.error().message}});
      hand_over(request_id, left);
    });
  };
  if (writers_->submit(std::move(write))) return;
  loop_.call_after(kWriteAgain, [this, alive = std::weak_ptr(alive_), request_id, queue, delivery,
                                 left = std::move(left)] {
    if (!alive.expired()) write_letter(request_id, queue, delivery, left);
  });
}

}  // namespace leeward::functions
