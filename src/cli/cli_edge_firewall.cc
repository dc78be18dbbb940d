// leeward edge bans, unban: whom the edges' firewalls keep out.
#include "cli/internal/arguments.h"

namespace leeward::cli {

void add_edge_firewall(CLI::App& edge, Arguments& a) {
  CLI::App* bans = add(edge, a, "bans",
                       "Lists the clients that a rate limit with action ban keeps out now, at each "
                       "edge, the longest first.",
                       "  leeward edge bans\n  leeward edge bans --site gcp -o json",
                       [&a](Io& io) { return edge_bans(a.globals, a.edge, io); });
  CLI::App* unban = add(edge, a, "unban", "Ends bans before their time, at each edge.",
                        "  leeward edge unban 192.0.2.7 2001:db8::1\n  leeward edge unban --all",
                        [&a](Io& io) { return edge_unban(a.globals, a.edge, io); });
  unban->add_option("address", a.edge.clients, "Clients; also ends the ban of their network");
  unban->add_flag("--all", a.edge.all, "Everybody's");
  for (CLI::App* sub : {bans, unban})
    sub->add_option("--site", a.edge.site, "Only the edge of this site");
}

}  // namespace leeward::cli
