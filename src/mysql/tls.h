// How a connection to a server is encrypted.
#pragma once

#include <cstdint>
#include <string>

namespace leeward::mysql {

enum class TlsMode : std::uint8_t {
  kOff,
  kRequired,        // encrypted; whoever answers is believed
  kVerifyCa,        // the certificate leads to our authority
  kVerifyIdentity,  // and names the host that we asked for
};

struct TlsOptions {
  TlsMode mode = TlsMode::kOff;
  std::string authority_file;    // PEM; needed to verify
  std::string certificate_file;  // PEM chain of our own, for a server that asks for one
  std::string key_file;
  std::string server_name;  // what the certificate must name; empty: the endpoint's host
};

}  // namespace leeward::mysql
