// All chains of transformations that the rules use, as a tree: chains that begin alike share their
// beginning, so that a value is transformed once for all rules that want the same done to it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "waf/transform.h"

namespace leeward::waf {

class TransformTree {
 public:
  struct Node {
    std::uint16_t parent;
    Transform step;
  };
  static constexpr std::size_t kNodesMax = 4096;

  TransformTree() : nodes_{{0, Transform::kNone}} {}

  // The node that `step` leads to from `from`; made if it is not there. 0xffff: too many.
  std::uint16_t after(std::uint16_t from, Transform step) {
    for (std::size_t i = 1; i < nodes_.size(); ++i)
      if (nodes_[i].parent == from && nodes_[i].step == step) return static_cast<std::uint16_t>(i);
    if (nodes_.size() >= kNodesMax) return 0xffff;
    nodes_.push_back({from, step});
    return static_cast<std::uint16_t>(nodes_.size() - 1);
  }
  const Node& operator[](std::uint16_t node) const { return nodes_[node]; }
  std::size_t size() const { return nodes_.size(); }

 private:
  std::vector<Node> nodes_;  // the first is the value as it came
};

}  // namespace leeward::waf
