// The zone compiler: from checked records (internal/zone_source.h) to the tables of zone.h.
//
// Each existing name becomes a node with one set a type. What a query for a missing name gets is
// also a node, found through `missing_child` of its closest encloser: NXDOMAIN (RFC 8020), the
// wildcard's records (RFC 4592), or a referral (RFC 1034 §4.3.2). So the reader never decides.
#include <functional>
#include <set>
#include <unordered_map>

#include "dns/internal/answer_builder.h"
#include "dns/internal/name_hash.h"
#include "dns/internal/zone_source.h"
#include "dns/zone.h"

namespace leeward::dns {
namespace {

using internal::AnswerBuilder;
using internal::SourceNode;
using internal::SourceSet;
using internal::ZoneSource;
using Section = AnswerBuilder::Section;
using Where = ZoneSource::Where;

constexpr int kCnameLinksMax = 8;
constexpr std::uint16_t kNoType = 0;  // reserved (RFC 6895 §3.1): no name has it
constexpr std::uint32_t kMissingNode = 0;

class Compiler {
 public:
  explicit Compiler(ZoneSource source) : source_(std::move(source)) {
    for (const auto& [name, node] : source_.nodes)
      for (const auto& [type, set] : node.sets)
        for (const auto& [site, values] : set.by_site) sites_.insert(site);
  }

  Result<ZoneTables> run();

 private:
  using Build = std::function<Result<std::uint32_t>(SiteId)>;

  Status compile_name(const std::string& name, const SourceNode& node);
  Result<std::uint32_t> add_node(std::string_view question, const std::string& name,
                                 const SourceNode& node);
  Result<std::uint32_t> referral_node(const std::string& cut, const SourceNode& node);
  Result<std::uint32_t> missing_child(const std::string& name);

  // An answer for each site; the sites that no failover record names share one.
  Result<Variants> for_each_site(const Build& build);
  Result<std::uint32_t> data_answer(std::string_view question, const std::string& name,
                                    std::uint16_t type, SiteId site);
  Result<std::uint32_t> negative_answer(Rcode rcode);
  Result<std::uint32_t> any_answer(std::string_view question);
  Result<std::uint32_t> referral_answer(const std::string& cut, const SourceNode& node,
                                        SiteId site);
  Result<std::uint32_t> store(const AnswerBuilder& builder);

  void add_addresses(AnswerBuilder& builder, const SourceSet& set, SiteId site);
  std::set<std::uint16_t> types_of(const std::string& name, const SourceNode& node) const;
  std::set<std::uint16_t> types_through_cnames(std::string name) const;
  std::uint32_t negative_ttl() const { return std::min(source_.ttl, source_.negative_ttl); }
  void fill_slots();

