// Records of the disk tier as bytes. Pure; reads bytes that may be anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "edge/internal/cache_object.h"
#include "edge/internal/cache_purge.h"

namespace leeward::edge {

enum class RecordType : std::uint8_t { kObject = 1, kPurgeUrl, kPurgeTag, kPurgePrefix };

inline constexpr std::size_t kRecordHeaderSize = 64;
inline constexpr std::uint32_t kRecordHeadMax = 1u << 20;
inline constexpr std::uint64_t kRecordBodyMax = 1ull << 32;

struct RecordHeader {
  RecordType type = RecordType::kObject;
  std::uint32_t head_size = 0;
  std::uint64_t body_size = 0;
  std::uint64_t url_print = 0;  // hash_tag(url), so that the index needs no head
  std::uint64_t number = 0;     // purge sequence
  std::uint32_t body_sum = 0;
  std::uint32_t head_sum = 0;  // of the header's other fields and the head
};

// 64 bytes. `head` is needed for the sum.
std::string write_header(RecordHeader header, std::string_view head);
// nullopt: no record. The head's sum is not checked yet.
std::optional<RecordHeader> read_header(std::string_view bytes);
bool head_matches(const RecordHeader& header, std::string_view head);
std::uint32_t sum_of(std::string_view bytes, std::uint32_t so_far = 0);

// An object's head: everything but its body. Ages go on with the wall clock while nobody runs.
std::string write_object_head(const StoredObject& object, Now now);
// The parts own nothing: they point into `head`. nullopt for a head that does not add up; `tags`
// and freshness are filled in.
std::optional<StoredObject::Parts> read_object_head(std::string_view head, Now now);

struct PurgeRecord {
  PurgeKind kind = PurgeKind::kHard;
  std::uint64_t tag = 0;
  std::string text;  // URL or prefix
};
std::string write_purge_head(const PurgeRecord& purge);
std::optional<PurgeRecord> read_purge_head(std::string_view head);

}  // namespace leeward::edge
