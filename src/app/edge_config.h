// The edge of one site, from the platform's configuration.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "edge/challenge.h"
#include "edge/edge.h"
#include "model/platform.h"

namespace leeward::app {

// REQUIRES: platform.edge. The groups are in the order of platform.edge->origins. A tier's
// instances are reached directly; where another site's tier listens on loopback only, through that
// site's edge.
edge::EdgeConfig edge_config(const Platform& platform, SiteId self);
// REQUIRES: platform.edge; `config` is edge_config() of it. Reads the secrets that URLs are signed
// with; an error names the route and the key.
Status read_signing_keys(const Platform& platform, edge::EdgeConfig& config);
// EdgeConfig::hop_key, from the token that all processes of a platform have: its own key, so that
// what is made with it is of no use for anything else that the token opens.
std::string edge_hop_key(std::string_view agent_token);
// REQUIRES: platform.edge. What clients are challenged with, nothing without a secret; an error
// names the secret that cannot be read.
Result<std::optional<edge::Challenge::Options>> edge_challenge(const Platform& platform);
// REQUIRES: platform.edge. The same with absolute paths, and without the web application firewall.
EdgeFirewall edge_firewall(const Platform& platform);
EdgeWaf edge_waf(const Platform& platform);

}  // namespace leeward::app