  ZoneSource source_;
  std::set<SiteId> sites_;
  ZoneTables tables_;
  std::unordered_map<std::string, std::vector<std::uint32_t>> stored_;  // by bytes
  std::map<std::string, std::uint32_t> referral_nodes_;                 // by cut
  std::vector<std::uint32_t> named_nodes_;                              // those of the hash table
};

std::size_t label_count(std::string_view name) {
  std::size_t labels = 0;
  for (; name.size() > 1; name = internal::parent_name(name)) ++labels;
  return labels;
}

Result<ZoneTables> Compiler::run() {
  tables_.apex = source_.apex;
  tables_.apex_labels = label_count(source_.apex);
  tables_.serial = source_.serial;
  auto missing = negative_answer(Rcode::kNxDomain);
  if (!missing) return fail(missing.error());
  ZoneTables::Node node;
  node.otherwise.fill(*missing);
  tables_.nodes.push_back(node);  // kMissingNode
  for (const auto& [name, source_node] : source_.nodes)
    if (auto added = compile_name(name, source_node); !added)
      return fail(std::move(added.error()).wrap(name_to_text(name)));
  fill_slots();
  return std::move(tables_);
}

Status Compiler::compile_name(const std::string& name, const SourceNode& node) {
  auto index = add_node(name, name, node);
  if (!index) return fail(index.error());
  auto child = missing_child(name);
  if (!child) return fail(child.error());
  ZoneTables::Node& added = tables_.nodes[*index];
  added.missing_child = *child;
  added.name_at = static_cast<std::uint32_t>(tables_.names.size());
  added.name_length = static_cast<std::uint16_t>(name.size());
  tables_.names += name;
  tables_.depth_max = std::max(tables_.depth_max, label_count(name) - tables_.apex_labels);
  named_nodes_.push_back(*index);
  return {};
}

// Node for `name`; with an empty `question`, for the names that a wildcard `name` stands for.
Result<std::uint32_t> Compiler::add_node(std::string_view question, const std::string& name,
                                         const SourceNode& node) {
  ZoneTables::Node added;
  std::vector<ZoneTables::Set> sets;
  auto add_set = [&](std::uint16_t type, const Build& build) -> Status {
    auto variants = for_each_site(build);
    if (!variants) return fail(variants.error());
    sets.push_back({type, *variants});
    return {};
  };
  auto found = source_.locate(name);
  if (found.where == Where::kDelegated) {
    auto referral = referral_node(found.owner, *found.node);
    if (!referral) return referral;
    added.otherwise = tables_.nodes[*referral].otherwise;
    if (found.owner == name) {  // DS lives above the cut (RFC 3658 §2.2.1.1)
      auto build = [&](SiteId) { return negative_answer(Rcode::kNoError); };
      if (auto done = add_set(kTypeDs, build); !done) return fail(done.error());
    }
  } else {
    for (std::uint16_t type : types_through_cnames(name)) {
      auto build = [&](SiteId site) { return data_answer(question, name, type, site); };
      if (auto done = add_set(type, build); !done) return fail(done.error());
    }
    bool has_cname = node.find(kTypeCname) != nullptr;
    if (!types_of(name, node).empty()) {
      auto build = [&](SiteId site) {
        return has_cname ? data_answer(question, name, kTypeCname, site) : any_answer(question);
      };
      if (auto done = add_set(kTypeAny, build); !done) return fail(done.error());
    }
    auto otherwise =
        for_each_site([&](SiteId site) { return data_answer(question, name, kNoType, site); });
    if (!otherwise) return fail(otherwise.error());
    added.otherwise = *otherwise;
  }
  added.set_first = static_cast<std::uint32_t>(tables_.sets.size());
  added.set_count = static_cast<std::uint16_t>(sets.size());
  tables_.sets.insert(tables_.sets.end(), sets.begin(), sets.end());
  tables_.nodes.push_back(added);
  return static_cast<std::uint32_t>(tables_.nodes.size() - 1);
}

Result<std::uint32_t> Compiler::referral_node(const std::string& cut, const SourceNode& node) {
  if (auto it = referral_nodes_.find(cut); it != referral_nodes_.end()) return it->second;
  auto variants = for_each_site([&](SiteId site) { return referral_answer(cut, node, site); });
  if (!variants) return fail(variants.error());
  ZoneTables::Node added;
  added.otherwise = *variants;
  tables_.nodes.push_back(added);
  return referral_nodes_[cut] = static_cast<std::uint32_t>(tables_.nodes.size() - 1);
}

Result<std::uint32_t> Compiler::missing_child(const std::string& name) {
  auto found = source_.locate(name);
  if (found.where == Where::kDelegated) return referral_node(found.owner, *found.node);
  std::string wildcard = std::string("\1*", 2) + name;
  auto it = source_.nodes.find(wildcard);
  if (it == source_.nodes.end()) return kMissingNode;
  return add_node({}, wildcard, it->second);
}

Result<Variants> Compiler::for_each_site(const Build& build) {
  Variants variants{};
  auto others = build(kNoSite);
  if (!others) return fail(others.error());
  variants.fill(*others);
  for (SiteId site : sites_) {
    auto index = build(site);
    if (!index) return fail(index.error());
    variants[site.value] = *index;
  }
  return variants;
}

// The algorithm of RFC 1034 §4.3.2 from `name` on, which exists and is not delegated.
Result<std::uint32_t> Compiler::data_answer(std::string_view question, const std::string& name,
                                            std::uint16_t type, SiteId site) {
  AnswerBuilder builder(question);
  std::optional<std::string> owner;  // none: the question's name
  ZoneSource::Found at{Where::kExists, name, &source_.nodes.at(name), false};
  for (int links = 0;; ++links) {
    if (links > kCnameLinksMax)
      return fail(Code::kInvalid, "its chain of CNAMEs is a loop or longer than {}",
                  kCnameLinksMax);
    if (at.where == Where::kMissing) {  // the code is that of the chain's end (RFC 2308 §2.1)
      builder.set_rcode(Rcode::kNxDomain);
      builder.add_soa(Section::kAuthority, source_, negative_ttl());
      break;
    }
    if (at.where != Where::kExists) break;  // the resolver goes on elsewhere
    if (type == kTypeSoa && at.owner == source_.apex) {
      builder.add_soa(Section::kAnswer, source_, source_.ttl);
      break;
    }
    if (const SourceSet* set = at.node->find(type)) {
      builder.add_set(Section::kAnswer, owner, type, *set, site);
      add_addresses(builder, *set, site);
      break;
    }
    const SourceSet* cname = at.node->find(kTypeCname);
    if (cname == nullptr) {
      builder.add_soa(Section::kAuthority, source_, negative_ttl());
      break;
    }
    builder.add_set(Section::kAnswer, owner, kTypeCname, *cname, site);
    owner = lower_name(*cname->values(site)[0].target);
    at = source_.locate(*owner);
  }
  return store(builder);
}

Result<std::uint32_t> Compiler::negative_answer(Rcode rcode) {
  AnswerBuilder builder({});
  builder.set_rcode(rcode);
  builder.add_soa(Section::kAuthority, source_, negative_ttl());
  return store(builder);
}

Result<std::uint32_t> Compiler::any_answer(std::string_view question) {
  AnswerBuilder builder(question);
  builder.add_minimal_any();
  return store(builder);
}

Result<std::uint32_t> Compiler::referral_answer(const std::string& cut, const SourceNode& node,
                                                SiteId site) {
  AnswerBuilder builder({});
  const SourceSet& servers = *node.find(kTypeNs);
  builder.add_set(Section::kAuthority, cut, kTypeNs, servers, site);
  bool glue = false;
  for (const internal::Rdata& data : servers.values(site)) {
    std::string target = lower_name(*data.target);
    auto it = source_.nodes.find(target);
    if (it == source_.nodes.end()) continue;
    for (std::uint16_t type : {kTypeA, kTypeAaaa}) {
      const SourceSet* set = it->second.find(type);
      if (set == nullptr) continue;
      builder.add_set(Section::kAdditional, target, type, *set, site);
      glue = glue || std::string_view(target).ends_with(cut);
    }
  }
  builder.set_referral(glue);
  return store(builder);
}

// Addresses in the zone of the names that an NS, MX or SRV set points to.
void Compiler::add_addresses(AnswerBuilder& builder, const SourceSet& set, SiteId site) {
  std::set<std::string> done;
  for (const internal::Rdata& data : set.values(site)) {
    if (!data.target) continue;
    std::string target = lower_name(*data.target);
    auto found = source_.locate(target);
    if (found.where != Where::kExists || !done.insert(target).second) continue;
    for (std::uint16_t type : {kTypeA, kTypeAaaa})
      if (const SourceSet* addresses = found.node->find(type))
        builder.add_set(Section::kAdditional, target, type, *addresses, site);
  }
}

std::set<std::uint16_t> Compiler::types_of(const std::string& name, const SourceNode& node) const {
  std::set<std::uint16_t> types;
  for (const auto& [type, set] : node.sets) types.insert(type);
  if (name == source_.apex) types.insert(kTypeSoa);
  return types;
}

// The types that can be asked for at `name` with another outcome than `otherwise`: its own and
// those at the end of each chain that starts here (one a site, when the CNAME fails over).
std::set<std::uint16_t> Compiler::types_through_cnames(std::string name) const {
  std::set<std::uint16_t> types;
  std::vector<std::string> todo{std::move(name)};
  std::set<std::string> seen;
  while (!todo.empty()) {
    std::string next = std::move(todo.back());
    todo.pop_back();
    auto at = source_.locate(next);
    if (at.where != Where::kExists || !seen.insert(at.owner).second) continue;
    types.merge(types_of(at.owner, *at.node));
    const SourceSet* cname = at.node->find(kTypeCname);
    if (cname == nullptr) continue;
    for (const auto& data : cname->common) todo.push_back(lower_name(*data.target));
    for (const auto& [site, values] : cname->by_site) todo.push_back(lower_name(*values[0].target));
  }
  return types;
}

// Equal answers are stored once.
Result<std::uint32_t> Compiler::store(const AnswerBuilder& builder) {
  auto answer = builder.finish();
  if (!answer) return fail(answer.error());
  std::vector<std::uint32_t>& same_bytes = stored_[builder.bytes()];
  for (std::uint32_t index : same_bytes) {
    answer->offset = tables_.answers[index].offset;
    if (tables_.answers[index] == *answer) return index;
  }
  answer->offset = static_cast<std::uint32_t>(tables_.bytes.size());
  tables_.bytes += builder.bytes();
  tables_.answers.push_back(*answer);
  same_bytes.push_back(static_cast<std::uint32_t>(tables_.answers.size() - 1));
  return same_bytes.back();
}

void Compiler::fill_slots() {
  std::size_t size = 4;
  while (size < 2 * named_nodes_.size()) size *= 2;
  tables_.slots.resize(size);
  for (std::uint32_t index : named_nodes_) {
    const ZoneTables::Node& node = tables_.nodes[index];
    std::string_view name = std::string_view(tables_.names).substr(node.name_at, node.name_length);
    std::vector<std::string_view> labels;
    for (; name.size() > source_.apex.size(); name = internal::parent_name(name))
      labels.push_back(name.substr(0, 1 + static_cast<unsigned char>(name[0])));
    std::uint32_t hash = internal::kApexHash;
    for (auto label = labels.rbegin(); label != labels.rend(); ++label)
      hash = internal::hash_child(hash, *label);
    std::size_t slot = internal::first_slot(hash, size - 1);
    while (tables_.slots[slot].node != 0) slot = (slot + 1) & (size - 1);
    tables_.slots[slot] = {hash, index + 1};
  }
}

}  // namespace

Result<std::shared_ptr<const Zone>> compile(const DnsZone& zone, std::uint32_t serial) {
  auto source = internal::read_zone(zone, serial);
  if (!source) return fail(source.error());
  auto tables = Compiler(std::move(*source)).run();
  if (!tables) return fail(std::move(tables.error()).wrap(fmt::format("zone {}", zone.name)));
  return std::make_shared<const Zone>(std::move(*tables));
}

}  // namespace leeward::dns
