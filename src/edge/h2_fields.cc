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

bool gather_frames(nghttp2_session* session, SendQueue& out, std::size_t enough) {
  while (out.size() < enough) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session, &bytes);
    if (n <= 0) return n == 0;
    out.append({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n)});
  }
  return true;
}

void end_body(nghttp2_session* session, std::int32_t stream, std::string_view trailers,
              std::uint32_t* flags) {
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (trailers.empty()) return;
  *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  FieldList fields;
  fields.add_lines(trailers);
  const auto list = fields.list();
  nghttp2_submit_trailer(session, stream, list.data(), list.size());
}

}  // namespace leeward::edge
