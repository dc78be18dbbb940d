// Where do two histories part? Pure: compares what two servers say of themselves.
//
// Every promotion writes a row (epoch and term, position just before it) into the data, so a
// server's rows are the list of writers in its history. Take the newest promotion that both know,
// c. Up to and including the writes of c's writer the histories are prefixes of one and the same
// stream (one writer per promotion). The source left that stream at the first promotion above c
// that it knows; this server left it at the first one above c that *it* knows, or is still on it.
// The shared part ends at the lesser of the two positions, and all that this server has beyond is
// lost to the source.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/ids.h"
#include "mysql/gtid.h"

namespace leeward::database::internal {

struct EpochRow {
  Epoch epoch;
  std::string site;
  mysql::GtidPosition promoted;  // the position just before this promotion
  Term term{};                   // counts the promotions of one site's nodes inside the epoch
  bool complete = false;         // everything acknowledged before is at or before `promoted`
  Promotion promotion() const { return {epoch, term}; }
};

struct History {
  bool member = false;             // has the schema `leeward`
  std::vector<EpochRow> epochs;    // ascending
  mysql::GtidPosition position;    // last transaction, own or replicated
  std::vector<mysql::Gtid> state;  // last own-log transaction of every server
  std::uint32_t server = 0;        // its server_id

  Epoch epoch() const { return promotion().epoch; }
  Promotion promotion() const { return epochs.empty() ? Promotion{} : epochs.back().promotion(); }
};

struct Parting {
  enum class Kind {
    kNone,    // own history is a prefix of the source's: just follow
    kFresh,   // never was part of the service
    kAhead,   // own transactions after `shared` are unknown to the source
    kErrant,  // something was written here while another site was the writer
  };
  Kind kind = Kind::kNone;
  mysql::GtidPosition shared;  // kAhead and kErrant: where to read the own log from
  // What is beyond was never acknowledged: the source took over in lossless mode, under protection.
  bool unacknowledged = false;
};

// kRefused when either server's newest epoch contradicts `expected`.
Result<Parting> compare(const History& own, const History& source, Epoch expected);

// The epoch under which the transaction with that sequence number was written.
Epoch epoch_of(const std::vector<EpochRow>& epochs, std::uint64_t sequence);

}  // namespace leeward::database::internal
