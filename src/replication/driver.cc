#include "replication/driver.h"

#include <algorithm>

namespace leeward::replication {

std::string_view name(Severity severity) {
  switch (severity) {
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "error";
}

bool has_errors(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.severity == Severity::kError; });
}

std::string_view name(LinkState state) {
  switch (state) {
    case LinkState::kStopped:
      return "stopped";
    case LinkState::kConnecting:
      return "connecting";
    case LinkState::kSeeding:
      return "seeding";
    case LinkState::kStreaming:
      return "streaming";
    case LinkState::kPaused:
      return "paused";
    case LinkState::kBroken:
      return "broken";
  }
  return "broken";
}

std::string_view name(DifferenceKind kind) {
  switch (kind) {
    case DifferenceKind::kMissing:
      return "missing";
    case DifferenceKind::kExtra:
      return "extra";
    case DifferenceKind::kChanged:
      return "changed";
  }
  return "changed";
}

std::string_view name(RewindMethod method) {
  switch (method) {
    case RewindMethod::kNothing:
      return "nothing";
    case RewindMethod::kFlashback:
      return "flashback";
    case RewindMethod::kTruncated:
      return "truncated";
    case RewindMethod::kReseed:
      return "reseed";
  }
  return "reseed";
}

}  // namespace leeward::replication
