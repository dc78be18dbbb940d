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

struct WordIndex {
  std::array<std::uint16_t, kWordCount + 1> at{};  // of the kind in kWords
  std::array<std::uint16_t, 257> first{};  // by the first byte: the words that begin with it

  constexpr std::string_view word(std::size_t i) const {
    return kWords.substr(at[i] + 1u, at[i + 1] - at[i] - 2u);
  }
};

constexpr WordIndex kIndex = [] {
  WordIndex index;
  std::size_t word = 0;
  for (std::size_t i = 0; i < kWords.size(); ++i)
    if (kWords[i] == ',') index.at[++word] = static_cast<std::uint16_t>(i + 1);
  std::size_t next = 0;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    index.first[byte] = static_cast<std::uint16_t>(next);
    while (next < kWordCount && static_cast<unsigned char>(index.word(next)[0]) == byte) ++next;
  }
  index.first[256] = static_cast<std::uint16_t>(next);
  return index;
}();
static_assert(kIndex.first[256] == kWordCount, "the words are sorted");
static_assert(kShapes.size() % kShapeBytes == 0);

}  // namespace

char sql_kind_of(std::string_view word) {
  if (word.empty() || word.size() > kWordBytesMax) return 0;
  std::array<char, kWordBytesMax> upper;
  std::transform(word.begin(), word.end(), upper.begin(), to_upper);
  const std::string_view wanted(upper.data(), word.size());
  const auto letter = static_cast<unsigned char>(wanted[0]);
  std::size_t low = kIndex.first[letter];
  std::size_t high = kIndex.first[letter + 1u];
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const int order = kIndex.word(middle).compare(wanted);
    if (order == 0) return kWords[kIndex.at[middle]];
    (order < 0 ? low : high) = order < 0 ? middle + 1 : middle;
  }
  return 0;
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
