// The hash of the zone's table. It is folded label by label from the apex down, so that one pass
// over a name gives the hashes of all its ancestors, which a miss needs.
#pragma once

#include <cstdint>
#include <string_view>

namespace leeward::dns::internal {

inline constexpr std::uint32_t kApexHash = 2166136261u;  // FNV-1a offset basis

// `label` includes its length octet and is lower-cased.
inline std::uint32_t hash_child(std::uint32_t parent, std::string_view label) {
  std::uint32_t hash = parent;
  for (char c : label) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

// FNV's low bits are weak; the table index is taken from the high ones.
inline std::size_t first_slot(std::uint32_t hash, std::size_t mask) {
  return ((hash ^ (hash >> 16)) * std::size_t{0x9e3779b1} >> 16) & mask;
}

}  // namespace leeward::dns::internal
