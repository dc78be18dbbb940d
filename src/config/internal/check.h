// What single values cannot tell: names that must exist, values that must fit together, policies
// that would be unsafe. Runs after reading, reports through the same Reader, and fills in the
// defaults that depend on other settings.
#pragma once

#include "config/reader.h"

namespace leeward::config {

void check_platform(Reader& reader, Platform& platform);
void check_dns(Reader& reader, Platform& platform);
void check_edge(Reader& reader, Platform& platform);

}  // namespace leeward::config
