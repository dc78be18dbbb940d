// Attacks by class, as public cheat sheets and advisories describe them.
#pragma once

#include <span>
#include <string_view>

namespace leeward::waf::compared {

struct PayloadClass {
  std::string_view name;
  std::span<const std::string_view> payloads;
};

std::span<const PayloadClass> payload_classes();
std::span<const std::string_view> benign_texts();

}  // namespace leeward::waf::compared
