// The gateway's metric handles.
#pragma once

#include <string>

#include "base/metrics.h"
#include "gateway/internal/loop.h"

namespace leeward::gateway {

struct Loop::Metrics {
  Metrics(Registry& registry, const std::string& name)
      : accepted(registry.counter("leeward_gateway_accepted_total",
                                  "Client connections taken by a gateway", {{"gateway", name}})),
        refused(registry.counter("leeward_gateway_refused_total",
                                 "Clients turned away: no writer, too many, waited too long",
                                 {{"gateway", name}})),
        moved(registry.counter("leeward_gateway_moved_total",
                               "Sessions restored on another server connection",
                               {{"gateway", name}})),
        closed_by_move(registry.counter("leeward_gateway_closed_by_move_total",
                                        "Sessions closed because they could not move",
                                        {{"gateway", name}})),
        fenced(registry.counter("leeward_gateway_fenced_total",
                                "Sessions dropped because the writer lease ended",
                                {{"gateway", name}})),
        to_database(registry.counter("leeward_gateway_bytes_total", "Bytes forwarded",
                                     {{"gateway", name}, {"to", "database"}})),
        to_clients(registry.counter("leeward_gateway_bytes_total", "Bytes forwarded",
                                    {{"gateway", name}, {"to", "clients"}})),
        clients(registry.gauge("leeward_gateway_clients", "Open client connections",
                               {{"gateway", name}})) {}

  Counter &accepted, &refused, &moved, &closed_by_move, &fenced, &to_database, &to_clients;
  Gauge& clients;
};

}  // namespace leeward::gateway
