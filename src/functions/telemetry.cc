#include "functions/telemetry.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace leeward::functions {
namespace {

using nlohmann::json;

// Until a batch can be delivered, this many times what one may hold is kept.
constexpr std::size_t kBatchesKept = 4;

std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// "http://sandbox.localdomain:8080/path"; what is wrong with it, or "".
std::string read_uri(const std::string& uri, TelemetrySubscription& out) {
  std::string_view rest = uri;
  constexpr std::string_view kScheme = "http://";
  if (!rest.starts_with(kScheme)) return "URI scheme must be http";
  rest.remove_prefix(kScheme.size());
  const auto slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  if (slash < rest.size()) out.path = std::string(rest.substr(slash));
  const auto colon = authority.rfind(':');
  if (colon == std::string_view::npos) return "URI port is not provided";
  const std::string_view host = authority.substr(0, colon), port = authority.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc{} || end != port.data() + port.size() || out.port == 0)
    return "URI port is not a port";
  if (host != "sandbox.localdomain" && host != "sandbox" && host != "localhost" &&
      host != "127.0.0.1")
    return "URI host must be sandbox.localdomain";
  for (char c : out.path)
    if (c <= ' ' || c > '~') return "URI path has a character that must be escaped";
  return "";
}

}  // namespace

Result<TelemetrySubscription> parse_subscription(std::string_view body) {
  TelemetrySubscription out;
  std::vector<std::string> wrong;
  const json parsed = json::parse(body, nullptr, false);
  if (!parsed.is_object()) return fail(Code::kInvalid, "the body is not a JSON object");
  const json version = parsed.value("schemaVersion", json());
  if (version != "2022-07-01" && version != "2022-12-13")
    wrong.emplace_back("schemaVersion must be 2022-12-13 or 2022-07-01");
  const json types = parsed.value("types", json::array());
  if (!types.is_array() || types.empty()) wrong.emplace_back("types should not be empty");
  for (const json& type : types) {
    if (type == "platform") {
      out.platform = true;
    } else if (type == "function") {
      out.function = true;
    } else if (type == "extension") {
      out.extension = true;
    } else {
      wrong.push_back("there is no type " + text_of(type).substr(0, 80));
    }
  }
  const json destination = parsed.value("destination", json());
  const json protocol = destination.is_object() ? destination.value("protocol", json()) : json();
  const json uri = destination.is_object() ? destination.value("URI", json()) : json();
  if (protocol != "HTTP") wrong.emplace_back("destination.protocol must be HTTP");
  if (!uri.is_string()) {
    wrong.emplace_back("destination.URI is missing");
  } else if (std::string why = read_uri(uri.get<std::string>(), out); !why.empty()) {
    wrong.push_back(std::move(why));
  }
  const json buffering = parsed.value("buffering", json::object());
  auto number = [&](const char* name, std::size_t low, std::size_t high, std::size_t otherwise) {
    if (!buffering.is_object() || !buffering.contains(name)) return otherwise;
    const json& value = buffering[name];
    if (value.is_number_unsigned() && value >= low && value <= high)
      return value.get<std::size_t>();
    wrong.push_back(fmt::format("buffering.{} must be a number from {} to {}", name, low, high));
    return otherwise;
  };
  out.items_max = number("maxItems", 1000, 10'000, out.items_max);
  out.bytes_max = number("maxBytes", 262'144, 1'048'576, out.bytes_max);
  out.timeout = std::chrono::milliseconds(number("timeoutMs", 25, 30'000, 1000));
  if (!wrong.empty()) return fail(Code::kInvalid, "{}", fmt::join(wrong, "; "));
  return out;
}

void TelemetryBuffer::add(BootTime now, WallTime at, std::string_view type, const json& record) {
  const bool wanted = type == "function"    ? subscription_.function
                      : type == "extension" ? subscription_.extension
                                            : subscription_.platform;
  if (!wanted) return;
  std::string item = text_of({{"time", format_wall(at)}, {"type", type}, {"record", record}});
  if (bytes_ + item.size() > kBatchesKept * subscription_.bytes_max ||
      items_.size() >= kBatchesKept * subscription_.items_max) {
    ++dropped_items_;
    dropped_bytes_ += item.size();
    return;
  }
  if (dropped_items_ > 0 && subscription_.platform) {
    json dropped{{"droppedRecords", dropped_items_},
                 {"droppedBytes", dropped_bytes_},
                 {"reason", "the subscriber took too long to take what came before"}};
    dropped_items_ = dropped_bytes_ = 0;
    add(now, at, "platform.logsDropped", dropped);
  }
  bytes_ += item.size();
  items_.push_back(std::move(item));
  if (!first_) first_ = now;
}

std::optional<BootTime> TelemetryBuffer::due() const {
  if (!first_) return std::nullopt;
  const bool full = items_.size() >= subscription_.items_max || bytes_ >= subscription_.bytes_max;
  return full ? *first_ : *first_ + subscription_.timeout;
}

std::string TelemetryBuffer::take() {
  if (items_.empty()) return "";
  std::string batch = fmt::format("[{}]", fmt::join(items_, ","));
  items_.clear();
  bytes_ = 0;
  first_.reset();
  return batch;
}

}  // namespace leeward::functions
