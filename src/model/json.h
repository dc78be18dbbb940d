// JSON forms of the model's values, as they lie in the store and travel between control, agents and
// console. One form everywhere:
//   sites      by name; no site is null
//   enums      by their name() string
//   durations  integer milliseconds, rounded up (an age must not look younger), key ends in "_ms";
//              kNever is null
//   WallTime   RFC 3339 in UTC with milliseconds
//   epochs, positions, plan ids and other numbers as integers
//   optionals  null when empty
// ServiceRecord::version is not part of it: it is the store's.
//
// Reading is strict about what it knows: a missing key, a wrong type, an unknown site or enum name
// and a number out of range are kCorrupt, and the message starts with the field's path
// ("plan.history[2].step: …"). Keys that it does not know are ignored, so that a newer process may
// add some. Text that is not UTF-8 is written with U+FFFD in place of the broken bytes.
//
// Functions without state; any thread. Callers bound the size of what they read (HTTP body limit,
// store value limit).
#pragma once

#include <concepts>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/lease.h"
#include "model/platform.h"
#include "model/record.h"
#include "model/status.h"

namespace leeward {

template <typename T>
concept JsonModel = std::same_as<T, ServiceRecord> || std::same_as<T, Plan> ||
    std::same_as<T, Intent> || std::same_as<T, LeaseValue> || std::same_as<T, AgentReport> ||
    std::same_as<T, DatabaseStatus> || std::same_as<T, VantageReport> ||
    std::same_as<T, EventRecord> || std::same_as<T, Protection>;

// REQUIRES: every SiteId in `value` is kNoSite or one of the platform's.
template <JsonModel T>
std::string to_json_text(const Platform& platform, const T& value);

Result<ServiceRecord> record_from_json(const Platform& platform, std::string_view text);
Result<Plan> plan_from_json(const Platform& platform, std::string_view text);
Result<Intent> intent_from_json(const Platform& platform, std::string_view text);
Result<LeaseValue> lease_from_json(const Platform& platform, std::string_view text);
Result<AgentReport> agent_report_from_json(const Platform& platform, std::string_view text);
Result<DatabaseStatus> database_status_from_json(const Platform& platform, std::string_view text);
Result<VantageReport> vantage_report_from_json(const Platform& platform, std::string_view text);
Result<EventRecord> event_from_json(const Platform& platform, std::string_view text);

// The same one level down, to compose larger messages; include <nlohmann/json.hpp> to use them, and
// Error::wrap() to put the outer path in front.
template <JsonModel T>
nlohmann::json encode_json(const Platform& platform, const T& value);
template <JsonModel T>
Result<T> decode_json(const Platform& platform, const nlohmann::json& json);

// RFC 3339: "2026-01-31T23:59:59.123Z", any offset, up to nine decimals (further ones are ignored);
// years 1678 to 2261. kInvalid otherwise; a leap second (":60") is none of our times.
Result<WallTime> parse_wall(std::string_view text);

}  // namespace leeward
