// Pieces of the MySQL client/server protocol that the gateway reads or writes itself: packet
// header, handshake, error packet, the arithmetic of mysql_native_password. Pure. Source: MariaDB
// Knowledge Base "Clients & Utilities / Client-Server Protocol": connection phase and result
// packets.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::gateway::wire {

using Bytes = std::span<const std::uint8_t>;
using Digest = std::array<std::uint8_t, 20>;  // SHA-1

inline constexpr std::size_t kHeader = 4;                // 3 bytes length, 1 byte sequence
inline constexpr std::uint32_t kPayloadMax = 0xffffff;   // a packet of it is continued by the next
inline constexpr std::size_t kHandshakeMax = 64u << 10;  // no handshake packet is longer

enum Capability : std::uint32_t {
  kLongPassword = 1u << 0,  // MariaDB: absent means that extended capabilities follow
  kConnectWithDb = 1u << 3,
  kCompress = 1u << 5,
  kProtocol41 = 1u << 9,
  kSsl = 1u << 11,
  kSecureConnection = 1u << 15,
  kPluginAuth = 1u << 19,
  kConnectAttrs = 1u << 20,
  kPluginAuthLenenc = 1u << 21,
  kSessionTrack = 1u << 23,
  kDeprecateEof = 1u << 24,
  kOptionalMetadata = 1u << 25,
  kZstd = 1u << 26,
  kQueryAttributes = 1u << 27,
};
enum ExtendedCapability : std::uint32_t { kProgress = 1, kComMulti = 2, kCacheMetadata = 16 };

// What the gateway does not offer: it could not follow the session, or cannot decrypt it.
inline constexpr std::uint32_t kStripped =
    kCompress | kSsl | kSessionTrack | kDeprecateEof | kOptionalMetadata | kZstd | kQueryAttributes;
inline constexpr std::uint32_t kStrippedExtended = kProgress | kComMulti | kCacheMetadata;

enum Command : std::uint8_t {
  kQuit = 0x01,
  kInitDb = 0x02,
  kQuery = 0x03,
  kFieldList = 0x04,
  kStatistics = 0x09,
  kChangeUser = 0x11,
  kBinlogDump = 0x12,
  kTableDump = 0x13,
  kStmtPrepare = 0x16,
  kStmtExecute = 0x17,
  kStmtSendLongData = 0x18,
  kStmtClose = 0x19,
  kStmtReset = 0x1a,
  kSetOption = 0x1b,
  kStmtFetch = 0x1c,
  kResetConnection = 0x1f,
  kStmtBulkExecute = 0xfa,
};

enum StatusFlag : std::uint16_t {
  kInTransaction = 0x0001,
  kAutocommit = 0x0002,
  kMoreResults = 0x0008,
  kCursorExists = 0x0040,
  kNoBackslashEscapes = 0x0200,
};

inline std::uint32_t u16(const std::uint8_t* p) { return p[0] | p[1] << 8; }
inline std::uint32_t u24(const std::uint8_t* p) { return u16(p) | std::uint32_t{p[2]} << 16; }
inline std::uint32_t u32(const std::uint8_t* p) { return u16(p) | u16(p + 2) << 16; }
inline void put_u32(std::uint8_t* p, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint8_t>(v >> 8 * i);
}

// Reads forward and remembers that it ran out of bytes; then everything is zero or empty.
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  std::size_t at() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }
  std::uint8_t byte();
  std::uint32_t fixed16();
  std::uint32_t fixed32();
  std::uint64_t lenenc();
  std::string_view text(std::size_t size);
  std::string_view zero_terminated();  // the last one of a packet may lack its zero

 private:
  bool take(std::size_t size);
  Bytes bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

// The server's first packet, version 10 (payload without header).
struct Greeting {
  std::uint32_t capabilities = 0;
  std::uint32_t extended = 0;
  std::string salt;  // 20 bytes
  std::string plugin;
};
Result<Greeting> parse_greeting(Bytes payload);
// Clears in place the capabilities that the gateway does not offer. REQUIRES: parse_greeting() ok.
void strip_greeting(std::span<std::uint8_t> payload);

// The client's answer (HandshakeResponse41).
struct Login {
  std::uint32_t capabilities = 0;
  std::uint32_t packet_max = 0;
  std::uint8_t charset = 0;
  std::uint32_t extended = 0;
  std::string user;
  std::string response;
  std::string database;
  std::string plugin;
};
Result<Login> parse_login(Bytes payload);
void strip_login(std::span<std::uint8_t> payload);  // REQUIRES: parse_login() ok
// The payload of a login with this identity; connection attributes are left out.
std::string build_login(const Login& login);

// An error packet's code, SQLSTATE and text; nullopt if the payload is none.
struct ErrorPacket {
  std::uint16_t code = 0;
  std::string state;
  std::string message;
};
std::optional<ErrorPacket> parse_error(Bytes payload);

std::string packet(std::uint8_t sequence, std::string_view payload);
std::string error_packet(std::uint8_t sequence, std::uint16_t code, std::string_view state,
                         std::string_view message);

Digest sha1(std::string_view a, std::string_view b = {});
// mysql_native_password: response = SHA1(pw) xor SHA1(salt + SHA1(SHA1(pw))).
Digest native_response(const Digest& password_sha1, std::string_view salt);
// SHA1(pw) from a response; nullopt if the response does not belong to this verifier.
std::optional<Digest> recover_password_sha1(std::string_view response, std::string_view salt,
                                            const Digest& verifier);

}  // namespace leeward::gateway::wire
