// The configuration as the loops use it: checked, with addresses parsed and routes sorted;
// immutable.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "edge/edge.h"
#include "edge/http1.h"
#include "edge/internal/transport.h"
#include "edge/origin_core.h"

namespace leeward::edge {

class TlsClient;
class TlsServer;

struct Group {
  GroupSpec spec;
  std::vector<SocketAddress> addresses;
  std::shared_ptr<const TlsClient> tls;  // null: none
};

struct Snapshot {
  EdgeConfig config;
  std::vector<Group> groups;
  Http1Limits head_limits;
  std::shared_ptr<const TlsServer> tls;  // null without certificates

  // `path` as match_path() gives it. Null when no route matches.
  const RouteSpec* find(std::string_view host, std::string_view path) const;
  std::size_t index_of(const RouteSpec& route) const {
    return static_cast<std::size_t>(&route - config.routes.data());
  }

 private:
  friend Result<std::shared_ptr<const Snapshot>> compile(EdgeConfig config);
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view t) const { return std::hash<std::string_view>{}(t); }
  };
  using Routes = std::vector<const RouteSpec*>;  // longest path first
  std::unordered_map<std::string, Routes, TextHash, std::equal_to<>> exact_;
  std::unordered_map<std::string, Routes, TextHash, std::equal_to<>> below_;  // "*.x" under ".x"
  Routes any_;
};

// kInvalid names the listener, origin or route that cannot be; kIo a certificate that cannot be
// used.
Result<std::shared_ptr<const Snapshot>> compile(EdgeConfig config);

}  // namespace leeward::edge
