// Text as zlib packs it. `window`: as deflateInit2() takes it: MAX_WBITS for the format of zlib, +
// 16 for gzip's, negative for none.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>

#include "base/check.h"

namespace leeward::waf {

inline std::string zlib_packed(std::string_view text, int window) {
  z_stream stream{};
  LEEWARD_CHECK(deflateInit2(&stream, 9, Z_DEFLATED, window, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  LEEWARD_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace leeward::waf
