#include "mysql/internal/assembler.h"

#include <algorithm>
#include <cstring>

#include "mysql/event.h"

namespace leeward::mysql::internal {
namespace {

constexpr std::uint8_t kOk = 0x00, kEnd = 0xfe, kError = 0xff, kSemiSyncMark = 0xef;
constexpr std::size_t kEndPacketMax = 8;

std::uint8_t byte(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

}  // namespace

Assembler::Assembler(std::size_t buffer_bytes)
    : capacity_(buffer_bytes), buffer_(std::make_unique_for_overwrite<char[]>(buffer_bytes)) {}

std::span<char> Assembler::space() {
  // Moved to the front when all has been read, which is free, or when the rest is short of room.
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (capacity_ - end_ < capacity_ / 4 && begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void Assembler::filled(std::size_t count) { end_ += count; }

std::size_t Assembler::packet_length() const {
  std::string_view header = unread();
  return byte(header, 0) | byte(header, 1) << 8 | static_cast<std::size_t>(byte(header, 2)) << 16;
}

Result<std::optional<std::string_view>> Assembler::packet() {
  if (unread().size() < kPacketHeader) return std::nullopt;
  std::size_t length = packet_length();
  if (length + kPacketHeader > capacity_ || length == kPacketMax)
    return fail(Code::kRefused, "the server sends a packet of {} bytes where {} are enough", length,
                capacity_);
  if (unread().size() < kPacketHeader + length) return std::nullopt;
  std::string_view payload = unread().substr(kPacketHeader, length);
  sequence_ = byte(unread(), 3);
  begin_ += kPacketHeader + length;
  return std::optional(payload);
}

Result<std::optional<Assembler::Piece>> Assembler::next() {
  return large_ ? continue_event() : begin_event();
}

Result<std::optional<Assembler::Piece>> Assembler::begin_event() {
  std::string_view bytes = unread();
  if (bytes.size() < kPacketHeader + 1) return std::nullopt;
  std::size_t length = packet_length();
  if (length == 0) return fail(Code::kCorrupt, "an empty packet in the stream");
  Piece piece;
  std::uint8_t kind = byte(bytes, kPacketHeader);
  if (kind == kError || (kind == kEnd && length <= kEndPacketMax)) {
    if (length + kPacketHeader > capacity_) return fail(Code::kCorrupt, "an overlong error packet");
    if (bytes.size() < kPacketHeader + length) return std::nullopt;
    piece.end = kind == kEnd;
    if (kind == kError) piece.error = bytes.substr(kPacketHeader, length);
    begin_ += kPacketHeader + length;
    return std::optional(piece);
  }
  if (kind != kOk)
    return fail(Code::kCorrupt, "a packet in the stream that is no event (it begins with {:#04x})",
                kind);
  std::size_t prefix = 1 + (semi_sync_ ? 2 : 0);
  if (length < prefix + kEventHeaderBytes)
    return fail(Code::kCorrupt, "a packet of {} bytes is too short for an event", length);
  // The sizes are compared before waiting for the rest: a damaged length must not be waited for.
  if (bytes.size() < kPacketHeader + prefix + kEventHeaderBytes) return std::nullopt;
  if (semi_sync_) {
    if (byte(bytes, kPacketHeader + 1) != kSemiSyncMark)
      return fail(Code::kCorrupt, "an event without the mark of semi-sync");
    piece.wants_acknowledgement = byte(bytes, kPacketHeader + 2) & 1;
  }
  piece.size = event_size(bytes.substr(kPacketHeader + prefix));
  bool continues = length == kPacketMax;
  if (continues ? piece.size < length - prefix : piece.size != length - prefix)
    return fail(Code::kCorrupt, "an event says that it has {} bytes in a packet of {}", piece.size,
                length);
  if (!continues && length + kPacketHeader <= capacity_ / 2) {
    if (bytes.size() < kPacketHeader + length) return std::nullopt;
    piece.bytes = bytes.substr(kPacketHeader + prefix, length - prefix);
    begin_ += kPacketHeader + length;
    return std::optional(piece);
  }
  if (bytes.size() < kPacketHeader + kFirstPartMin) return std::nullopt;
  large_ = true;
  wants_acknowledgement_ = piece.wants_acknowledgement;
  event_size_ = event_left_ = piece.size;
  packet_left_ = length - prefix;
  packet_continues_ = continues;
  begin_ += kPacketHeader + prefix;
  return continue_event();
}

Result<std::optional<Assembler::Piece>> Assembler::continue_event() {
  while (packet_left_ == 0) {
    if (unread().size() < kPacketHeader) return std::nullopt;
    packet_left_ = packet_length();
    packet_continues_ = packet_left_ == kPacketMax;
    if (packet_left_ > event_left_ || (!packet_continues_ && packet_left_ != event_left_))
      return fail(Code::kCorrupt, "the packets of an event of {} bytes do not add up", event_size_);
    begin_ += kPacketHeader;
    if (packet_left_ == 0) break;
  }
  Piece piece;
  piece.bytes = unread().substr(0, packet_left_);
  bool finished = event_left_ == piece.bytes.size() &&
                  !(packet_continues_ && piece.bytes.size() == packet_left_);
  if (piece.bytes.empty() && !finished) return std::nullopt;
  piece.size = event_size_;
  piece.first = event_left_ == event_size_;
  piece.last = finished;
  piece.wants_acknowledgement = finished && wants_acknowledgement_;
  begin_ += piece.bytes.size();
  event_left_ -= piece.bytes.size();
  packet_left_ -= piece.bytes.size();
  large_ = !finished;
  return std::optional(piece);
}

}  // namespace leeward::mysql::internal
