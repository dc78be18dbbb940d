#include "dns/internal/answer_builder.h"

namespace leeward::dns::internal {
namespace {

constexpr std::uint16_t kPointer = 0xc000;  // RFC 1035 §4.1.4
constexpr std::size_t kPointerMax = 0x3fff;
constexpr std::size_t kAnswerBytesMax = kMessageMax - kHeaderSize - kNameMax - 4 - kOptSize;

// SOA timers for secondaries; with the low TTLs of a failover zone nobody waits for them.
constexpr std::uint32_t kSoaRefresh = 900;
constexpr std::uint32_t kSoaRetry = 300;
constexpr std::uint32_t kSoaExpire = 604800;

constexpr std::uint32_t kMinimalAnyTtl = 3600;

}  // namespace

AnswerBuilder::AnswerBuilder(std::string_view question) {
  if (question.empty()) return;
  base_ = kHeaderSize + question.size() + 4;
  std::size_t at = kHeaderSize;
  for (std::string_view name = question; name.size() > 1; name = parent_name(name)) {
    offsets_.emplace(name, static_cast<std::uint16_t>(at));
    at += name.size() - parent_name(name).size();
  }
}

void AnswerBuilder::write_name(std::string_view name, bool compressible) {
  for (; name.size() > 1; name = parent_name(name)) {
    std::string lower = lower_name(name);
    auto it = offsets_.find(lower);
    if (compressible && it != offsets_.end()) {
      append16(bytes_, static_cast<std::uint16_t>(kPointer | it->second));
      return;
    }
    std::size_t at = base_ + bytes_.size();
    if (compressible && base_ != 0 && at <= kPointerMax)
      offsets_.emplace(lower, static_cast<std::uint16_t>(at));
    bytes_ += name.substr(0, name.size() - parent_name(name).size());
  }
  bytes_ += '\0';
}

void AnswerBuilder::begin_record(Section section, const std::optional<std::string>& owner,
                                 std::uint16_t type, std::uint32_t ttl) {
  if (owner)
    write_name(*owner, true);
  else
    append16(bytes_, static_cast<std::uint16_t>(kPointer | kHeaderSize));
  append16(bytes_, type);
  append16(bytes_, kClassIn);
  append32(bytes_, ttl);
  append16(bytes_, 0);
  data_at_ = bytes_.size();
  if (section == Section::kAnswer) ++answer_.answers;
  if (section == Section::kAuthority) ++answer_.authorities;
  if (section == Section::kAdditional) ++answer_.additionals;
}

void AnswerBuilder::end_record() {
  store16(reinterpret_cast<std::uint8_t*>(bytes_.data()) + data_at_ - 2,
          static_cast<std::uint16_t>(bytes_.size() - data_at_));
  if (answer_.additionals == 0) core_length_ = bytes_.size();
}

void AnswerBuilder::add_set(Section section, const std::optional<std::string>& owner,
                            std::uint16_t type, const SourceSet& set, SiteId site) {
  for (const Rdata& data : set.values(site)) {
    begin_record(section, owner, type, set.ttl);
    bytes_ += data.head;
    if (data.target) write_name(*data.target, data.compressible);
    end_record();
  }
}

void AnswerBuilder::add_soa(Section section, const ZoneSource& source, std::uint32_t ttl) {
  begin_record(section, source.apex, kTypeSoa, ttl);
  write_name(source.primary, true);
  write_name(source.mailbox, true);
  serial_at_ = bytes_.size();
  for (std::uint32_t field :
       {source.serial, kSoaRefresh, kSoaRetry, kSoaExpire, source.negative_ttl})
    append32(bytes_, field);
  end_record();
}

void AnswerBuilder::add_minimal_any() {
  begin_record(Section::kAnswer, std::nullopt, kTypeHinfo, kMinimalAnyTtl);
  bytes_ += "\7RFC8482";
  bytes_ += '\0';
  end_record();
}

Result<Answer> AnswerBuilder::finish() const {
  if (bytes_.size() > kAnswerBytesMax)
    return fail(Code::kInvalid,
                "the answer has {} octets and fits into no message; use fewer values",
                bytes_.size());
  Answer answer = answer_;
  answer.length = static_cast<std::uint16_t>(bytes_.size());
  answer.core_length = static_cast<std::uint16_t>(core_length_);
  answer.serial_at = static_cast<std::uint16_t>(serial_at_);
  return answer;
}

}  // namespace leeward::dns::internal
