// What a seed has done, kept at the target beside the rows themselves: leeward.seed_tables and
// leeward.seed_chunks. Free functions over one connection; the rows of a chunk and its record go
// into one transaction of the caller's.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mysql/gtid.h"
#include "mysql/sql.h"
#include "replication/internal/chunk_copy.h"

namespace leeward::replication::internal {

enum class SeedStage : std::uint8_t { kCopying, kCopied, kDone };

struct ChunkRecord {
  std::uint32_t number = 0;  // from 0, in key order
  KeyRange range;
  mysql::GtidPosition at;
  Copied copied;
};

struct TableRecord {
  SeedStage stage = SeedStage::kCopying;
  bool integer_key = false;
  bool cascades = false;
  std::vector<std::string> deferred;  // what ALTER TABLE has to add after the rows
  std::vector<ChunkRecord> chunks;    // ascending
};

using Journal = std::map<std::pair<std::string, std::string>, TableRecord>;  // names at the source

class SeedJournal {
 public:
  SeedJournal(mysql::SqlConnection& target, std::string task)
      : sql_(target), task_(std::move(task)) {}

  Status create(BootTime deadline);
  // Empty when there is no journal.
  Result<Journal> read(BootTime deadline);
  Status begin_table(const CarriedTable& table, const std::vector<std::string>& deferred,
                     BootTime deadline);
  Status set_stage(const CarriedTable& table, SeedStage stage, BootTime deadline);
  Status add_chunk(const CarriedTable& table, const ChunkRecord& chunk, BootTime deadline);
  Status forget_chunks(const CarriedTable& table, BootTime deadline);

 private:
  std::string where(const CarriedTable& table) const;

  mysql::SqlConnection& sql_;
  std::string task_;
};

// The ranges between and after the chunks that are there, in order, with the number of the first
// chunk in each. Pure.
struct Gap {
  std::uint32_t number = 0;
  KeyRange range;
};
std::vector<Gap> gaps(const std::vector<ChunkRecord>& chunks);

}  // namespace leeward::replication::internal
