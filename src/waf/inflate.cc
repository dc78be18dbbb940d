#include "waf/inflate.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/check.h"
#include "waf/internal/bytes.h"

namespace leeward::waf {

// One format. Takes from the front of `input` and writes to `output`.
class Inflate::Codec {
 public:
  enum class State { kMore, kEnd, kCorrupt, kBeside };
  virtual ~Codec() = default;
  virtual State step(std::string_view& input, char* output, std::size_t size,
                     std::size_t& written) = 0;
};

class Inflate::Zlib final : public Inflate::Codec {
 public:
  Zlib(bool gzip, bool only_data) : gzip_(gzip), only_data_(only_data) {
    if (gzip) begin(MAX_WBITS + 16);
  }
  ~Zlib() override {
    if (begun_) inflateEnd(&stream_);
  }

  State step(std::string_view& input, char* output, std::size_t size,
             std::size_t& written) override {
    if (!begun_) begin(has_zlib_header(input) ? MAX_WBITS : -MAX_WBITS);
    if (ended_) {
      if (!gzip_ || inflateReset(&stream_) != Z_OK) return State::kCorrupt;
      ended_ = false;
      ask_for_header();
    }
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(std::min<std::size_t>(input.size(), 1u << 30));
    stream_.next_out = reinterpret_cast<Bytef*>(output);
    stream_.avail_out = static_cast<uInt>(size);
    const uInt offered = stream_.avail_in;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    input.remove_prefix(offered - stream_.avail_in);
    written = size - stream_.avail_out;
    ended_ = result == Z_STREAM_END;
    if (header_.done == 1 && !is_only_data()) return State::kBeside;
    if (ended_) return State::kEnd;
    return result == Z_OK || result == Z_BUF_ERROR ? State::kMore : State::kCorrupt;
  }

 private:
  // RFC 1950 §2.2. By its first byte alone, because the second may not have come; of bare deflate
  // it would be a stored block of a length that its check refuses.
  static bool has_zlib_header(std::string_view input) {
    return input.empty() || (input[0] & 0x0f) == Z_DEFLATED;
  }
  void begin(int window) {
    begun_ = inflateInit2(&stream_, window) == Z_OK;
    LEEWARD_CHECK(begun_);
    ask_for_header();
  }

  // Of the next member; zlib forgets that it was asked with every member.
  void ask_for_header() {
    if (!gzip_ || !only_data_) return;
    header_ = {};
    header_.name = name_.data();
    header_.name_max = static_cast<uInt>(name_.size());
    header_.comment = &comment_;
    header_.comm_max = 1;
    LEEWARD_CHECK(inflateGetHeader(&stream_, &header_) == Z_OK);
  }
  // REQUIRES: the header has been read. Then zlib has put null where there is no name or comment.
  bool is_only_data() const {
    if (header_.comment != nullptr || header_.extra_len > 0) return false;
    if (header_.name == nullptr) return true;
    const auto end = std::find(name_.begin(), name_.end(), Bytef{0});
    return end != name_.end() && std::all_of(name_.begin(), end, is_of_file_name);
  }
  // Nothing that ends a name or a value in a form, in mark-up, in a shell or in SQL.
  static bool is_of_file_name(Bytef c) {
    return c >= 0x80 || is_alnum(c) ||
           std::string_view(" ._-+()").find(static_cast<char>(c)) != std::string_view::npos;
  }

  const bool gzip_;
  const bool only_data_;
  bool begun_ = false;
  bool ended_ = false;
  z_stream stream_{};
  gz_header header_{};
  std::array<Bytef, 256> name_{};  // a longer one has no end in it
  Bytef comment_ = 0;
};

class Inflate::Brotli final : public Inflate::Codec {
 public:
  Brotli() : decoder_(BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {
    LEEWARD_CHECK(decoder_ != nullptr);
  }
  ~Brotli() override { BrotliDecoderDestroyInstance(decoder_); }

  State step(std::string_view& input, char* output, std::size_t size,
             std::size_t& written) override {
    if (BrotliDecoderIsFinished(decoder_)) return State::kCorrupt;
    std::size_t offered = input.size();
    const auto* from = reinterpret_cast<const std::uint8_t*>(input.data());
    std::size_t room = size;
    auto* to = reinterpret_cast<std::uint8_t*>(output);
    const auto result =
        BrotliDecoderDecompressStream(decoder_, &offered, &from, &room, &to, nullptr);
    input.remove_prefix(input.size() - offered);
    written = size - room;
    if (result == BROTLI_DECODER_RESULT_SUCCESS) return State::kEnd;
    return result == BROTLI_DECODER_RESULT_ERROR ? State::kCorrupt : State::kMore;
  }

 private:
  BrotliDecoderState* decoder_;
};

class Inflate::Zstd final : public Inflate::Codec {
 public:
  Zstd(std::size_t window_bytes_max, bool only_data)
      : decoder_(ZSTD_createDStream()), only_data_(only_data) {
    LEEWARD_CHECK(decoder_ != nullptr);
    ZSTD_DCtx_setParameter(decoder_, ZSTD_d_windowLogMax,
                           static_cast<int>(std::bit_width(window_bytes_max)) - 1);
  }
  ~Zstd() override { ZSTD_freeDStream(decoder_); }

