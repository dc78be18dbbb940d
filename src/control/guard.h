// LEEWARD_GUARD(name, condition): a condition that safety rests on. In every product build it is
// just `condition`. In the mutation build of the cores (LEEWARD_MUTATIONS, linked only into
// leeward-sim-mutants) one guard at a time can be removed, i.e. taken to be true, and the simulator
// must then find a violated invariant: that is how we know that the checkers see.
#pragma once

#ifdef LEEWARD_MUTATIONS
#include <string_view>
namespace leeward::control {
// Name of the guard that is removed in this process; empty: none. Set before the first world runs.
inline std::string_view removed_guard;  // NOLINT: test build only
}  // namespace leeward::control
#define LEEWARD_GUARD(name, condition) (::leeward::control::removed_guard == name || (condition))
#else
#define LEEWARD_GUARD(name, condition) (condition)
#endif
