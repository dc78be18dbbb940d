#include "servers/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>

#include "base/check.h"

namespace leeward::testing {

struct Authority::Pair {
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{EVP_EC_gen("P-256"), EVP_PKEY_free};
  std::unique_ptr<X509, decltype(&X509_free)> certificate{X509_new(), X509_free};

  // Signed by itself when there is no issuer.
  Pair(const std::string& name, const std::string& extension_value, int extension,
       Duration validity, const Pair* issuer) {
    static long serial = 1;
    X509* cert = certificate.get();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -86'400);
    X509_gmtime_adj(X509_getm_notAfter(cert),
                    std::chrono::duration_cast<std::chrono::seconds>(validity).count());
    X509_set_pubkey(cert, key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    const Pair& signer = issuer ? *issuer : *this;
    X509_set_issuer_name(cert, X509_get_subject_name(signer.certificate.get()));
    X509_EXTENSION* added =
        X509V3_EXT_conf_nid(nullptr, nullptr, extension, extension_value.c_str());
    LEEWARD_CHECK(added != nullptr);
    X509_add_ext(cert, added, -1);
    X509_EXTENSION_free(added);
    LEEWARD_CHECK(X509_sign(cert, signer.key.get(), EVP_sha256()) > 0);
  }
};

Authority::Authority(std::string directory, const std::string& name)
    : directory_(std::move(directory)),
      own_(new Pair(name, "critical,CA:TRUE", NID_basic_constraints, std::chrono::hours(24),
                    nullptr)),
      files_(write(name, *own_)) {}

Authority::~Authority() { delete own_; }

CertificateFiles Authority::write(const std::string& name, const Pair& pair) const {
  CertificateFiles files{directory_ + "/" + name + ".pem", directory_ + "/" + name + ".key"};
  auto put = [](const std::string& path, auto&& print) {
    std::unique_ptr<FILE, decltype(&std::fclose)> file(std::fopen(path.c_str(), "w"), std::fclose);
    LEEWARD_CHECK(file && print(file.get()) == 1);
  };
  put(files.certificate, [&](FILE* file) { return PEM_write_X509(file, pair.certificate.get()); });
  put(files.key, [&](FILE* file) {
    return PEM_write_PrivateKey(file, pair.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  return files;
}

CertificateFiles Authority::issue(const std::string& name, const std::string& host,
                                  Duration validity) const {
  bool address = host.find_first_not_of("0123456789.") == std::string::npos;
  std::string names = (address ? "IP:" : "DNS:") + host;
  return write(name, Pair(name, names, NID_subject_alt_name, validity, own_));
}

}  // namespace leeward::testing
