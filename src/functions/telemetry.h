// The Telemetry API of one environment: what an extension subscribes to, and the events that wait
// for it.
//
// Events are collected and delivered in batches, when there are enough of them or the oldest has
// waited long enough; what does not fit is dropped, and that is told. Pure; the host delivers.
// Source: "Lambda Telemetry API reference" and "Event schema reference" of the AWS Lambda guide,
// API version 2022-07-01, schema 2022-12-13.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"

namespace leeward::functions {

struct TelemetrySubscription {
  std::uint16_t port = 0;  // of a server on the environment's loopback
  std::string path = "/";
  bool platform = false, function = false, extension = false;
  std::size_t items_max = 1000;
  std::size_t bytes_max = 262'144;
  Duration timeout = 1s;
};
// The body of a subscription; kInvalid names everything that is wrong.
Result<TelemetrySubscription> parse_subscription(std::string_view body);

class TelemetryBuffer {
 public:
  TelemetryBuffer(std::string subscriber, TelemetrySubscription subscription)
      : subscriber_(std::move(subscriber)), subscription_(std::move(subscription)) {}

  const std::string& subscriber() const { return subscriber_; }  // identifier of the extension
  const TelemetrySubscription& subscription() const { return subscription_; }

  // An event of `type` ("platform.start", "function", "extension"); ignored if not subscribed to.
  void add(BootTime now, WallTime at, std::string_view type, const nlohmann::json& record);
  // When the next batch is to go, if anything waits.
  std::optional<BootTime> due() const;
  // The batch, a JSON array; empty text when nothing waits.
  std::string take();
  std::size_t waiting() const { return items_.size(); }

 private:
  const std::string subscriber_;
  const TelemetrySubscription subscription_;
  std::vector<std::string> items_;
  std::size_t bytes_ = 0;
  std::optional<BootTime> first_;
  std::size_t dropped_items_ = 0, dropped_bytes_ = 0;
};

}  // namespace leeward::functions
