#include "gateway/internal/secret.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace leeward::gateway {

Result<std::unique_ptr<SecretVault>> SecretVault::create(std::size_t slots) {
  std::unique_ptr<SecretVault> vault(new SecretVault);
  vault->size_bytes_ = (slots * sizeof(Slot) + 4095) / 4096 * 4096;
  void* memory =
      mmap(nullptr, vault->size_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(os_error(errno, "mmap for the gateway's secrets"));
  vault->memory_ = memory;
  vault->locked_ = mlock(memory, vault->size_bytes_) == 0;
  madvise(memory, vault->size_bytes_, MADV_DONTDUMP);
  vault->free_.reserve(slots);
  for (std::size_t i = slots; i > 0; --i)
    vault->free_.push_back(static_cast<Slot*>(memory) + i - 1);
  return vault;
}

SecretVault::~SecretVault() {
  if (memory_ == nullptr) return;
  explicit_bzero(memory_, size_bytes_);
  munmap(memory_, size_bytes_);
}

SecretVault::Slot* SecretVault::take(const Slot& value) {
  if (free_.empty()) return nullptr;
  Slot* slot = free_.back();
  free_.pop_back();
  *slot = value;
  return slot;
}

void SecretVault::give_back(Slot* slot) {
  explicit_bzero(slot, sizeof(Slot));
  free_.push_back(slot);
}

}  // namespace leeward::gateway
