#include "mysql/payload.h"

#include <zstd.h>

#include <algorithm>
#include <string>

#include "mysql/bytes.h"

namespace leeward::mysql {
namespace {

// Fields before the payload: type, length, value; all packed integers.
enum class Field : std::uint64_t { kEnd = 0, kSize = 1, kCompression = 2, kUnpackedSize = 3 };
constexpr std::uint64_t kZstd = 0, kStored = 255;

struct FreeStream {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

}  // namespace

class PayloadReader::Impl {
 public:
  Impl(std::string_view packed, bool compressed) : packed_(packed) {
    if (compressed) stream_.reset(ZSTD_createDStream());
  }

  Result<std::optional<Event>> next() {
    if (auto filled = fill(kEventHeaderBytes); !filled) return fail(std::move(filled.error()));
    if (at_ == buffer_.size()) return std::nullopt;
    auto head = parse_event_head(unread());
    if (!head) return fail(std::move(head.error()));
    std::size_t size = event_size(unread());
    if (size > kEventBytesMax)
      return fail(Code::kRefused, "{} event of {} bytes inside a payload; {} are read at most",
                  to_string(head->type), size, kEventBytesMax);
    if (auto filled = fill(size); !filled) return fail(std::move(filled.error()));
    if (unread().size() < size) return fail(Code::kCorrupt, "a transaction payload is cut short");
    auto event = parse_event(unread().substr(0, size), false);
    if (!event) return fail(std::move(event.error()));
    at_ += size;
    return std::optional(*event);
  }

 private:
  std::string_view unread() const { return std::string_view(buffer_).substr(at_); }

  // Unpacks until `size` bytes are unread or the payload ends.
  Status fill(std::size_t size) {
    if (unread().size() >= size) return {};
    buffer_.erase(0, at_);
    at_ = 0;
    while (buffer_.size() < size && more_) {
      if (!stream_) {
        std::size_t count = std::min(packed_.size(), size - buffer_.size());
        buffer_ += packed_.substr(0, count);
        packed_.remove_prefix(count);
        more_ = !packed_.empty();
        continue;
      }
      std::size_t had = buffer_.size();
      buffer_.resize(had + ZSTD_DStreamOutSize());
      ZSTD_outBuffer out{buffer_.data() + had, buffer_.size() - had, 0};
      ZSTD_inBuffer in{packed_.data(), packed_.size(), 0};
      std::size_t result = ZSTD_decompressStream(stream_.get(), &out, &in);
      buffer_.resize(had + out.pos);
      if (ZSTD_isError(result))
        return fail(Code::kCorrupt, "a transaction payload cannot be unpacked: {}",
                    ZSTD_getErrorName(result));
      packed_.remove_prefix(in.pos);
      more_ = in.pos > 0 || out.pos > 0;  // else nothing is left, neither there nor held back
    }
    return {};
  }

  std::string_view packed_;
  std::unique_ptr<ZSTD_DStream, FreeStream> stream_;
  std::string buffer_;
  std::size_t at_ = 0;  // what is before it has been read
  bool more_ = true;
};

PayloadReader::PayloadReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PayloadReader::PayloadReader(PayloadReader&&) noexcept = default;
PayloadReader& PayloadReader::operator=(PayloadReader&&) noexcept = default;
PayloadReader::~PayloadReader() = default;

Result<std::optional<Event>> PayloadReader::next() { return impl_->next(); }

Result<PayloadReader> PayloadReader::open(const Event& payload) {
  Bytes body(payload.body);
  std::uint64_t size = 0, compression = kStored;
  for (;;) {
    auto field = static_cast<Field>(body.packed());
    if (!body.ok()) return fail(Code::kCorrupt, "malformed TRANSACTION_PAYLOAD event");
    if (field == Field::kEnd) break;
    Bytes value(body.take(body.packed()));
    std::uint64_t number = value.packed();
    if (!body.ok() || !value.ok())
      return fail(Code::kCorrupt, "malformed TRANSACTION_PAYLOAD event");
    if (field == Field::kSize) size = number;
    if (field == Field::kCompression) compression = number;
  }
  if (size != body.left()) return fail(Code::kCorrupt, "malformed TRANSACTION_PAYLOAD event");
  if (compression != kZstd && compression != kStored)
    return fail(Code::kCorrupt, "a transaction payload is compressed in unknown way {}",
                compression);
  return PayloadReader(std::make_unique<Impl>(body.rest(), compression == kZstd));
}

}  // namespace leeward::mysql
