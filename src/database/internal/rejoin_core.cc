#include "database/internal/rejoin_core.h"

#include <algorithm>

namespace leeward::database::internal {
namespace {

// Newest promotion in both lists; epoch 0 when they share none.
Promotion last_common(const std::vector<EpochRow>& a, const std::vector<EpochRow>& b) {
  for (auto row = a.rbegin(); row != a.rend(); ++row)
    for (const EpochRow& other : b)
      if (other.promotion() == row->promotion()) return row->promotion();
  return Promotion{};
}

const EpochRow* first_above(const std::vector<EpochRow>& epochs, Promotion promotion) {
  auto found = std::find_if(epochs.begin(), epochs.end(),
                            [&](const EpochRow& row) { return row.promotion() > promotion; });
  return found == epochs.end() ? nullptr : &*found;
}

// Last transaction in the own log that this server wrote itself.
std::uint64_t own_sequence(const History& own) {
  for (const mysql::Gtid& gtid : own.state)
    if (gtid.domain == 0 && gtid.server == own.server) return gtid.sequence;
  return 0;
}

}  // namespace

Result<Parting> compare(const History& own, const History& source, Epoch expected) {
  if (source.epoch() != expected)
    return fail(Code::kRefused,
                "the source is at epoch {}, not {}: it is not the writer that it should be",
                source.epoch().value, expected.value);
  if (own.epoch() > expected)
    return fail(Code::kRefused, "this server is at epoch {}, above the source's {}",
                own.epoch().value, expected.value);
  if (own.promotion() > source.promotion())
    return fail(Code::kRefused,
                "this server knows a later promotion of epoch {} than the source: that node is the "
                "site's primary no more",
                expected.value);
  if (!own.member) return Parting{Parting::Kind::kFresh, {}, false};

  Promotion common = last_common(own.epochs, source.epochs);
  const EpochRow* left = first_above(source.epochs, common);
  if (!left) {
    // Same newest promotion on both sides. The source is its writer, so nothing may stem from this
    // server.
    const EpochRow& current = source.epochs.back();
    if (own_sequence(own) > current.promoted.position().value)
      return Parting{Parting::Kind::kErrant, current.promoted, false};
    return Parting{};
  }
  mysql::GtidPosition shared = left->promoted;
  const EpochRow* mine = first_above(own.epochs, common);
  if (mine && mine->promoted.position() < shared.position()) shared = mine->promoted;
  // Only of the writer that the source replaced, not of one whose own promotion it never saw.
  bool unacknowledged = left->complete && !mine;
  if (own.position.position() > shared.position())
    return Parting{Parting::Kind::kAhead, shared, unacknowledged};
  bool same_sequence = own.position.position() == shared.position();
  if (same_sequence && own.position.server() != shared.server())
    return Parting{Parting::Kind::kErrant, shared, false};
  return Parting{};
}

Epoch epoch_of(const std::vector<EpochRow>& epochs, std::uint64_t sequence) {
  Epoch epoch;
  for (const EpochRow& row : epochs)
    if (row.promoted.position().value < sequence) epoch = row.epoch;
  return epoch;
}

}  // namespace leeward::database::internal
