// Lists of networks and of countries from files: no crash, and a list that is accepted answers.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "edge/network_list.h"

using namespace leeward::edge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  ClientAddress address;
  std::memcpy(address.bytes, data, size < sizeof address.bytes ? size : sizeof address.bytes);
  for (const auto& list :
       {NetworkList::parse(text, "list"), NetworkList::parse_countries(text, "list")}) {
    if (!list && list.error().message.rfind("list:", 0) != 0) std::abort();
    if (list && list->size() == 0 && list->contains(address)) std::abort();
  }
  return 0;
}
