// The list of functions as it lies on disk, and requests that change it: anything is refused or
// kept.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "functions/registry_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward::functions;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Registry registry(RegistryRule{}, [] { return "x"; });
  if (load_registry(registry, text)) {
    const std::string saved = save_registry(registry);
    Registry again(RegistryRule{}, [] { return "x"; });
    LEEWARD_CHECK(load_registry(again, saved));
    LEEWARD_CHECK(save_registry(again) == saved);
  }
  if (auto request = parse_request(text)) {
    FunctionSettings settings;
    Alias alias;
    EventSettings events;
    static_cast<void>(apply_members(*request, settings));
    static_cast<void>(apply_members(*request, alias));
    static_cast<void>(apply_members(*request, events));
  }
  if (auto reference = registry.parse_reference(std::string(text)))
    LEEWARD_CHECK(reference->name.find('/') == std::string::npos && !reference->name.empty());
  return 0;
}
