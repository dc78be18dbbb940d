#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "config/internal/check.h"

namespace leeward::config {
namespace {

// Host names and types compare without regard to case (RFC 4343).
std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string absolute_name(const DnsZone& zone, const std::string& relative) {
  if (relative == "@") return lower(zone.name);
  return lower(relative + "." + zone.name);
}

bool host_value(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  return kHostRule.valid(text) || kRecordRule.valid(text);
}

// Splits at runs of blanks.
std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    auto start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) return parts;
    auto end = std::min(text.find_first_of(" \t", start), text.size());
    parts.push_back(text.substr(start, end - start));
    text.remove_prefix(end);
  }
}

bool number_up_to(std::string_view text, unsigned max) {
  unsigned value = 0;
  auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && rest == text.data() + text.size() && value <= max;
}

// What is wrong with `value` as the data of a record of `type`; empty: nothing.
std::string value_problem(RecordType type, std::string_view value) {
  auto parts = words(value);
  switch (type) {
    case RecordType::kA:
      return kAddressRule.valid(value) ? "" : "is not an IPv4 address";
    case RecordType::kAaaa: {
      in6_addr address{};
      bool ok = value.size() < INET6_ADDRSTRLEN &&
                inet_pton(AF_INET6, std::string(value).c_str(), &address) == 1;
      return ok ? "" : "is not an IPv6 address";
    }
    case RecordType::kNs:
    case RecordType::kCname:
      return host_value(value) ? "" : "is not a host name";
    case RecordType::kTxt:
      return value.size() <= 4096 ? "" : "is longer than 4096 bytes";
    case RecordType::kMx:  // RFC 1035 section 3.3.9
      return parts.size() == 2 && number_up_to(parts[0], 65535) && host_value(parts[1])
                 ? ""
                 : "is not 'PREFERENCE HOST', for example \"10 mail.shop.test.\"";
    case RecordType::kSrv:  // RFC 2782
      return parts.size() == 4 && number_up_to(parts[0], 65535) && number_up_to(parts[1], 65535) &&
                     number_up_to(parts[2], 65535) && (parts[3] == "." || host_value(parts[3]))
                 ? ""
                 : "is not 'PRIORITY WEIGHT PORT HOST'";
    case RecordType::kCaa:  // RFC 8659 section 4.1
      return parts.size() >= 3 && number_up_to(parts[0], 255) && parts[1].size() <= 255
                 ? ""
                 : "is not 'FLAGS TAG VALUE', for example \"0 issue ca.example\"";
  }
  return "";
}

void check_value(Reader& r, const DnsRecord& record, const std::string& value,
                 const std::string& path) {
  std::string wrong = value_problem(record.type, value);
  if (!wrong.empty()) r.problem(r.value_at(path), path, fmt::format("{} {}", quoted(value), wrong));
}

void check_whole_seconds(Reader& r, Duration ttl, const std::string& path) {
  if (r.sound(path) && ttl % 1s != 0s)
    r.problem(
        r.value_at(path), path,
        fmt::format("{} is not a whole number of seconds, as DNS needs", format_duration(ttl)));
}

void check_failover_record(Reader& r, const Platform& p, const DnsRecord& record,
                           const std::string& path) {
  std::string failover = path + ".failover";
  if (record.type != RecordType::kA && record.type != RecordType::kAaaa &&
      record.type != RecordType::kCname)
    r.problem(r.key_at(failover), failover, "a failover record is of type A, AAAA or CNAME");
  if (record.answer == FailoverAnswer::kAll) {
    const std::string answer = path + ".answer";
    if (record.type == RecordType::kCname)
      r.problem(r.value_at(answer), answer, "a name has one CNAME; all is for A and AAAA");
    else if (!p.edge && r.sound("edge"))
      r.problem(r.value_at(answer), answer,
                "all sends clients to sites that are not active, which only an edge can serve; "
                "there is no edge section");
  }
  if (!r.sound("sites")) return;
  for (std::size_t i = 0; i < p.sites.size(); ++i) {
    const Site& site = p.sites[i];
    std::string at = fmt::format("{}.{}", failover, site.name);
    auto value = record.site_values.find(SiteId{static_cast<std::uint8_t>(i)});
    bool has = value != record.site_values.end();
    if (site.role == SiteRole::kWitness && has)
      r.problem(r.key_at(at), at,
                fmt::format("site '{}' is a witness and can never be the active one", site.name));
    else if (site.role != SiteRole::kWitness && !has && r.sound(at) && r.sound(failover))
      r.problem(r.key_at(failover), at,
                fmt::format("record '{}' has no value for site '{}'; the name would have no answer "
                            "while that site is active",
                            record.name, site.name));
    else if (has)
      check_value(r, record, value->second, at);
  }
}

