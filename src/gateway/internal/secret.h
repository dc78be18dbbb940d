// Memory for what lets the gateway log in as a client: locked, left out of core dumps, wiped when
// given back. One vault a gateway, one slot a session. Not thread-safe; the vault must outlive its
// secrets.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"

namespace leeward::gateway {

class SecretVault {
 public:
  using Slot = std::array<std::uint8_t, 20>;
  // kIo when the memory cannot be had. `locked()` tells whether the system let it be locked.
  static Result<std::unique_ptr<SecretVault>> create(std::size_t slots);
  ~SecretVault();
  SecretVault(const SecretVault&) = delete;
  SecretVault& operator=(const SecretVault&) = delete;

  bool locked() const { return locked_; }
  Slot* take(const Slot& value);  // null when every slot is taken
  void give_back(Slot* slot);     // wipes it

 private:
  SecretVault() = default;
  void* memory_ = nullptr;
  std::size_t size_bytes_ = 0;
  bool locked_ = false;
  std::vector<Slot*> free_;
};

// Owns one slot, or none.
class Secret {
 public:
  Secret() = default;
  Secret(SecretVault* vault, const SecretVault::Slot& value)
      : vault_(vault), slot_(vault->take(value)) {}
  Secret(Secret&& other) noexcept
      : vault_(other.vault_), slot_(std::exchange(other.slot_, nullptr)) {}
  Secret& operator=(Secret&& other) noexcept {
    std::swap(vault_, other.vault_);
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~Secret() {
    if (slot_ != nullptr) vault_->give_back(slot_);
  }
  const SecretVault::Slot* get() const { return slot_; }

 private:
  SecretVault* vault_ = nullptr;
  SecretVault::Slot* slot_ = nullptr;
};

}  // namespace leeward::gateway
