// Seeded requests for the comparison: what attackers send, written in many ways and put in every
// place of a request, and what honest clients send. The same seed gives the same requests.
#pragma once

#include <string>
#include <string_view>

#include "random.h"
#include "request.h"

namespace leeward::waf::compared {

Request attack(Random& random);
Request benign(Random& random);
Request odd(Random& random);  // the protocol bent: methods, fields, targets, bodies

// Two attacks for each odd or honest request.
Request any(Random& random);

// Its bytes changed, moved, doubled, cut or mixed with those of another attack, in a few places.
std::string mutated(Random& random, std::string_view text);

}  // namespace leeward::waf::compared
