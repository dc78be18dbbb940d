#include "functions/code_store.h"

#include "base/file.h"
#include "base/sha256.h"
#include "functions/zip.h"

namespace leeward::functions {

Result<CodeStore> CodeStore::open(const std::string& directory) {
  if (Status usable = check_openat2(); !usable) return fail(usable.error());
  auto store = DigestStore::open(directory);
  if (!store) return fail(store.error());
  store->remove_unfinished();
  return CodeStore(std::move(*store));
}

Result<CodeStore::Stored> CodeStore::put(std::string_view archive) const {
  Stored stored{sha256_hex(archive), archive.size()};
  Status done = store_.put(stored.sha256,
                           [&](const std::string& work) { return extract_zip(archive, work); });
  if (!done) return fail(done.error());
  return stored;
}

void CodeStore::keep_only(const std::vector<std::string>& used) const {
  store_.keep_only({used.begin(), used.end()});
}

}  // namespace leeward::functions
