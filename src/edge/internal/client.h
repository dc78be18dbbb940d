// A client's connection, whatever it speaks.
#pragma once

#include "edge/edge.h"
#include "edge/internal/loop.h"
#include "edge/internal/transport.h"

namespace leeward::edge {

class Client : public Target {
 public:
  // How long a kept connection without a request may still bring one when the edge drains: what the
  // client sent before it could know is answered.
  static constexpr Duration kLastRequest = 1s;

  virtual void begin_drain() = 0;
};

}  // namespace leeward::edge
