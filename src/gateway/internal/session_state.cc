#include "gateway/internal/session_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gateway/internal/mysql_wire.h"

namespace leeward::gateway {
namespace {

ReplayCommand command(std::uint8_t code, std::string_view argument, std::uint32_t client_id = 0) {
  std::string payload(1, static_cast<char>(code));
  payload += argument;
  return {code, client_id, wire::packet(0, payload)};
}

}  // namespace

void SessionState::record_set(std::string text, const StatementTraits& traits) {
  if (traits.sets_once) {
    if (once_.size() >= 4 || text.size() > 1024) overflow_ = true;
    if (!overflow_) once_.push_back(std::move(text));
    return;
  }
  if (!traits.computed) {
    // Assignments of constants: the last one of each variable counts, so an earlier equal text may
    // go, unless a computed one behind it could have read its result.
    for (std::size_t i = sets_.size(); i > 0 && !sets_[i - 1].computed; --i) {
      if (sets_[i - 1].text != text) continue;
      set_bytes_ -= text.size();
      sets_.erase(sets_.begin() + static_cast<std::ptrdiff_t>(i) - 1);
      break;
    }
  }
  if (sets_.size() >= kSetsMax || set_bytes_ + text.size() > kSetBytesMax) {
    overflow_ = true;
    return;
  }
  set_bytes_ += text.size();
  sets_.push_back({std::move(text), traits.computed});
}

std::uint32_t SessionState::add_prepared(PreparedStatement statement) {
  const std::uint32_t id = next_id_++;
  prepared_bytes_ += statement.text.size();
  prepared_.emplace(id, std::move(statement));
  return id;
}

PreparedStatement* SessionState::find_prepared(std::uint32_t client_id) {
  const auto it = prepared_.find(client_id);
  return it == prepared_.end() ? nullptr : &it->second;
}

void SessionState::close_prepared(std::uint32_t client_id) {
  const auto it = prepared_.find(client_id);
  if (it == prepared_.end()) return;
  prepared_bytes_ -= it->second.text.size();
  prepared_.erase(it);
}

void SessionState::reset() {
  sets_.clear();
  set_bytes_ = 0;
  once_.clear();
  option_ = -1;
  prepared_.clear();
  prepared_bytes_ = 0;
  overflow_ = false;
  last_insert_id = 0;
}

bool SessionState::replayable() const {
  if (overflow_ || prepared_.size() > kPreparedMax || prepared_bytes_ > kPreparedBytesMax)
    return false;
  return std::all_of(prepared_.begin(), prepared_.end(), [](const auto& entry) {
    const PreparedStatement& s = entry.second;
    // A statement without text was longer than is remembered (session_core.cc).
    return !s.long_data && !s.text.empty() && s.parameters <= kParametersMax;
  });
}

std::vector<ReplayCommand> SessionState::replay() {
  std::vector<ReplayCommand> out;
  if (option_ >= 0)
    out.push_back(command(wire::kSetOption, std::string{static_cast<char>(option_), '\0'}));
  for (const SetText& set : sets_) out.push_back(command(wire::kQuery, set.text));
  if (last_insert_id != 0)
    out.push_back(command(wire::kQuery, fmt::format("SET last_insert_id={}", last_insert_id)));
  std::string current = database;
  for (auto& [id, statement] : prepared_) {
    if (statement.database != current && !statement.database.empty()) {
      current = statement.database;
      out.push_back(command(wire::kInitDb, current));
    }
    out.push_back(command(wire::kStmtPrepare, statement.text, id));
    statement.types_lost = true;
  }
  if (current != database) out.push_back(command(wire::kInitDb, database));
  for (const std::string& text : once_) out.push_back(command(wire::kQuery, text));
  return out;
}

}  // namespace leeward::gateway
