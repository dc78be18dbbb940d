// Certificates for tests: an authority, and what it has signed, as PEM files in a directory.
#pragma once

#include <string>

#include "base/time.h"

namespace leeward::testing {

struct CertificateFiles {
  std::string certificate;
  std::string key;
};

class Authority {
 public:
  // Its own certificate is `directory`/`name`.pem.
  Authority(std::string directory, const std::string& name);
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  const std::string& certificate() const { return files_.certificate; }
  // Signed for `host` ("localhost", or an IPv4 address), valid from a day ago for `validity` from
  // now; a negative one has expired.
  CertificateFiles issue(const std::string& name, const std::string& host,
                         Duration validity = std::chrono::hours(24)) const;

 private:
  struct Pair;
  CertificateFiles write(const std::string& name, const Pair& pair) const;
  std::string directory_;
  Pair* own_;
  CertificateFiles files_;
};

}  // namespace leeward::testing
