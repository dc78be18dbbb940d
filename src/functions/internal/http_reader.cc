#include "functions/internal/http_reader.h"

namespace leeward::functions {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

// All of `text` as a number of that base.
bool parse_size(std::string_view text, int base, std::size_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

tl::unexpected<Error> corrupt(std::string_view what) {
  return fail(Code::kCorrupt, "the application's answer has {}", what);
}

}  // namespace

Status HttpAnswerReader::take(std::string_view bytes) {
  buffer_ += bytes;
  bool progressed = true;
  while (progressed && state_ != State::kDone) {
    progressed = false;
    if (Status sound = advance(progressed); !sound) return sound;
    if (answer_.body.size() > body_bytes_max_) return corrupt("a body that is too large");
  }
  if (state_ == State::kDone && !buffer_.empty()) answer_.keep = false;
  return {};
}

Status HttpAnswerReader::end() {
  answer_.keep = false;
  if (state_ == State::kToEnd) state_ = State::kDone;
  if (state_ != State::kDone) return corrupt("no end: the connection closed before it was whole");
  return {};
}

bool HttpAnswerReader::next_line(std::string& line) {
  const auto end = buffer_.find('\n');
  if (end == std::string::npos) return false;
  line = std::string(trimmed(std::string_view(buffer_).substr(0, end)));
  buffer_.erase(0, end + 1);
  return true;
}

bool HttpAnswerReader::take_body() {
  const std::size_t n = std::min(left_, buffer_.size());
  answer_.body.append(buffer_, 0, n);
  buffer_.erase(0, n);
  left_ -= n;
  return left_ == 0;
}

Status HttpAnswerReader::advance(bool& progressed) {
  std::string line;
  switch (state_) {
    case State::kHead: {
      const auto end = buffer_.find("\r\n\r\n");
      if (end == std::string::npos) {
        if (buffer_.size() > kHeadBytesMax) return corrupt("a head that is too large");
        return {};
      }
      const std::string head = buffer_.substr(0, end + 2);
      buffer_.erase(0, end + 4);
      progressed = true;
      return read_head(head);
    }
    case State::kLength:
      if (take_body()) state_ = State::kDone;
      return {};
    case State::kToEnd:
      answer_.body += buffer_;
      buffer_.clear();
      return {};
    case State::kChunkSize: {
      if (!next_line(line)) {
        if (buffer_.size() > 1024) return corrupt("a chunk without a size");
        return {};
      }
      progressed = true;
      const auto size = trimmed(std::string_view(line).substr(0, line.find(';')));
      if (size.size() > 8 || !parse_size(size, 16, left_)) return corrupt("a broken chunk size");
      state_ = left_ == 0 ? State::kTrailer : State::kChunk;
      return {};
    }
    case State::kChunk:
      if (take_body()) {
        state_ = State::kChunkEnd;
        progressed = true;
      }
      return {};
    case State::kChunkEnd:
      if (!next_line(line))
        return buffer_.size() > 2 ? corrupt("a chunk that is too long") : Status{};
      if (!line.empty()) return corrupt("a chunk that is too long");
      state_ = State::kChunkSize;
      progressed = true;
      return {};
    case State::kTrailer:
      if (!next_line(line))
        return buffer_.size() > kHeadBytesMax ? corrupt("a trailer that is too large") : Status{};
      progressed = true;
      if (line.empty()) state_ = State::kDone;
      return {};
    case State::kDone:
      return {};
  }
  return {};
}

Status HttpAnswerReader::read_head(std::string_view head) {
  answer_ = {};
  left_ = 0;
  bool first = true, chunked = false, has_length = false;
  while (!head.empty()) {
    const auto end = head.find('\n');
    const std::string_view line = trimmed(head.substr(0, end));
    head.remove_prefix(end == std::string_view::npos ? head.size() : end + 1);
    if (first) {
      first = false;
      std::size_t status = 0;
      if (line.size() < 12 || !line.starts_with("HTTP/1.") || line[8] != ' ' ||
          !parse_size(line.substr(9, 3), 10, status) || status < 100)
        return corrupt("no status line");
      answer_.status = static_cast<int>(status);
      answer_.keep = line[7] == '1';
      continue;
    }
    const auto colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos) return corrupt("a line that is no field");
    const std::string name = lower(line.substr(0, colon));
    const std::string value(trimmed(line.substr(colon + 1)));
    if (name == "transfer-encoding") chunked = lower(value) == "chunked";
    if (name == "transfer-encoding" && !chunked) return corrupt("an unknown transfer coding");
    if (name == "content-length") {
      std::size_t length = 0;
      if (!parse_size(value, 10, length) || (has_length && length != left_))
        return corrupt("a broken length");
      left_ = length;
      has_length = true;
    }
    if (name == "connection" && lower(value) == "close") answer_.keep = false;
    answer_.fields.emplace_back(name, value);
  }
  if (answer_.status < 200 && answer_.status != 101) return {};  // the real one follows
  if (has_length && !chunked && left_ > body_bytes_max_) return corrupt("a body that is too large");
  if (no_body_ || answer_.status == 204 || answer_.status == 304)
    state_ = State::kDone;
  else if (chunked)
    state_ = State::kChunkSize;
  else if (has_length)
    state_ = left_ == 0 ? State::kDone : State::kLength;
  else
    state_ = State::kToEnd;
  return {};
}

}  // namespace leeward::functions
