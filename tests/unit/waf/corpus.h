// Seeded values for comparing two implementations: pieces that mean something to some decoder or
// parser, strung together with plain text and raw bytes.
#pragma once

#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <string_view>

namespace leeward::waf {

// How many values a comparison runs: LEEWARD_WAF_CASES in the environment for a long run.
inline std::size_t cases(std::size_t usual) {
  const char* wanted = std::getenv("LEEWARD_WAF_CASES");
  return wanted ? std::strtoull(wanted, nullptr, 10) : usual;
}

class Corpus {
 public:
  Corpus(std::uint64_t seed, std::span<const std::string_view> pieces)
      : random_(seed), pieces_(pieces) {}

  std::size_t below(std::size_t bound) { return random_() % bound; }

  std::string next(std::size_t pieces_max = 12) {
    std::string value;
    for (std::size_t left = below(pieces_max + 1); left > 0; --left) {
      switch (below(8)) {
        case 0:
          value += static_cast<char>(random_());
          break;
        case 1:
          value += static_cast<char>(' ' + below(95));
          break;
        default:
          value += pieces_[below(pieces_.size())];
      }
    }
    return value;
  }

 private:
  std::mt19937_64 random_;
  std::span<const std::string_view> pieces_;
};

// For messages: what is not printable as \xHH.
inline std::string shown(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c >= ' ' && c <= '~' && c != '\\') {
      text += c;
    } else {
      constexpr std::string_view kDigits = "0123456789abcdef";
      text += "\\x";
      text += kDigits[static_cast<unsigned char>(c) >> 4];
      text += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  return text;
}

}  // namespace leeward::waf
