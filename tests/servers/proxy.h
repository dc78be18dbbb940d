// A TCP proxy on a loopback port that can damage or end what a server sends: what a bad network, a
// bad disk or a bad peer would do.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/file.h"
#include "model/platform.h"

namespace leeward::testing {

class Proxy {
 public:
  enum class Fault { kNone, kFlipBit, kEnd, kSilence };

  explicit Proxy(Endpoint upstream);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  Endpoint endpoint() const { return {"127.0.0.1", port_}; }
  // From the next connection on: the fault happens to byte `at` of what the server sends.
  void set(Fault fault, std::uint64_t at);
  std::uint64_t passed() const { return passed_; }  // bytes to the client, of the last connection

 private:
  void serve();
  void forward(int client);

  Endpoint upstream_;
  std::uint16_t port_ = 0;
  UniqueFd listener_;
  std::atomic<Fault> fault_{Fault::kNone};
  std::atomic<std::uint64_t> at_{0};
  std::atomic<std::uint64_t> passed_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace leeward::testing
