// LEEWARD_CHECK: a broken invariant stops the process, in every build. Use it for what can only be
// a bug; what can happen in operation is an Error.
#pragma once

#include <cstdio>
#include <cstdlib>

#define LEEWARD_CHECK(condition)                                                             \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
