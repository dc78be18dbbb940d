// A ledger file: what parses must survive being written and parsed again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "database/ledger.h"
#include "mysql/gtid.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)leeward::mysql::parse_gtid_position(text);
  auto entry = leeward::database::parse_ledger_entry(text);
  if (!entry) return 0;
  std::string once = to_json(*entry);
  auto again = leeward::database::parse_ledger_entry(once);
  if (!again || to_json(*again) != once) std::abort();
  return 0;
}
