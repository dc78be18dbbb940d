#include "app/edge_memory.h"

#include <sstream>

#include "base/file.h"

namespace leeward::app {

// One line: "1 EPOCH VERSION SITE".
edge::WriterState EdgeMemory::load() const {
  edge::WriterState state;
  state.active = platform_.configured_primary();
  auto text = read_file(path_, 1024);
  if (!text) {
    if (text.error().code != Code::kNotFound)
      logger_.warn("what was known of the writer cannot be read", {{"why", text.error().message}});
    return state;
  }
  std::istringstream in(*text);
  int format = 0;
  std::uint64_t epoch = 0, version = 0;
  std::string site;
  in >> format >> epoch >> version >> site;
  auto active = platform_.find_site(site);
  if (!in || format != 1 || !active) {
    logger_.warn("what was known of the writer makes no sense", {{"file", path_}});
    return state;
  }
  state.active = *active;
  state.epoch = Epoch{epoch};
  state.version = version;
  return state;
}

void EdgeMemory::save(const edge::WriterState& state) const {
  auto saved =
      write_file_durably(path_, fmt::format("1 {} {} {}\n", state.epoch.value, state.version,
                                            platform_.site(state.active).name));
  if (!saved)
    logger_.warn("the writer's site could not be kept on disk", {{"why", saved.error().message}});
}

}  // namespace leeward::app
