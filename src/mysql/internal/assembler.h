// The receive buffer of the replication client: cuts the byte stream into packets and, while a
// binary log is streamed, into events. Pure: the caller reads the socket into space(). Nothing is
// copied but the beginning of a packet that did not arrive whole. Fuzzed by
// tests/fuzz/assembler_fuzz.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::mysql::internal {

class Assembler {
 public:
  static constexpr std::size_t kPacketHeader = 4;      // length in three bytes, sequence number
  static constexpr std::size_t kPacketMax = 0xffffff;  // one of this length goes on in the next
  // What the first part of an event has at least, if the event is that long: enough to tell what a
  // statement is.
  static constexpr std::size_t kFirstPartMin = 128u << 10;

  explicit Assembler(std::size_t buffer_bytes);

  // Where to put what is received next; never empty after next() or packet() said that more is
  // needed. Invalidates the views handed out before.
  std::span<char> space();
  void filled(std::size_t count);

  // Phase of questions and answers: the next whole packet's payload, nullopt: more is needed.
  // kRefused for one that the buffer cannot hold.
  Result<std::optional<std::string_view>> packet();
  std::uint8_t sequence() const { return sequence_; }  // of the last packet

  // Phase of the stream.
  struct Piece {
    std::string_view bytes;  // of the event, as sent
    std::uint64_t size = 0;  // of the whole event
    bool first = true;
    bool last = true;
    bool wants_acknowledgement = false;
    bool end = false;        // of the stream: no bytes
    std::string_view error;  // payload of an error packet: no bytes
  };
  void stream(bool semi_sync) { semi_sync_ = semi_sync; }
  // nullopt: more is needed. kCorrupt: not an event stream.
  Result<std::optional<Piece>> next();

 private:
  std::string_view unread() const { return {buffer_.get() + begin_, end_ - begin_}; }
  std::size_t packet_length() const;  // of the packet whose header is unread
  Result<std::optional<Piece>> begin_event();
  Result<std::optional<Piece>> continue_event();

  std::size_t capacity_;
  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint8_t sequence_ = 0;
  bool semi_sync_ = false;

  // Of an event in parts.
  bool large_ = false;
  bool wants_acknowledgement_ = false;
  std::uint64_t event_size_ = 0;
  std::uint64_t event_left_ = 0;
  std::size_t packet_left_ = 0;
  bool packet_continues_ = false;
};

}  // namespace leeward::mysql::internal
