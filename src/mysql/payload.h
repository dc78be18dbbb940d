// TRANSACTION_PAYLOAD events of MySQL 8.0.20 and later (binlog_transaction_compression): a whole
// transaction, zstd-compressed, in one event. Unpacked as a stream, so that memory is that of the
// largest event in it and not of the transaction.
#pragma once

#include <memory>
#include <optional>

#include "base/error.h"
#include "mysql/event.h"

namespace leeward::mysql {

class PayloadReader {
 public:
  // An event inside a payload is at most this large; larger ones are kRefused.
  static constexpr std::size_t kEventBytesMax = 256u << 20;

  // `payload` outlives the reader. kCorrupt when malformed, or compressed in a way not known.
  static Result<PayloadReader> open(const Event& payload);
  PayloadReader(PayloadReader&&) noexcept;
  PayloadReader& operator=(PayloadReader&&) noexcept;
  ~PayloadReader();

  // The next event, which has no checksum; valid until the next call. nullopt at the end.
  Result<std::optional<Event>> next();

 private:
  class Impl;
  explicit PayloadReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::mysql
