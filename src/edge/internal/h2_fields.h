// What both sides of HTTP/2 do with nghttp2: field lines, frames to be sent, ends of bodies.
#pragma once

#include <nghttp2/nghttp2.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edge/internal/send_queue.h"

namespace leeward::edge {

// Field lines of the edge ("Name: value\r\n") as nghttp2 takes them; owns the texts.
class FieldList {
 public:
  void add(std::string_view name, std::string_view value);  // names become lower case
  void add_lines(std::string_view lines);
  std::span<const nghttp2_nv> list();  // valid until the next add()

 private:
  std::vector<std::pair<std::string, std::string>> texts_;
  std::vector<nghttp2_nv> list_;
};

// Serializes frames that wait into `out` until it has `enough`. False: the session is broken.
bool gather_frames(nghttp2_session* session, SendQueue& out, std::size_t enough);

// The end of a body, for the callback that nghttp2 reads it with; `trailers` may be empty.
void end_body(nghttp2_session* session, std::int32_t stream, std::string_view trailers,
              std::uint32_t* flags);

}  // namespace leeward::edge
