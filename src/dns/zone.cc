#include "dns/zone.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "dns/internal/name_hash.h"

namespace leeward::dns {

void ActiveState::publish(Value v) {
  LEEWARD_CHECK(v.site.value < kSitesMax);
  word_.store(std::uint64_t{v.serial} << 32 | v.site.value, std::memory_order_release);
}

Zone::Zone(ZoneTables tables) : tables_(std::move(tables)) {}

const ZoneTables::Node* Zone::find_node(std::uint32_t hash, std::string_view name) const {
  const std::size_t mask = tables_.slots.size() - 1;
  for (std::size_t i = internal::first_slot(hash, mask);; i = (i + 1) & mask) {
    const ZoneTables::Slot& slot = tables_.slots[i];
    if (slot.node == 0) return nullptr;
    if (slot.hash != hash) continue;
    const ZoneTables::Node& node = tables_.nodes[slot.node - 1];
    if (node.name_length == name.size() &&
        std::memcmp(tables_.names.data() + node.name_at, name.data(), name.size()) == 0)
      return &node;
  }
}

const Answer* Zone::find(const QueryName& name, std::uint16_t type, SiteId site) const {
  if (name.labels < tables_.apex_labels) return nullptr;
  const std::size_t relative = name.labels - tables_.apex_labels;
  if (name.suffix(relative) != tables_.apex) return nullptr;

  // Nothing exists below depth_max, so the work does not grow with the length of the query's name.
  const std::size_t depth_max = std::min(relative, tables_.depth_max);
  std::array<std::uint32_t, kLabelsMax + 1> hash;
  hash[0] = internal::kApexHash;
  for (std::size_t depth = 1; depth <= depth_max; ++depth) {
    std::string_view label = name.suffix(relative - depth);
    hash[depth] = internal::hash_child(hash[depth - 1],
                                       label.substr(0, 1 + static_cast<unsigned char>(label[0])));
  }
  // From the name itself up to its closest encloser (RFC 4592 §3.3.1); the apex always exists.
  const ZoneTables::Node* node = nullptr;
  std::size_t depth = depth_max;
  while ((node = find_node(hash[depth], name.suffix(relative - depth))) == nullptr) --depth;
  if (depth != relative) node = &tables_.nodes[node->missing_child];

  const Variants* variants = &node->otherwise;
  const ZoneTables::Set* set = tables_.sets.data() + node->set_first;
  for (const auto* end = set + node->set_count; set != end; ++set) {
    if (set->type == type) {
      variants = &set->answer;
      break;
    }
  }
  return &tables_.answers[(*variants)[site.value]];
}

std::uint32_t next_serial(std::uint32_t last, std::uint32_t wanted) {
  bool wanted_is_later = static_cast<std::int32_t>(wanted - last) > 0;
  return wanted_is_later ? wanted : last + 1;
}

}  // namespace leeward::dns
