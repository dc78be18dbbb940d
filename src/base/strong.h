// Strong types for numbers that must not be swapped: ids, epochs, positions.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>

namespace leeward {

template <typename Tag, typename Value>
struct Strong {
  Value value{};
  constexpr auto operator<=>(const Strong&) const = default;
};

}  // namespace leeward

template <typename Tag, typename Value>
struct std::hash<leeward::Strong<Tag, Value>> {
  std::size_t operator()(const leeward::Strong<Tag, Value>& id) const noexcept {
    return std::hash<Value>{}(id.value);
  }
};
