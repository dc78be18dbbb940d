// Which rules can match at all: a scan by Hyperscan over the values of many rules at once says
// which of their regular expressions and phrases are somewhere in them; only those rules are run
// exactly. A rule that the prefilter does not know runs always.
//
// A scan has one database for rules of one phase and of one family of variables (arguments and
// cookies; header fields; bodies; the rest), whatever they do to the values before they look: most
// values come out of most chains of transformations as they went in, so that one text serves them
// all. Chains that come to other texts are scanned apart, by the same database, and of what is
// found in a text only the rules count whose chain made it. Rules that others may leave out
// (skipAfter) have a scan of their own, which is not made when they are left out: the rules of
// higher paranoia levels cost nothing at a low one.
//
// A scan reads many values as one text, parted by a byte. That can only find more than a scan of
// each value: no pattern needs the ends of a value but by '^', '$' and '\b'. The byte is no word
// character, as the ends of a value are none. For patterns with '^' or '$' it is a line feed,
// because they match at lines, as PCRE2 does here (see regex.h); for the others it is NUL where
// there are many values, because many look for something behind a line feed and would look behind
// each. A pattern with an anchor to the text as a whole (\A, \z, \G …) is not taken. Assertions
// that Hyperscan does not know are left out by its prefilter mode, which again finds more. Values
// of more variables than a rule looks at may be scanned for it: that finds more, too.
//
// Immutable, any thread; a PrefilterRoom for each.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
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
  std::vector<std::uint64_t> candidates_, found_;  // bits
  std::vector<bool> scanned_;                      // by scan
  std::vector<bool> ready_;                        // by group: all of its scans are made
};

class Prefilter {
 public:
  using Bits = std::vector<std::uint64_t>;  // of candidates

  // Rules of a scan that look at the same chain of transformations.
  struct Chain {
    std::uint16_t node;
    std::vector<std::uint32_t> selections = {};  // of the scan: what its rules look at
    Bits candidates = {};
  };
  struct Scan {
    std::vector<Selection> selections = {};
    std::vector<Chain> chains = {};
    char separator = '\n';              // between values
    hs_database* database = nullptr;    // owned by the Prefilter; several scans may have one
    Bits candidates = {};               // of all chains
    std::uint16_t changed_classes = 0;  // of which a text must have one to be changed by any
  };

  struct Options {
    std::string cache_file = {};
    unsigned threads = 1;  // that compile; the caller's is one
  };
  // Sets Rule::candidate and Rule::group of the rules that it takes. The same databases, byte by
  // byte, with any number of threads. kInternal "FILE:LINE:COLUMN: …": Hyperscan refuses a pattern.
  static Result<std::unique_ptr<const Prefilter>> make(Program& program, const Options& options);
  ~Prefilter();

  const Scan& scan(std::uint32_t number) const { return scans_[number]; }
  std::size_t scans() const { return scans_.size(); }
  std::size_t bytes() const { return bytes_; }
  Bits no_candidates() const { return Bits(candidates_ / 64 + 1); }

  void prepare(PrefilterRoom& room) const;  // once
  void reset(PrefilterRoom& room) const;    // for another transaction

  // Whether a rule with this Rule::candidate and Rule::group can match. `run` makes a scan that is
  // still to be made: it calls look() with each text of it.
  template <typename Run>
  bool may_match(PrefilterRoom& room, std::uint32_t candidate, std::uint32_t group,
                 Run&& run) const {
    if (!room.ready_[group]) {
      for (const std::uint32_t scan : groups_[group]) {
        if (room.scanned_[scan]) continue;
        room.scanned_[scan] = true;
        run(scan);
      }
      room.ready_[group] = true;
    }
    return (room.candidates_[candidate / 64] >> (candidate % 64) & 1) != 0;
  }
  // What is found in `text` and is one of `among` can match; all of them if the scan fails.
  void look(PrefilterRoom& room, std::uint32_t scan, std::string_view text,
            std::span<const std::uint64_t> among) const;

 private:
  friend class PrefilterMaker;
  Prefilter() = default;
  std::vector<Scan> scans_;
  std::vector<hs_database*> databases_;
  std::vector<std::vector<std::uint32_t>> groups_;  // the scans that rules are in together
  std::size_t candidates_ = 0, bytes_ = 0;
};

}  // namespace leeward::waf
