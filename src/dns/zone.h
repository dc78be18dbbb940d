// A zone compiled into ready answers. compile() resolves everything that does not depend on the
// query's bytes: CNAME chains, wildcards, empty non-terminals, delegations, additional addresses,
// and one variant of each answer for each site that could be active. At run time a query costs one
// hash look-up (a few on a miss), and an answer that follows a failover costs what a static one
// does.
//
// A Zone is immutable and shared by threads as shared_ptr<const Zone>; what changes between two
// compilations (active site, SOA serial) lies in ActiveState.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "dns/wire.h"
#include "model/ids.h"
#include "model/platform.h"

namespace leeward::dns {

// What the control side publishes and every query reads: the active site and the zone's serial, in
// one word so that no answer mixes two publications. One writer, any number of readers.
class ActiveState {
 public:
  struct Value {
    SiteId site;
    std::uint32_t serial = 0;
  };
  ActiveState() = default;
  explicit ActiveState(Value v) { publish(v); }

  // REQUIRES: v.site.value < kSitesMax
  void publish(Value v);
  Value load() const {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    return {SiteId{static_cast<std::uint8_t>(word)}, static_cast<std::uint32_t>(word >> 32)};
  }

 private:
  std::atomic<std::uint64_t> word_{0};
};

// One ready answer: all that follows the echoed question, except the OPT record.
struct Answer {
  static constexpr std::uint16_t kNoSerial = 0xffff;
  std::uint32_t offset = 0;       // into the zone's bytes
  std::uint16_t length = 0;       // answer, authority and additional section
  std::uint16_t core_length = 0;  // without the additional section
  std::uint16_t answers = 0;
  std::uint16_t authorities = 0;
  std::uint16_t additionals = 0;
  std::uint16_t serial_at = kNoSerial;  // where the SOA serial is to be written, from `offset`
  Rcode rcode = Rcode::kNoError;
  bool authoritative = true;   // false: a referral
  bool glue_required = false;  // the additional section may not be left out (RFC 9471)
  bool operator==(const Answer&) const = default;
};

// Index of an answer, for each active site. A static answer has the same one everywhere.
using Variants = std::array<std::uint32_t, kSitesMax>;

// The tables that the compiler fills and Zone reads.
struct ZoneTables {
  struct Set {
    std::uint16_t type = 0;
    Variants answer{};
  };
  struct Node {
    std::uint32_t name_at = 0;  // lower-cased wire name, in `names`
    std::uint16_t name_length = 0;
    std::uint16_t set_count = 0;
    std::uint32_t set_first = 0;
    std::uint32_t missing_child =
        0;                 // node that answers for names below this one that do not exist
    Variants otherwise{};  // for types without a set: NODATA, a CNAME, a referral
  };
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t node = 0;  // index + 1; 0: free
  };
  std::string apex;  // lower-cased wire name
  std::size_t apex_labels = 0;
  std::size_t depth_max = 0;  // labels of the deepest node, relative to the apex
  std::uint32_t serial = 0;
  std::vector<Slot> slots;  // open addressing, power of two, at most half full
  std::vector<Node> nodes;
  std::vector<Set> sets;
  std::vector<Answer> answers;
  std::string names;
  std::string bytes;
};

class Zone {
 public:
  explicit Zone(ZoneTables tables);

  // The answer to (name, type) while `site` is active; null when the name is outside the zone.
  // REQUIRES: site.value < kSitesMax
  const Answer* find(const QueryName& name, std::uint16_t type, SiteId site) const;

  std::span<const std::uint8_t> bytes(const Answer& answer) const {
    return {reinterpret_cast<const std::uint8_t*>(tables_.bytes.data()) + answer.offset,
            answer.length};
  }
  std::uint32_t serial() const { return tables_.serial; }  // as compiled
  std::string name() const { return name_to_text(tables_.apex); }

 private:
  const ZoneTables::Node* find_node(std::uint32_t hash, std::string_view name) const;

  ZoneTables tables_;
};

// Compiles `zone`. Rules, beside those of the RFCs cited in compile.cc:
// - Record names are relative to the zone, "@" is its apex; with a final dot they are full names.
// - Names inside a value (CNAME, MX …): "@" and a single label ("web") are relative to the zone;
//   anything with a dot in it is a full name, final dot or not.
// - A record without values for a site answers with those of its lowest site: never nothing.
// - A TTL of 0 in a record means the zone's TTL; fractions of a second are rounded up.
// - TXT: a value without quotes is one text, cut into strings of 255 octets; with quotes it is a
//   list of strings ("\"a\" \"b\"").
// - The SOA is made from the zone: first nameserver, contact, TTL, negative_ttl as its minimum.
//
// kInvalid names the record and says what to write. Refused are: an unusable name or value, two
// records of one name and type, a CNAME beside other data or at the apex, chains of more than 8
// CNAMEs (and so every loop), and answers too large for a message.
Result<std::shared_ptr<const Zone>> compile(const DnsZone& zone, std::uint32_t serial);

// Serial number arithmetic (RFC 1982): the serial to publish after `last` was published, at least
// `wanted`. Never equal to `last`.
std::uint32_t next_serial(std::uint32_t last, std::uint32_t wanted);

}  // namespace leeward::dns
