#include "waf/internal/sqli_words.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "waf/internal/bytes.h"

namespace leeward::waf {
namespace {

// Each word with its kind before it and a comma after it, sorted by the word.
constexpr std::string_view kWords =
#include "waf/internal/sqli_words.inc"
    ;
// Records of five bytes, blanks at the end, sorted.
constexpr std::string_view kShapes =
#include "waf/internal/sqli_fingerprints.inc"
    ;

constexpr std::size_t kWordBytesMax = 31;
constexpr std::size_t kShapeBytes = 5;
constexpr std::size_t kWordCount = [] {
  std::size_t commas = 0;
  for (const char c : kWords) commas += c == ',';
  return commas;
}();

constexpr std::uint32_t kHashOfNothing = 2166136261u;  // FNV-1a
constexpr std::uint32_t hash_with(std::uint32_t hash, char c) {
  return (hash ^ static_cast<unsigned char>(c)) * 16777619u;
}
constexpr std::uint32_t hash_of(std::string_view upper) {
  std::uint32_t hash = kHashOfNothing;
  for (const char c : upper) hash = hash_with(hash, c);
  return hash;
}

// An open hash table, half full, made by the compiler: most words of a text are in none of its
// slots, and that is one look.
struct WordIndex {
  static constexpr std::size_t kSlots = 2048;
  std::array<std::uint16_t, kWordCount + 1> at{};  // of the kind in kWords
  std::array<std::uint16_t, kSlots> slots{};       // 1 + the word; 0: none

  constexpr std::string_view word(std::size_t i) const {
    return kWords.substr(at[i] + 1u, at[i + 1] - at[i] - 2u);
  }
};
static_assert(kWordCount * 2 < WordIndex::kSlots);

constexpr WordIndex kIndex = [] {
  WordIndex index;
  std::size_t words = 0;
  for (std::size_t i = 0; i < kWords.size(); ++i)
    if (kWords[i] == ',') index.at[++words] = static_cast<std::uint16_t>(i + 1);
  for (std::size_t i = 0; i < words; ++i) {
    std::size_t slot = hash_of(index.word(i)) % WordIndex::kSlots;
    while (index.slots[slot] != 0) slot = (slot + 1) % WordIndex::kSlots;
    index.slots[slot] = static_cast<std::uint16_t>(i + 1);
  }
  return index;
}();
static_assert(kShapes.size() % kShapeBytes == 0);

char kind_of(std::string_view upper, std::uint32_t hash) {
  for (std::size_t slot = hash % WordIndex::kSlots; kIndex.slots[slot] != 0;
       slot = (slot + 1) % WordIndex::kSlots) {
    const std::size_t found = kIndex.slots[slot] - 1u;
    if (kIndex.word(found) == upper) return kWords[kIndex.at[found]];
  }
  return 0;
}

}  // namespace

char sql_kind_of(std::string_view word) {
  if (word.empty() || word.size() > kWordBytesMax) return 0;
  std::array<char, kWordBytesMax> upper;
  std::transform(word.begin(), word.end(), upper.begin(), to_upper);
  const std::string_view wanted(upper.data(), word.size());
  return kind_of(wanted, hash_of(wanted));
}

bool has_word_before_a_dot(std::string_view text) {
  std::array<char, kWordBytesMax> upper;
  std::uint32_t hash = kHashOfNothing;
  for (std::size_t i = 0; i < std::min(text.size(), kWordBytesMax); ++i) {
    if (text[i] == '.' && kind_of({upper.data(), i}, hash) != 0) return true;
    upper[i] = to_upper(text[i]);
    hash = hash_with(hash, upper[i]);
  }
  return false;
}

bool is_attack_shape(std::string_view shape) {
  if (shape.empty() || shape.size() > kShapeBytes) return false;
  std::array<char, kShapeBytes> upper;
  upper.fill(' ');
  std::transform(shape.begin(), shape.end(), upper.begin(), to_upper);
  const std::string_view wanted(upper.data(), upper.size());
  std::size_t low = 0;
  std::size_t high = kShapes.size() / kShapeBytes;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const int order = kShapes.substr(middle * kShapeBytes, kShapeBytes).compare(wanted);
    if (order == 0) return true;
    (order < 0 ? low : high) = order < 0 ? middle + 1 : middle;
  }
  return false;
}

}  // namespace leeward::waf