void check_record(Reader& r, const Platform& p, DnsRecord& record, const std::string& path) {
  std::string ttl = path + ".ttl";
  if (r.present(ttl))
    check_whole_seconds(r, record.ttl, ttl);
  else
    record.ttl = p.dns.ttl;
  if (!r.sound(path + ".type") || !r.sound(path + ".name")) return;
  std::string values = path + ".values";
  if (r.present(values) == record.failover && r.sound(values) && r.sound(path + ".failover")) {
    r.problem(r.value_at(path + ".name"), path,
              record.failover
                  ? fmt::format("record '{}' has both failover and values", record.name)
                  : fmt::format("record '{}' has neither values nor failover", record.name));
    return;
  }
  if (!record.failover && record.answer == FailoverAnswer::kAll)
    r.problem(r.value_at(path + ".answer"), path + ".answer", "answer is for failover records");
  if (record.failover) check_failover_record(r, p, record, path);
  if (r.present(values) && record.values.empty() && r.sound(values))
    r.problem(r.value_at(values), values, fmt::format("record '{}' has no value", record.name));
  for (std::size_t i = 0; i < record.values.size(); ++i)
    check_value(r, record, record.values[i], fmt::format("{}[{}]", values, i));
  bool cname = record.type == RecordType::kCname;
  if (cname && record.values.size() > 1)
    r.problem(r.value_at(values), values, "a CNAME has exactly one value");
}

// RFC 1034 section 3.6.2 (a CNAME stands alone) and one declaration a record set.
void check_record_sets(Reader& r, const DnsZone& zone) {
  struct Seen {
    bool cname = false;
    std::vector<RecordType> types;
  };
  std::map<std::string, Seen> names;
  names[lower(zone.name)].types = {RecordType::kNs};  // from dns.nameservers, with the SOA
  for (std::size_t i = 0; i < zone.records.size(); ++i) {
    const DnsRecord& record = zone.records[i];
    std::string path = fmt::format("dns.records[{}]", i);
    if (!r.sound(path)) continue;
    Seen& seen = names[absolute_name(zone, record.name)];
    Position at = r.value_at(path + ".name");
    bool cname = record.type == RecordType::kCname;
    if (std::find(seen.types.begin(), seen.types.end(), record.type) != seen.types.end())
      r.problem(at, path,
                record.name == "@" && record.type == RecordType::kNs
                    ? "the zone's own NS records come from dns.nameservers"
                    : fmt::format("record '{}' of this type is there already; put all values into "
                                  "one record",
                                  record.name));
    else if (seen.cname || (cname && !seen.types.empty()))
      r.problem(at, path,
                fmt::format("'{}' is a CNAME and has other records too; a CNAME must stand alone",
                            record.name));
    seen.cname = seen.cname || cname;
    seen.types.push_back(record.type);
  }
}

void check_nameservers(Reader& r, const DnsZone& zone) {
  if (!r.sound("dns.nameservers") || !r.sound("dns.zone")) return;
  if (zone.nameservers.empty() && r.present("dns.nameservers"))
    r.problem(r.value_at("dns.nameservers"), "dns.nameservers", "a zone needs a name server");
  if (!r.sound("dns.records")) return;
  std::string suffix = "." + lower(zone.name);
  for (std::size_t i = 0; i < zone.nameservers.size(); ++i) {
    std::string name = lower(zone.nameservers[i]);
    if (!name.ends_with(suffix) && name != lower(zone.name)) continue;
    bool has_address =
        std::any_of(zone.records.begin(), zone.records.end(), [&](const DnsRecord& record) {
          return (record.type == RecordType::kA || record.type == RecordType::kAaaa) &&
                 absolute_name(zone, record.name) == name;
        });
    std::string path = fmt::format("dns.nameservers[{}]", i);
    if (!has_address)
      r.problem(r.value_at(path), path,
                fmt::format("name server {} is inside the zone and has no A record", quoted(name)));
  }
}

}  // namespace

void check_dns(Reader& reader, Platform& platform) {
  DnsZone& zone = platform.dns;
  check_whole_seconds(reader, zone.ttl, "dns.ttl");
  check_whole_seconds(reader, zone.negative_ttl, "dns.negative_ttl");
  for (std::size_t i = 0; i < zone.records.size(); ++i)
    check_record(reader, platform, zone.records[i], fmt::format("dns.records[{}]", i));
  check_record_sets(reader, zone);
  check_nameservers(reader, zone);
}

}  // namespace leeward::config
