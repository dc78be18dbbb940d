// A zone's records by name, checked, before they are turned into answers. Private to the compiler.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dns/internal/rdata.h"
#include "model/platform.h"

namespace leeward::dns::internal {

struct SourceSet {
  std::uint32_t ttl = 0;
  std::vector<Rdata> common;                     // a static set
  std::map<SiteId, std::vector<Rdata>> by_site;  // a failover set; then never empty

  // Never empty: a site without values of its own gets those of the lowest site.
  const std::vector<Rdata>& values(SiteId site) const;
};

struct SourceNode {
  std::map<std::uint16_t, SourceSet> sets;  // by wire type; empty: an empty non-terminal
  const SourceSet* find(std::uint16_t type) const;
};

struct ZoneSource {
  std::string apex;       // wire name, lower-cased
  std::string primary;    // SOA MNAME
  std::string mailbox;    // SOA RNAME
  std::uint32_t ttl = 0;  // of SOA and NS
  std::uint32_t negative_ttl = 0;
  std::uint32_t serial = 0;
  std::map<std::string, SourceNode>
      nodes;  // by lower-cased wire name, empty non-terminals included

  // Where a name leads. kDelegated and kExists carry a node; for kDelegated it is the cut's, and
  // `owner` its name. A wildcard that answers is kExists with `wildcard` set.
  enum class Where { kOutside, kMissing, kDelegated, kExists };
  struct Found {
    Where where = Where::kOutside;
    std::string owner;
    const SourceNode* node = nullptr;
    bool wildcard = false;
  };
  Found locate(const std::string& lower_name) const;
  bool is_cut(const std::string& lower_name, const SourceNode& node) const;
};

Result<ZoneSource> read_zone(const DnsZone& zone, std::uint32_t serial);

// Wire name without its first label. REQUIRES: not the root.
std::string_view parent_name(std::string_view wire_name);
bool is_wildcard(std::string_view wire_name);

}  // namespace leeward::dns::internal
