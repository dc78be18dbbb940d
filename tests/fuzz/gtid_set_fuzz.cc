// Sets of MySQL GTIDs, as text and as bytes: what is accepted survives the way there and back.
#include <cstdint>
#include <string_view>

#include "mysql/gtid_set.h"

namespace mysql = leeward::mysql;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const auto& parsed : {mysql::parse_gtid_set(input), mysql::decode_gtid_set(input)}) {
    if (!parsed) continue;
    auto text = mysql::parse_gtid_set(to_string(*parsed));
    auto bytes = mysql::decode_gtid_set(encode_gtid_set(*parsed));
    if (!text || !bytes || *text != *bytes || !parsed->contains(*text)) __builtin_trap();
  }
  return 0;
}
