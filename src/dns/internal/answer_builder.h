// Writes one ready answer: records after an echoed question, with compressed names.
// Private to the compiler.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "dns/internal/zone_source.h"
#include "dns/zone.h"

namespace leeward::dns::internal {

// The answer's question may be known in full (an exact name) or only by its end (a wildcard, a
// missing name). Only in the first case are the offsets of later names known, so only then are
// names compressed; the question's own name is always the pointer c00c.
class AnswerBuilder {
 public:
  enum class Section { kAnswer, kAuthority, kAdditional };

  // `question`: lower-cased wire name, or empty when only known at run time.
  explicit AnswerBuilder(std::string_view question);

  // Sections are written in their order. `owner` nullopt: the question's name.
  void add_set(Section section, const std::optional<std::string>& owner, std::uint16_t type,
               const SourceSet& set, SiteId site);
  void add_soa(Section section, const ZoneSource& source, std::uint32_t ttl);
  // RFC 8482 §4.2: what ANY gets instead of everything.
  void add_minimal_any();

  void set_rcode(Rcode rcode) { answer_.rcode = rcode; }
  void set_referral(bool glue_required) {
    answer_.authoritative = false;
    answer_.glue_required = glue_required;
  }

  const std::string& bytes() const { return bytes_; }
  // Lengths and counts; `offset` is left 0. kInvalid when no message could hold it.
  Result<Answer> finish() const;

 private:
  void begin_record(Section section, const std::optional<std::string>& owner, std::uint16_t type,
                    std::uint32_t ttl);
  void end_record();
  void write_name(std::string_view name, bool compressible);

  std::size_t base_ = 0;                          // message offset of bytes_[0]; 0: unknown
  std::map<std::string, std::uint16_t> offsets_;  // lower-cased names already in the message
  std::string bytes_;
  std::size_t data_at_ = 0;  // start of the current record's data
  std::size_t core_length_ = 0;
  std::size_t serial_at_ = Answer::kNoSerial;
  Answer answer_;
};

}  // namespace leeward::dns::internal
