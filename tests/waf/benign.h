// What honest clients send, made from pieces: no two alike, the same for the same seed.
#pragma once

#include <string>

#include "random.h"

namespace leeward::waf::compared {

std::string benign_text(
    Random& random);  // a sentence in some language, an address, an e-mail, code
std::string benign_name(Random& random);   // of a field
std::string benign_bytes(Random& random);  // of a file: a picture, an archive, a document, a table
std::string benign_json(Random& random);   // of an API: nested, with texts

}  // namespace leeward::waf::compared
