#include "dns/internal/zone_source.h"

#include <algorithm>

#include "dns/wire.h"

namespace leeward::dns::internal {
namespace {

bool is_within(std::string_view name, std::string_view apex) {
  while (name.size() > apex.size()) name = parent_name(name);
  return name == apex;
}

Result<std::uint32_t> ttl_seconds(Duration ttl, std::string_view what) {
  auto whole = std::chrono::ceil<std::chrono::seconds>(ttl).count();
  if (whole < 0 || whole > 0x7fffffff)  // RFC 2181 §8
    return fail(Code::kInvalid, "{} of {} is not a TTL; write for example 30s", what,
                format_duration(ttl));
  return static_cast<std::uint32_t>(whole);
}

// "first.last@shop.test" is the name first\.last.shop.test (RFC 1035 §8).
Result<std::string> mailbox_name(std::string_view contact, std::string_view apex) {
  auto at = contact.find('@');
  if (contact.empty()) contact = "hostmaster", at = std::string_view::npos;
  if (at == std::string_view::npos) return parse_target(contact, apex);
  std::string local(contact.substr(0, at));
  for (std::size_t dot = 0; (dot = local.find('.', dot)) != std::string::npos; dot += 2)
    local.insert(dot, 1, '\\');
  return name_from_text(local + "." + std::string(contact.substr(at + 1)));
}

Result<std::string> owner_name(std::string_view text, const std::string& apex) {
  if (text == "@" || text.empty()) return apex;
  auto name = name_from_text(text);
  if (!name) return name;
  if (text.back() != '.') {
    name->pop_back();
    *name += apex;
  }
  if (name->size() > kNameMax) return fail(Code::kInvalid, "'{}' is too long a name", text);
  if (!is_within(lower_name(*name), apex))
    return fail(Code::kInvalid, "'{}' is not in the zone {}", text, name_to_text(apex));
  return lower_name(*name);
}

Result<std::vector<Rdata>> parse_values(RecordType type, const std::vector<std::string>& values,
                                        std::string_view apex) {
  std::vector<Rdata> parsed;
  for (const std::string& value : values) {
    auto data = parse_rdata(type, value, apex);
    if (!data) return fail(data.error());
    if (std::find(parsed.begin(), parsed.end(), *data) != parsed.end())
      return fail(Code::kInvalid, "the value '{}' is given twice", value);
    parsed.push_back(std::move(*data));
  }
  if (parsed.empty()) return fail(Code::kInvalid, "a record needs at least one value");
  return parsed;
}

Status add_record(const DnsRecord& record, ZoneSource& source) {
  auto owner = owner_name(record.name, source.apex);
  if (!owner) return fail(owner.error());
  auto [it, is_new] = source.nodes[*owner].sets.try_emplace(wire_type(record.type));
  if (!is_new) return fail(Code::kInvalid, "it is given twice; put all values into one record");
  SourceSet& set = it->second;
  auto ttl = ttl_seconds(record.ttl, "ttl");
  if (!ttl) return fail(ttl.error());
  set.ttl = *ttl == 0 ? source.ttl : *ttl;
  if (!record.failover) {
    auto values = parse_values(record.type, record.values, source.apex);
    if (!values) return fail(values.error());
    set.common = std::move(*values);
    return {};
  }
  if (record.site_values.empty())
    return fail(Code::kInvalid, "a failover record needs a value for each site");
  for (const auto& [site, value] : record.site_values) {
    if (site.value >= kSitesMax) return fail(Code::kInvalid, "site {} is out of range", site.value);
    std::vector<std::string> texts{value};
    if (record.answer == FailoverAnswer::kAll)
      for (const auto& [other, text] : record.site_values)
        if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
    auto values = parse_values(record.type, texts, source.apex);
    if (!values) return fail(values.error());
    set.by_site[site] = std::move(*values);
  }
  return {};
}

Status check_node(const std::string& name, const SourceNode& node, const ZoneSource& source) {
  bool has_cname = node.find(kTypeCname) != nullptr;
  if (has_cname && name == source.apex)
    return fail(Code::kInvalid, "the apex cannot be a CNAME; write A and AAAA records");
  if (has_cname && node.sets.size() > 1)  // RFC 1034 §3.6.2
    return fail(Code::kInvalid, "{} has a CNAME beside other records", name_to_text(name));
  const SourceSet* cname = node.find(kTypeCname);
  if (cname != nullptr && cname->common.size() > 1)
    return fail(Code::kInvalid, "{} has more than one CNAME", name_to_text(name));
  if (is_wildcard(name) && node.find(kTypeNs) != nullptr)  // RFC 4592 §4.2
    return fail(Code::kInvalid, "{}: a wildcard cannot be delegated", name_to_text(name));
  return {};
}

// Every name between a record and the apex exists, if only as an empty non-terminal (RFC 8020).
void add_empty_non_terminals(ZoneSource& source) {
  std::vector<std::string> names;
  for (const auto& [name, node] : source.nodes) names.push_back(name);
  for (const std::string& name : names)
    for (std::string_view up = name; up.size() > source.apex.size(); up = parent_name(up))
      source.nodes[std::string(up)];
}

Status add_apex(const DnsZone& zone, ZoneSource& source) {
  if (zone.nameservers.empty())
    return fail(Code::kInvalid, "a zone needs at least one name in nameservers");
  DnsRecord servers;
  servers.name = "@";
  servers.type = RecordType::kNs;
  for (const std::string& server : zone.nameservers) {
    // Always full names, unlike in a record's values.
    servers.values.push_back(server.ends_with('.') ? server : server + ".");
  }
  if (auto added = add_record(servers, source); !added) return added;
  source.primary = *source.nodes[source.apex].sets[kTypeNs].common[0].target;
  auto mailbox = mailbox_name(zone.contact, source.apex);
  if (!mailbox) return fail(std::move(mailbox.error()).wrap("contact"));
  source.mailbox = *mailbox;
  return {};
}

}  // namespace

const std::vector<Rdata>& SourceSet::values(SiteId site) const {
  if (by_site.empty()) return common;
  auto it = by_site.find(site);
  return it == by_site.end() ? by_site.begin()->second : it->second;
}

const SourceSet* SourceNode::find(std::uint16_t type) const {
  auto it = sets.find(type);
  return it == sets.end() ? nullptr : &it->second;
}

std::string_view parent_name(std::string_view wire_name) {
  return wire_name.substr(1 + static_cast<unsigned char>(wire_name[0]));
}

bool is_wildcard(std::string_view wire_name) {
  return wire_name.starts_with(std::string_view("\1*", 2));
}

bool ZoneSource::is_cut(const std::string& name, const SourceNode& node) const {
  return name != apex && node.find(kTypeNs) != nullptr;
}

ZoneSource::Found ZoneSource::locate(const std::string& name) const {
  if (!is_within(name, apex)) return {};
  Found found;
  std::string_view encloser;  // longest existing ancestor-or-self
  // From the name upwards: the last cut that is met is the topmost one, which decides.
  for (std::string_view up = name;; up = parent_name(up)) {
    auto it = nodes.find(std::string(up));
    if (it != nodes.end()) {
      if (encloser.empty()) encloser = up;
      if (is_cut(it->first, it->second)) found = {Where::kDelegated, it->first, &it->second, false};
    }
    if (up.size() == apex.size()) break;
  }
  if (found.node != nullptr) return found;
  if (encloser.size() == name.size()) return {Where::kExists, name, &nodes.at(name), false};
  std::string wildcard = std::string("\1*", 2) + std::string(encloser);
  auto it = nodes.find(wildcard);
  if (it == nodes.end()) return {Where::kMissing, {}, nullptr, false};
  return {Where::kExists, wildcard, &it->second, true};
}

Result<ZoneSource> read_zone(const DnsZone& zone, std::uint32_t serial) {
  ZoneSource source;
  source.serial = serial;
  auto apex = name_from_text(zone.name);
  if (!apex) return fail(std::move(apex.error()).wrap("dns zone"));
  if (apex->size() == 1) return fail(Code::kInvalid, "the root cannot be a zone of Leeward");
  source.apex = lower_name(*apex);
  auto in_zone = [&](Error error) {
    return fail(std::move(error).wrap(fmt::format("zone {}", zone.name)));
  };
  auto ttl = ttl_seconds(zone.ttl, "ttl");
  if (!ttl) return in_zone(ttl.error());
  auto negative_ttl = ttl_seconds(zone.negative_ttl, "negative_ttl");
  if (!negative_ttl) return in_zone(negative_ttl.error());
  source.ttl = *ttl;
  source.negative_ttl = *negative_ttl;
  if (auto added = add_apex(zone, source); !added) return in_zone(added.error());
  for (const DnsRecord& record : zone.records) {
    auto what = fmt::format("record {} {}", record.name, type_name(record.type));
    if (auto added = add_record(record, source); !added)
      return in_zone(std::move(added.error()).wrap(what));
  }
  for (const auto& [name, node] : source.nodes)
    if (auto good = check_node(name, node, source); !good) return in_zone(good.error());
  add_empty_non_terminals(source);
  return source;
}

}  // namespace leeward::dns::internal
