// The control port of a running task: loopback HTTP for `leeward replication status|pause|resume|
// verify` and for Prometheus. docs/internals/api.md lists it. One loop's thread.
#pragma once

#include <string>

#include "app/replicate_runner.h"
#include "net/http.h"
#include "net/loop.h"

namespace leeward::app {

class ReplicateApi {
 public:
  // `pool` runs what waits for a server; both outlive the API's requests.
  ReplicateApi(const replication::Task& task, ReplicateRunner& runner, const Registry& metrics,
               net::WorkerPool& pool, std::string token)
      : task_(task), runner_(runner), metrics_(metrics), pool_(pool), token_(std::move(token)) {}

  void handle(net::HttpRequest request, net::Responder respond);

 private:
  void get_status(const net::HttpRequest& request, const net::Responder& respond);
  void post_verify(const net::HttpRequest& request, const net::Responder& respond);
  void run(std::function<Status()> work, net::Responder respond);

  const replication::Task& task_;
  ReplicateRunner& runner_;
  const Registry& metrics_;
  net::WorkerPool& pool_;
  const std::string token_;
};

}  // namespace leeward::app
