#include "waf/phrase_set.h"

#include <algorithm>
#include <array>

#include "waf/internal/bytes.h"

namespace leeward::waf {
namespace {

constexpr std::uint32_t kNone = 0;  // the root is never the child of a state

unsigned char folded(char c) { return static_cast<unsigned char>(to_lower(c)); }

}  // namespace

Result<PhraseSet> PhraseSet::make(const std::vector<std::string>& phrases) {
  PhraseSet set;
  std::size_t bytes = 0;
  for (const std::string& phrase : phrases) {
    if (phrase.empty()) continue;  // would match everything; the library leaves it out, too
    bytes += phrase.size();
    set.phrases_.push_back(phrase);
  }
  if (set.phrases_.empty())
    return fail(Code::kInvalid, "no phrase to look for; write at least one");
  if (bytes > kPhraseBytesMax)
    return fail(Code::kInvalid, "phrases of {} bytes; {} are the limit, split the list", bytes,
                kPhraseBytesMax);

  // Column 0 is for bytes that are in no phrase; both cases of a letter share one.
  std::array<std::uint8_t, 256> column{};
  set.columns_ = 1;
  for (const std::string& phrase : set.phrases_)
    for (const char c : phrase)
      if (column[folded(c)] == 0) column[folded(c)] = static_cast<std::uint8_t>(set.columns_++);
  set.column_.resize(256);
  for (unsigned byte = 0; byte < 256; ++byte)
    set.column_[byte] = column[folded(static_cast<char>(byte))];

  // The tree of all phrases.
  set.next_.assign(set.columns_, kNone);
  set.ends_.assign(1, 0);
  for (std::size_t p = 0; p < set.phrases_.size(); ++p) {
    std::uint32_t state = 0;
    for (const char c : set.phrases_[p]) {
      const std::size_t edge = state * set.columns_ + column[folded(c)];
      if (set.next_[edge] == kNone) {
        set.next_[edge] = static_cast<std::uint32_t>(set.ends_.size());
        set.ends_.push_back(0);
        set.next_.resize(set.next_.size() + set.columns_, kNone);
      }
      state = set.next_[edge];
    }
    if (set.ends_[state] == 0) set.ends_[state] = static_cast<std::uint32_t>(p + 1);
  }
  set.complete();
  return set;
}

// Turns the tree into an automaton, breadth first: where a state has no child it goes where the
// longest shorter suffix would, and a phrase that ends there ends here as well.
void PhraseSet::complete() {
  std::vector<std::uint32_t> shorter(ends_.size(), 0);
  std::vector<std::uint32_t> queue;
  queue.reserve(ends_.size());
  for (std::size_t c = 0; c < columns_; ++c)
    if (next_[c] != kNone) queue.push_back(next_[c]);
  for (std::size_t at = 0; at < queue.size(); ++at) {
    const std::uint32_t state = queue[at];
    if (ends_[state] == 0) ends_[state] = ends_[shorter[state]];
    for (std::size_t c = 0; c < columns_; ++c) {
      std::uint32_t& child = next_[state * columns_ + c];
      const std::uint32_t fallback = next_[shorter[state] * columns_ + c];
      if (child == kNone) {
        child = fallback;
      } else {
        shorter[child] = fallback;
        queue.push_back(child);
      }
    }
  }
}

Result<PhraseSet> PhraseSet::parse_list(std::string_view list) {
  std::vector<std::string> phrases;
  for (std::size_t at = 0; at < list.size();) {
    std::size_t end = at;
    while (end < list.size() && !is_space(static_cast<unsigned char>(list[end]))) ++end;
    if (end > at) phrases.emplace_back(list.substr(at, end - at));
    at = end + 1;
  }
  return make(phrases);
}

Result<PhraseSet> PhraseSet::parse_file(std::string_view text) {
  std::vector<std::string> phrases;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && line.front() != '#') phrases.emplace_back(line);
  }
  return make(phrases);
}

std::optional<PhraseSet::Match> PhraseSet::first_match(std::string_view value) const {
  std::size_t state = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    state = next_[state * columns_ + column_[static_cast<unsigned char>(value[i])]];
    if (ends_[state] != 0) return Match{i + 1, phrases_[ends_[state] - 1]};
  }
  return std::nullopt;
}

std::size_t PhraseSet::bytes() const {
  std::size_t bytes = next_.size() * sizeof(next_[0]) + ends_.size() * sizeof(ends_[0]) + 256;
  for (const std::string& phrase : phrases_) bytes += sizeof(phrase) + phrase.capacity();
  return bytes;
}

}  // namespace leeward::waf
