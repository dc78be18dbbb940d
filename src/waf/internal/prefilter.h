// Which rules can match at all: one scan by Hyperscan over the values of a group of rules says for
// all of them together which regular expressions and phrases are somewhere in them; only those
// rules are run exactly. A rule that the prefilter does not know runs always.
//
// A group are the rules of one phase that look at the same variables through the same
// transformations. Its values are scanned as one text, parted by a byte. That can only find more
// than a scan of each value: no pattern needs the ends of a value but by '^', '$' and '\b'. The
// byte is no word character, as the ends of a value are none. For patterns with '^' or '$' it is a
// line feed, because they match at lines, as PCRE2 does here (see regex.h); for the others it is
// NUL, because many look for something behind a line feed and would look behind each. A pattern
// with an anchor to the text as a whole (\A, \z, \G …) is not put into a group. Assertions that
// Hyperscan does not know are left out by its prefilter mode, which again finds more.
//
// Immutable, any thread; a PrefilterRoom for each.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "waf/internal/rule.h"
#include "waf/internal/transform_tree.h"

struct hs_database;
struct hs_scratch;

namespace leeward::waf {

struct Program;

class PrefilterRoom {
 public:
  PrefilterRoom() = default;
  ~PrefilterRoom();
  PrefilterRoom(const PrefilterRoom&) = delete;
  PrefilterRoom& operator=(const PrefilterRoom&) = delete;

 private:
  friend class Prefilter;
  hs_scratch* scratch_ = nullptr;
  std::vector<std::uint64_t> candidates_;  // bits
  std::vector<bool> scanned_;              // by group
};

class Prefilter {
 public:
  struct Group {
    std::uint8_t phase;
    std::uint16_t node;
    std::vector<Selection> selections = {};  // whose values are scanned
    std::uint32_t set = 0;            // number of these selections; groups of a phase may share it
    char separator = '\n';            // between values
    hs_database* database = nullptr;  // owned by the Prefilter
    std::vector<std::uint32_t> candidates = {};  // that the scan can set
  };

  // Sets Rule::candidate and Rule::group of the rules that it takes.
  static Result<std::unique_ptr<const Prefilter>> make(Program& program,
                                                       const std::string& cache_file);
  ~Prefilter();

  const std::vector<Group>& groups() const { return groups_; }
  std::size_t sets() const { return sets_; }
  std::size_t bytes() const { return bytes_; }

  void prepare(PrefilterRoom& room) const;  // once
  void reset(PrefilterRoom& room) const;    // for another transaction
  bool scanned(const PrefilterRoom& room, std::uint32_t group) const {
    return room.scanned_[group];
  }
  // `text`: the values of the group. False: the scan failed, and all of the group are candidates.
  bool scan(PrefilterRoom& room, std::uint32_t group, std::string_view text) const;
  bool may_match(const PrefilterRoom& room, std::uint32_t candidate) const {
    return (room.candidates_[candidate / 64] >> (candidate % 64) & 1) != 0;
  }

 private:
  friend class PrefilterMaker;
  Prefilter() = default;
  std::vector<Group> groups_;
  std::size_t candidates_ = 0, sets_ = 0, bytes_ = 0;
};

}  // namespace leeward::waf
