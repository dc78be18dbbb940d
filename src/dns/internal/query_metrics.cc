#include "dns/internal/query_metrics.h"

namespace leeward::dns::internal {
namespace {

struct TypeLabel {
  std::uint16_t type;
  std::string_view label;
};
constexpr std::array<TypeLabel, 11> kTypeLabels{{{kTypeA, "A"},
                                                 {kTypeAaaa, "AAAA"},
                                                 {kTypeNs, "NS"},
                                                 {kTypeCname, "CNAME"},
                                                 {kTypeSoa, "SOA"},
                                                 {kTypeMx, "MX"},
                                                 {kTypeTxt, "TXT"},
                                                 {kTypeSrv, "SRV"},
                                                 {kTypeCaa, "CAA"},
                                                 {kTypeAny, "ANY"},
                                                 {0, "unreadable"}}};

struct RcodeLabel {
  Rcode rcode;
  std::string_view label;
};
constexpr std::array<RcodeLabel, 7> kRcodeLabels{{{Rcode::kNoError, "NOERROR"},
                                                  {Rcode::kNxDomain, "NXDOMAIN"},
                                                  {Rcode::kRefused, "REFUSED"},
                                                  {Rcode::kFormErr, "FORMERR"},
                                                  {Rcode::kNotImp, "NOTIMP"},
                                                  {Rcode::kBadVers, "BADVERS"},
                                                  {Rcode::kServFail, "SERVFAIL"}}};

void move_into(Counter& counter, std::uint32_t& tally) {
  if (tally == 0) return;
  counter.add(tally);
  tally = 0;
}

}  // namespace

QueryTally::QueryTally(Registry& registry, std::string_view protocol) {
  std::string proto(protocol);
  auto type_counter = [&](std::string_view label) {
    return &registry.counter("leeward_dns_queries_total", "DNS queries by question type.",
                             {{"proto", proto}, {"type", std::string(label)}});
  };
  for (std::size_t i = 0; i < kTypeLabels.size(); ++i)
    type_counters_[i] = type_counter(kTypeLabels[i].label);
  type_counters_[kTypes - 1] = type_counter("other");
  for (std::size_t i = 0; i < kRcodes; ++i)
    rcode_counters_[i] =
        &registry.counter("leeward_dns_responses_total", "DNS replies by response code.",
                          {{"proto", proto}, {"rcode", std::string(kRcodeLabels[i].label)}});
  dropped_counter_ = &registry.counter("leeward_dns_dropped_total",
                                       "Messages that deserve no reply.", {{"proto", proto}});
}

std::size_t QueryTally::type_index(std::uint16_t type) {
  for (std::size_t i = 0; i < kTypeLabels.size(); ++i)
    if (kTypeLabels[i].type == type) return i;
  return kTypes - 1;
}

std::size_t QueryTally::rcode_index(Rcode rcode) {
  std::size_t i = 0;
  while (i + 1 < kRcodes && kRcodeLabels[i].rcode != rcode) ++i;
  return i;
}

void QueryTally::count(const Reply& reply) {
  if (reply.size == 0) {
    ++dropped_;
    return;
  }
  ++types_[type_index(reply.type)];
  ++rcodes_[rcode_index(reply.rcode)];
}

void QueryTally::flush() {
  for (std::size_t i = 0; i < kTypes; ++i) move_into(*type_counters_[i], types_[i]);
  for (std::size_t i = 0; i < kRcodes; ++i) move_into(*rcode_counters_[i], rcodes_[i]);
  move_into(*dropped_counter_, dropped_);
}

}  // namespace leeward::dns::internal
