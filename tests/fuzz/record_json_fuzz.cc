// Service records: what is accepted is written in a form that reads back the same.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward;
  Platform platform;
  platform.sites = {Site{"gcp", SiteRole::kPrimary, ""}, Site{"aws", SiteRole::kStandby, ""},
                    Site{"witness", SiteRole::kWitness, ""}};
  auto value =
      record_from_json(platform, std::string_view(reinterpret_cast<const char*>(data), size));
  if (!value) return 0;
  const std::string text = to_json_text(platform, *value);
  auto again = record_from_json(platform, text);
  LEEWARD_CHECK(again && to_json_text(platform, *again) == text);
  return 0;
}
