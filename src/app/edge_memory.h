// What the edge must know before control answers: the active site and the highest epoch seen.
#pragma once

#include <string>

#include "base/log.h"
#include "edge/edge.h"
#include "model/platform.h"

namespace leeward::app {

class EdgeMemory {
 public:
  EdgeMemory(std::string path, const Platform& platform, Logger logger)
      : path_(std::move(path)), platform_(platform), logger_(std::move(logger)) {}

  // The configured primary at epoch 0 when there is no file, or one that cannot be used (logged). A
  // move that was under way is not taken over: requests must not wait for a control that may be
  // gone.
  edge::WriterState load() const;
  // Durably, before it is acted upon. A failure is logged: the edge follows control all the same.
  void save(const edge::WriterState& state) const;

 private:
  std::string path_;
  const Platform& platform_;
  Logger logger_;
};

}  // namespace leeward::app