  State step(std::string_view& input, char* output, std::size_t size,
             std::size_t& written) override {
    // All sixteen magic numbers of skippable frames, and no other, begin with 0x5?.
    if (only_data_ && at_frame_ && !input.empty() && (input[0] & 0xf0) == 0x50)
      return State::kBeside;
    ZSTD_inBuffer from{input.data(), input.size(), 0};
    ZSTD_outBuffer to{output, size, 0};
    const std::size_t result = ZSTD_decompressStream(decoder_, &to, &from);
    input.remove_prefix(from.pos);
    written = to.pos;
    if (ZSTD_isError(result)) return State::kCorrupt;
    if (from.pos > 0) at_frame_ = result == 0;
    return result == 0 ? State::kEnd : State::kMore;
  }

 private:
  ZSTD_DStream* decoder_;
  const bool only_data_;
  bool at_frame_ = true;  // the next byte is a frame's first
};

std::optional<ContentCoding> content_coding_named(std::string_view token) {
  constexpr std::pair<std::string_view, ContentCoding> kCodings[] = {
      {"gzip", ContentCoding::kGzip},       {"x-gzip", ContentCoding::kGzip},
      {"deflate", ContentCoding::kDeflate}, {"br", ContentCoding::kBrotli},
      {"zstd", ContentCoding::kZstd},
  };
  for (const auto& [name, coding] : kCodings)
    if (equal_ignoring_case(name, token)) return coding;
  return std::nullopt;
}

Inflate::Inflate(ContentCoding coding, const InflateLimits& limits) : limits_(limits) {
  switch (coding) {
    case ContentCoding::kGzip:
      codec_ = std::make_unique<Zlib>(true, limits.only_data);
      break;
    case ContentCoding::kDeflate:
      codec_ = std::make_unique<Zlib>(false, limits.only_data);
      break;
    case ContentCoding::kBrotli:
      codec_ = std::make_unique<Brotli>();
      break;
    case ContentCoding::kZstd:
      codec_ = std::make_unique<Zstd>(limits.window_bytes_max, limits.only_data);
      break;
  }
}

Inflate::~Inflate() = default;

bool Inflate::fail(std::string message) {
  error_ = BodyError{std::move(message), input_bytes_};
  return false;
}

bool Inflate::within_limits() {
  at_limit_ = true;
  if (output_bytes_ > limits_.output_bytes_max)
    return fail("unpacks to more than " + std::to_string(limits_.output_bytes_max) + " bytes");
  if (output_bytes_ > limits_.ratio_free_bytes && output_bytes_ / limits_.ratio_max > input_bytes_)
    return fail("unpacks to more than " + std::to_string(limits_.ratio_max) + " times its size");
  at_limit_ = false;
  return true;
}

bool Inflate::feed(std::string_view bytes, std::string& output) {
  std::array<char, 16384> chunk;
  bool full = false;  // the codec may hold more than fitted
  while (!error_ && (!bytes.empty() || full)) {
    const std::size_t before = bytes.size();
    std::size_t written = 0;
    const Codec::State state = codec_->step(bytes, chunk.data(), chunk.size(), written);
    input_bytes_ += before - bytes.size();
    output_bytes_ += written;
    output.append(chunk.data(), written);
    if (!within_limits()) return false;
    if (state == Codec::State::kCorrupt)
      return fail(ended_ ? "something follows the end of the compressed data"
                         : "the compressed data is corrupt");
    if (state == Codec::State::kBeside)
      return fail("something other than compressed data stands beside it");
    ended_ = state == Codec::State::kEnd;
    full = !ended_ && written == chunk.size();
    if (written == 0 && bytes.size() == before && !ended_) break;
  }
  return !error_;
}

bool Inflate::finish() {
  if (!error_ && !ended_) fail("the compressed data ends too early");
  return !error_;
}

}  // namespace leeward::waf
