// An HTTP/1.1 answer, read as it arrives (RFC 9112): status line, fields, and a body by length, by
// chunks or until the connection ends. Interim answers (1xx) are skipped. For the adapter, whose
// other side is the function's own application: strict where a mistake would shift the next answer.
// Bounds: head kHeadBytesMax, body as given.
#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace leeward::functions {

struct HttpAnswer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case, in order
  std::string body;
  bool keep = true;  // the connection can be used again

  std::string field(std::string_view name) const {
    for (const auto& [key, value] : fields)
      if (key == name) return value;
    return {};
  }
};

class HttpAnswerReader {
 public:
  static constexpr std::size_t kHeadBytesMax = 64u << 10;

  // `no_body`: the answer is to a HEAD request.
  HttpAnswerReader(bool no_body, std::size_t body_bytes_max)
      : no_body_(no_body), body_bytes_max_(body_bytes_max) {}

  // kCorrupt when the bytes are no such answer, or too many.
  Status take(std::string_view bytes);
  Status end();  // the connection has ended
  bool done() const { return state_ == State::kDone; }
  HttpAnswer answer() { return std::move(answer_); }

 private:
  enum class State { kHead, kLength, kChunkSize, kChunk, kChunkEnd, kTrailer, kToEnd, kDone };
  Status advance(bool& progressed);
  Status read_head(std::string_view head);
  // The next line of the buffer without its end; false when it is not whole yet.
  bool next_line(std::string& line);
  bool take_body();

  bool no_body_;
  std::size_t body_bytes_max_;
  std::string buffer_;
  State state_ = State::kHead;
  std::size_t left_ = 0;  // of the length or the chunk
  HttpAnswer answer_;
};

}  // namespace leeward::functions
