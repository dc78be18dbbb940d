#include "edge/internal/h2_fields.h"

#include "edge/cache_core.h"

namespace leeward::edge {

void FieldList::add(std::string_view name, std::string_view value) {
  std::string lower(name);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  texts_.emplace_back(std::move(lower), std::string(value));
}

void FieldList::add_lines(std::string_view lines) {
  for_each_line(lines, [this](std::string_view name, std::string_view value) { add(name, value); });
}

std::span<const nghttp2_nv> FieldList::list() {
  list_.clear();
  auto bytes = [](const std::string& s) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(s.data()));
  };
  for (const auto& [name, value] : texts_)
    list_.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
  return list_;
}

}  // namespace leeward::edge
