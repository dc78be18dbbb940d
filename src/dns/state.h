// The last known state of a DNS server on disk, so that a restart answers what was answered before,
// whether control can be reached or not (design §3), and never acts under an older epoch (§5.5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/ids.h"

namespace leeward::dns {

struct SavedState {
  std::string active_site;           // its name: ids may change with the configuration
  Epoch epoch;                       // highest ever seen
  std::uint64_t record_version = 0;  // of the service record that said so
  std::uint32_t serial = 0;          // of the zone, last published
  bool operator==(const SavedState&) const = default;
};

// Five "key value" lines after a title, the last a checksum over all before it.
std::string format_state(const SavedState& state);
Result<SavedState> parse_state(std::string_view text);  // kCorrupt says which line is wrong

// Nothing when the file does not exist; kCorrupt for bytes that format_state never wrote; kIo.
Result<std::optional<SavedState>> load_state(const std::string& path);
// Durable before it returns (base/file.h). kIo.
Status save_state(const std::string& path, const SavedState& state);

}  // namespace leeward::dns
