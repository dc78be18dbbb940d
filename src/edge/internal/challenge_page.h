// The page of a challenge (challenge.h): one document without anything from elsewhere. Its script
// looks for the proof, sends it, and loads the page again. It has a SHA-256 of its own because
// crypto.subtle is missing on plain HTTP, and is many times slower for texts as short as these.
#pragma once

#include <string>
#include <string_view>

namespace leeward::edge {

// Question and nonce: characters of base64url and '.'.
std::string challenge_page(std::string_view question, int bits, std::string_view nonce);

}  // namespace leeward::edge
