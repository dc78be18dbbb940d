// Field lines of the edge ("Name: value\r\n") as nghttp2 takes them; owns the texts.
#pragma once

#include <nghttp2/nghttp2.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leeward::edge {

class FieldList {
 public:
  void add(std::string_view name, std::string_view value);  // names become lower case
  void add_lines(std::string_view lines);
  std::span<const nghttp2_nv> list();  // valid until the next add()

 private:
  std::vector<std::pair<std::string, std::string>> texts_;
  std::vector<nghttp2_nv> list_;
};

}  // namespace leeward::edge
