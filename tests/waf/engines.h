// The two engines that are compared, behind one face: libmodsecurity 3, and ours.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "request.h"

namespace leeward::waf::compared {

struct Seen {
  int status = 0;                 // 0: passes
  std::set<std::uint32_t> rules;  // that matched and are told of
  int score = 0;                  // tx.anomaly_score
  std::string explanation;        // for a person

  bool same(const Seen& other) const {
    return status == other.status && rules == other.rules && score == other.score;
  }
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual Seen look(const Request& request) = 0;
};

// The rules in `file`; an error ends the process with its text.
std::unique_ptr<Engine> modsecurity(const std::string& file);
std::unique_ptr<Engine> ours(const std::string& file, bool prefilter);

}  // namespace leeward::waf::compared
