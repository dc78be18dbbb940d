#include "gateway/gateway.h"

#include <utility>

#include "gateway/internal/loop.h"

namespace leeward::gateway {

class Gateway::Impl {
 public:
  explicit Impl(Options options) : own_registry_(), loop_(with_registry(std::move(options))) {}
  Loop& loop() { return loop_; }

 private:
  Options with_registry(Options options) {
    if (options.registry == nullptr) options.registry = &own_registry_;
    return options;
  }
  Registry own_registry_;  // metrics that nobody reads
  Loop loop_;
};

Gateway::Gateway(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gateway::~Gateway() = default;

Result<std::unique_ptr<Gateway>> Gateway::start(Options options) {
  if (options.hold_timeout <= Duration::zero() || options.connect_timeout <= Duration::zero())
    return fail(Code::kInvalid, "gateway {}: timeouts must be longer than nothing", options.name);
  if (options.connections_max == 0)
    return fail(Code::kInvalid, "gateway {}: connections_max must be at least 1", options.name);
  if (options.local_database.port == 0)
    return fail(Code::kInvalid, "gateway {}: the local database has no port", options.name);
  const std::string name = options.name;
  auto impl = std::make_unique<Impl>(std::move(options));
  if (Status started = impl->loop().start(); !started)
    return fail(std::move(started).error().wrap("gateway " + name));
  return std::unique_ptr<Gateway>(new Gateway(std::move(impl)));
}

void Gateway::refuse(std::string reason) {
  // From here nothing passes, even if the thread is busy with another client just now.
  impl_->loop().gate().close();
  impl_->loop().run([&] { impl_->loop().refuse(std::move(reason)); });
}

void Gateway::hold() {
  impl_->loop().run([&] { impl_->loop().hold(); });
}

void Gateway::serve_local(Epoch epoch, BootTime deadline) {
  impl_->loop().run([&] { impl_->loop().serve_local(epoch, deadline); });
}

void Gateway::serve_local(Epoch epoch, BootTime deadline, const Endpoint& database) {
  impl_->loop().run([&] { impl_->loop().serve_local(epoch, deadline, database); });
}

void Gateway::give_up_lease() {
  impl_->loop().run([&] { impl_->loop().give_up_lease(); });
}
bool Gateway::extend(Epoch epoch, BootTime deadline) {
  return impl_->loop().gate().extend(epoch, deadline);
}

void Gateway::serve_remote(Endpoint peer) {
  impl_->loop().run([&] { impl_->loop().serve_remote(peer); });
}

bool Gateway::drained() {
  bool result = false;
  impl_->loop().run([&] { result = impl_->loop().drained(); });
  return result;
}

void Gateway::end_transactions(std::string reason) {
  impl_->loop().run([&] { impl_->loop().end_transactions(reason); });
}

Stats Gateway::stats() {
  Stats result;
  impl_->loop().run([&] { result = impl_->loop().stats(); });
  return result;
}

Endpoint Gateway::listen_endpoint() const { return impl_->loop().listen_endpoint(); }
Endpoint Gateway::peer_listen_endpoint() const { return impl_->loop().peer_listen_endpoint(); }

}  // namespace leeward::gateway
