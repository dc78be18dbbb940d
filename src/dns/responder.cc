#include "dns/responder.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace leeward::dns {
namespace {

constexpr std::uint8_t kQr = 0x80;
constexpr std::uint8_t kAa = 0x04;
constexpr std::uint8_t kTc = 0x02;
constexpr std::uint8_t kOpcodeAndRd = 0x79;  // what a reply repeats of the query's third octet

void write_header(std::span<const std::uint8_t> message, std::uint8_t flags, Rcode rcode,
                  std::span<std::uint8_t> out) {
  std::memset(out.data(), 0, kHeaderSize);
  std::memcpy(out.data(), message.data(), 2);
  out[2] = static_cast<std::uint8_t>(kQr | (message[2] & kOpcodeAndRd) | flags);
  // RA, AD and CD stay clear: we neither recurse nor validate (RFC 4035 §3.1.6).
  out[3] = static_cast<std::uint8_t>(rcode) & 0x0f;
}

// RFC 6891 §6.1.3; the upper bits of the code travel in the TTL field.
std::size_t write_opt(const Query& query, Rcode rcode, std::uint8_t* out) {
  std::memset(out, 0, kOptSize);
  store16(out + 1, kTypeOpt);
  store16(out + 3, kUdpAnswerMax);
  out[5] = static_cast<std::uint8_t>(static_cast<std::uint16_t>(rcode) >> 4);
  out[7] = query.dnssec_ok ? 0x80 : 0;  // RFC 3225 §3
  return kOptSize;
}

// Header, question and OPT around `flags` and `rcode`, with no records.
Reply without_records(std::span<const std::uint8_t> message, const Query& query, std::uint8_t flags,
                      Rcode rcode, std::span<std::uint8_t> out) {
  write_header(message, flags, rcode, out);
  std::memcpy(&out[kHeaderSize], &message[kHeaderSize], query.question_end - kHeaderSize);
  store16(&out[4], 1);
  std::size_t size = query.question_end;
  if (query.edns) {
    size += write_opt(query, rcode, &out[size]);
    store16(&out[10], 1);
  }
  return {size, query.type, rcode};
}

std::size_t size_limit(const Query& query, bool tcp, std::size_t out_size) {
  if (tcp) return std::min(kMessageMax, out_size);
  std::size_t client = query.edns ? query.edns_udp_size : kUdpPlainMax;
  return std::min(std::clamp(client, kUdpPlainMax, kUdpAnswerMax), out_size);
}

// Codes for what is answered without looking into the zone; kNoError: look.
Rcode refuse(const Query& query) {
  if (query.edns && query.edns_version != 0) return Rcode::kBadVers;
  if (query.klass != kClassIn) return Rcode::kRefused;
  if (query.type == kTypeOpt) return Rcode::kFormErr;
  if (query.type < kTypeMetaFirst || query.type >= kTypeAny) return Rcode::kNoError;
  return query.type == kTypeAxfr || query.type == kTypeIxfr ? Rcode::kRefused : Rcode::kNotImp;
}

}  // namespace

Reply answer(const Zone& zone, const ActiveState& active, std::span<const std::uint8_t> message,
             bool tcp, std::span<std::uint8_t> out) {
  LEEWARD_CHECK(out.size() >= kUdpPlainMax);
  Query query;
  Parsed parsed = parse_query(message, query);
  if (parsed == Parsed::kDrop) return {};
  if (parsed != Parsed::kOk) {
    Rcode rcode = parsed == Parsed::kNotImp ? Rcode::kNotImp : Rcode::kFormErr;
    write_header(message, 0, rcode, out);
    return {kHeaderSize, 0, rcode};
  }
  if (Rcode refused = refuse(query); refused != Rcode::kNoError)
    return without_records(message, query, 0, refused, out);

  const ActiveState::Value now = active.load();
  const Answer* found = zone.find(query.name, query.type, now.site);
  if (found == nullptr) return without_records(message, query, 0, Rcode::kRefused, out);

  const std::uint8_t aa = found->authoritative ? kAa : 0;
  const std::size_t around = query.question_end + (query.edns ? kOptSize : 0);
  const std::size_t limit = size_limit(query, tcp, out.size());
  std::size_t length = found->length;
  std::size_t additionals = found->additionals;
  if (around + length > limit && !found->glue_required) {
    length = found->core_length;
    additionals = 0;
  }
  if (around + length > limit) return without_records(message, query, aa | kTc, found->rcode, out);

  Reply reply = without_records(message, query, aa, found->rcode, out);
  store16(&out[6], found->answers);
  store16(&out[8], found->authorities);
  store16(&out[10], static_cast<std::uint16_t>(additionals + (query.edns ? 1 : 0)));
  // The records go between the question and the OPT.
  std::uint8_t* records = &out[query.question_end];
  if (query.edns) write_opt(query, found->rcode, records + length);
  std::memcpy(records, zone.bytes(*found).data(), length);
  if (found->serial_at != Answer::kNoSerial) store32(records + found->serial_at, now.serial);
  reply.size = around + length;
  return reply;
}

}  // namespace leeward::dns
