#include "mysql/internal/login.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <memory>

#include "mysql/bytes.h"

namespace leeward::mysql::internal {
namespace {

enum Capability : std::uint32_t {
  kLongPassword = 1u << 0,
  kLongFlag = 1u << 2,
  kProtocol41 = 1u << 9,
  kSsl = 1u << 11,
  kTransactions = 1u << 13,
  kSecureConnection = 1u << 15,
  kPluginAuth = 1u << 19,
  kPluginAuthLenenc = 1u << 21,
};
constexpr std::uint32_t kNeeded = kProtocol41 | kSecureConnection | kPluginAuth;
constexpr std::uint8_t kUtf8mb4 = 45;
constexpr std::uint32_t kPacketMax = 1u << 30;
constexpr std::size_t kSaltBytes = 20;
constexpr std::size_t kEd25519SaltBytes = 32;
constexpr unsigned kStepsMax = 16;  // a server that keeps asking is not logging us in

constexpr std::string_view kNative = "mysql_native_password", kSha2 = "caching_sha2_password",
                           kEd25519 = "client_ed25519";

// First bytes of the server's answers.
constexpr std::uint8_t kOk = 0x00, kMore = 0x01, kSwitch = 0xfe, kError = 0xff;
// caching_sha2_password, inside kMore.
constexpr std::uint8_t kFastAuthDone = 3, kFullAuthNeeded = 4, kAskForKey = 2;

std::string digest(const EVP_MD* kind, std::initializer_list<std::string_view> parts) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned size = 0;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), kind, nullptr);
  for (std::string_view part : parts) EVP_DigestUpdate(context.get(), part.data(), part.size());
  EVP_DigestFinal_ex(context.get(), out.data(), &size);
  return std::string(reinterpret_cast<char*>(out.data()), size);
}

std::string exclusive_or(std::string a, std::string_view b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<char>(a[i] ^ b[i % b.size()]);
  return a;
}

void append_little(std::string& bytes, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> 8 * i);
}

std::string_view until_zero(Bytes& bytes) {
  std::string_view rest = bytes.rest();
  std::string_view text = rest.substr(0, rest.find('\0'));
  bytes.take(std::min(text.size() + 1, rest.size()));
  return text;
}

// RSA-OAEP with the key that the server sent, of the password xor salt.
Result<std::string> encrypt(std::string_view pem, const std::string& secret) {
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  if (!key || EVP_PKEY_base_id(key.get()) != EVP_PKEY_RSA)
    return fail(Code::kCorrupt, "the server's key for the log-in is not an RSA public key");
  std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
  std::size_t size = 0;
  auto in = reinterpret_cast<const unsigned char*>(secret.data());
  std::string out;
  bool done = context && EVP_PKEY_encrypt_init(context.get()) > 0 &&
              EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) > 0 &&
              EVP_PKEY_encrypt(context.get(), nullptr, &size, in, secret.size()) > 0;
  if (done) {
    out.resize(size);
    done = EVP_PKEY_encrypt(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, in,
                            secret.size()) > 0;
  }
  if (!done)
    return fail(Code::kUnauthorized,
                "the password cannot be encrypted with the server's key: too long for it, or the "
                "key is unusable; use TLS");
  out.resize(size);
  return out;
}

}  // namespace

std::optional<ServerError> parse_server_error(std::string_view payload) {
  Bytes bytes(payload);
  if (bytes.little(1) != kError) return std::nullopt;
  ServerError error;
  error.number = static_cast<std::uint16_t>(bytes.little(2));
  if (!bytes.ok()) return std::nullopt;
  constexpr std::size_t kStateBytes = 6;  // '#' and five characters; not in the greeting's place
  std::string_view text = bytes.rest();
  if (text.starts_with('#')) text.remove_prefix(std::min(kStateBytes, text.size()));
  error.message = std::string(text.substr(0, 1024));
  return error;
}

Error to_error(const ServerError& error) {
  auto says = [&](std::string_view word) { return error.message.find(word) != std::string::npos; };
  Code code = Code::kUnhealthy;
  switch (error.number) {
    case 1044:  // ER_DBACCESS_DENIED_ERROR
    case 1045:  // ER_ACCESS_DENIED_ERROR
    case 1130:  // ER_HOST_NOT_PRIVILEGED
    case 1227:  // ER_SPECIFIC_ACCESS_DENIED_ERROR
    case 1698:  // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    case 4151:  // ER_ACCOUNT_HAS_BEEN_LOCKED (MariaDB)
    case 1820:  // ER_MUST_CHANGE_PASSWORD
    case 1862:  // ER_MUST_CHANGE_PASSWORD_LOGIN
      code = Code::kUnauthorized;
      break;
    case 1040:  // ER_CON_COUNT_ERROR
    case 1053:  // ER_SERVER_SHUTDOWN
    case 1129:  // ER_HOST_IS_BLOCKED
    case 1927:  // ER_CONNECTION_KILLED
      code = Code::kUnavailable;
      break;
    case 1236:  // ER_MASTER_FATAL_ERROR_READING_BINLOG: all that can be wrong with a log or
                // position
      code = Code::kNotFound;
      for (std::string_view word : {"truncated", "bogus", "corrupt", "checksum", "I/O error"})
        if (says(word)) code = Code::kCorrupt;
      if (says("max_allowed_packet")) code = Code::kRefused;
      break;
    default:
      break;
  }
  return Error{code, fmt::format("the server says: {} ({})", error.message, error.number)};
}

std::string native_answer(std::string_view password, std::string_view salt) {
  if (password.empty()) return {};
  std::string once = digest(EVP_sha1(), {password});
  std::string twice = digest(EVP_sha1(), {once});
  return exclusive_or(std::move(once), digest(EVP_sha1(), {salt, twice}));
}

std::string sha2_answer(std::string_view password, std::string_view salt) {
  if (password.empty()) return {};
  std::string once = digest(EVP_sha256(), {password});
  std::string twice = digest(EVP_sha256(), {once});
  return exclusive_or(std::move(once), digest(EVP_sha256(), {twice, salt}));
}

// Ed25519 as RFC 8032 signs, but with SHA-512 of the whole password where a seed of 32 bytes is
// hashed there; hence the scalar functions instead of crypto_sign.
Result<std::string> ed25519_answer(std::string_view password, std::string_view message) {
  if (sodium_init() < 0) return fail(Code::kInternal, "libsodium cannot be used");
  auto raw = [](std::string& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); };
  std::string secret = digest(EVP_sha512(), {password});
  std::string scalar = secret.substr(0, 32);
  std::string prefix = secret.substr(32);
  scalar[0] = static_cast<char>(scalar[0] & 0xf8);
  scalar[31] = static_cast<char>((scalar[31] & 0x7f) | 0x40);
  std::string key(32, '\0'), point(32, '\0');
  std::string nonce(32, '\0'), challenge(32, '\0'), product(32, '\0'), sum(32, '\0');

  std::string wide = digest(EVP_sha512(), {prefix, message});
  crypto_core_ed25519_scalar_reduce(raw(nonce), raw(wide));
  bool done = crypto_scalarmult_ed25519_base_noclamp(raw(key), raw(scalar)) == 0 &&
              crypto_scalarmult_ed25519_base_noclamp(raw(point), raw(nonce)) == 0;
  wide = digest(EVP_sha512(), {point, key, message});
  crypto_core_ed25519_scalar_reduce(raw(challenge), raw(wide));
  crypto_core_ed25519_scalar_mul(raw(product), raw(challenge), raw(scalar));
  crypto_core_ed25519_scalar_add(raw(sum), raw(product), raw(nonce));
  for (std::string* wiped : {&secret, &scalar, &prefix, &nonce, &product})
    OPENSSL_cleanse(wiped->data(), wiped->size());
  if (!done) return fail(Code::kInternal, "ed25519: the password yields no key");
  return point + sum;
}

Login::~Login() { OPENSSL_cleanse(credentials_.password.data(), credentials_.password.size()); }

std::uint32_t Login::capabilities() const {
  return kLongPassword | kLongFlag | kProtocol41 | kTransactions | kSecureConnection | kPluginAuth |
         kPluginAuthLenenc | (want_tls_ ? std::uint32_t{kSsl} : 0u);
}

std::string Login::preamble() const {
  std::string payload;
  append_little(payload, capabilities(), 4);
  append_little(payload, kPacketMax, 4);
  payload += static_cast<char>(kUtf8mb4);
  payload.append(23, '\0');
  return payload;
}

Result<std::string> Login::response() const {
  if (plugin_ == kNative) return native_answer(credentials_.password, salt_.substr(0, kSaltBytes));
  if (plugin_ == kSha2) return sha2_answer(credentials_.password, salt_.substr(0, kSaltBytes));
  if (plugin_ == kEd25519) {
    if (salt_.size() < kEd25519SaltBytes)
      return fail(Code::kCorrupt, "the server's challenge for ed25519 is too short");
    return ed25519_answer(credentials_.password, salt_.substr(0, kEd25519SaltBytes));
  }
  return fail(Code::kUnauthorized,
              "user '{}' logs in with plugin '{}', which is not supported; give it "
              "mysql_native_password, ed25519 or caching_sha2_password",
              credentials_.user, plugin_);
}

Result<Login::Step> Login::greeting(std::string_view payload) {
  Bytes bytes(payload);
  std::uint64_t protocol = bytes.little(1);
  version_ = std::string(until_zero(bytes));
  bytes.take(4);  // connection
  salt_ = std::string(bytes.take(8));
  bytes.take(1);
  std::uint64_t offered = bytes.little(2);
  bytes.take(3);  // character set, status
  offered |= bytes.little(2) << 16;
  std::uint64_t salt_bytes = bytes.little(1);
  bytes.take(10);
  salt_ += bytes.take(std::max<std::uint64_t>(13, salt_bytes > 8 ? salt_bytes - 8 : 0));
  plugin_ = std::string(until_zero(bytes));
  if (!bytes.ok() || protocol != 10)
    return fail(Code::kCorrupt, "whoever answers does not greet like a MariaDB or MySQL server");
  if (salt_.ends_with('\0')) salt_.pop_back();
  // MariaDB before 11 pretends to be 5.5.5 to old replicas.
  constexpr std::string_view kDisguise = "5.5.5-";
  mariadb_ = version_.find("MariaDB") != std::string::npos;
  if (version_.starts_with(kDisguise)) version_.erase(0, kDisguise.size());
  if ((offered & kNeeded) != kNeeded)
    return fail(Code::kRefused, "the server ({}) is too old to log in to", version_);
  if (want_tls_ && !(offered & kSsl))
    return fail(Code::kRefused,
                "the server ({}) offers no TLS; set ssl_cert and ssl_key there, or allow plain "
                "connections here",
                version_);
  if (!want_tls_) return encrypted();
  state_ = State::kTls;
  return Step{preamble(), true, false};
}

Result<Login::Step> Login::encrypted() {
  encrypted_ = want_tls_;
  // The server proposes a plugin; one of ours is as good, it will switch if need be.
  if (plugin_ != kNative && plugin_ != kSha2 && plugin_ != kEd25519) plugin_ = kNative;
  if (plugin_ == kEd25519 && salt_.size() < kEd25519SaltBytes) plugin_ = kNative;
  auto answer = response();
  if (!answer) return fail(std::move(answer.error()));
  std::string payload = preamble();
  payload += credentials_.user;
  payload += '\0';
  payload += static_cast<char>(answer->size());  // at most 64, so one byte of length
  payload += *answer;
  payload += plugin_;
  payload += '\0';
  state_ = State::kAnswer;
  return Step{std::move(payload), false, false};
}

Result<Login::Step> Login::switched(std::string_view payload) {
  Bytes bytes(payload.substr(1));
  if (bytes.left() == 0)
    return fail(Code::kUnauthorized,
                "user '{}' has a password of before MySQL 4.1; set it again at the server",
                credentials_.user);
  plugin_ = std::string(until_zero(bytes));
  salt_ = std::string(bytes.rest());
  // A terminating zero comes after the challenge; ed25519's has none of its own.
  if (salt_.size() > kSaltBytes && salt_.ends_with('\0') && plugin_ != kEd25519) salt_.pop_back();
  auto answer = response();
  if (!answer) return fail(std::move(answer.error()));
  // Without a password the plugins want an empty packet, and a zero.
  if (answer->empty() && plugin_ == kSha2) answer->push_back('\0');
  return Step{std::move(*answer), false, false};
}

Result<Login::Step> Login::more(std::string_view payload) {
  if (plugin_ != kSha2 || payload.size() < 2)
    return fail(Code::kCorrupt, "unexpected packet while logging in with {}", plugin_);
  if (state_ == State::kPublicKey) return public_key(payload.substr(1));
  auto kind = static_cast<std::uint8_t>(payload[1]);
  if (kind == kFastAuthDone) return Step{};
  if (kind != kFullAuthNeeded)
    return fail(Code::kCorrupt, "unexpected packet while logging in with {}", plugin_);
  if (encrypted_) return Step{credentials_.password + '\0', false, false};
  state_ = State::kPublicKey;
  return Step{std::string(1, static_cast<char>(kAskForKey)), false, false};
}

Result<Login::Step> Login::public_key(std::string_view pem) {
  state_ = State::kAnswer;
  if (salt_.size() < kSaltBytes) return fail(Code::kCorrupt, "the server's challenge is too short");
  std::string secret = exclusive_or(credentials_.password + '\0', salt_.substr(0, kSaltBytes));
  auto encrypted = encrypt(pem, secret);
  OPENSSL_cleanse(secret.data(), secret.size());
  if (!encrypted) return fail(std::move(encrypted.error()));
  return Step{std::move(*encrypted), false, false};
}

Result<Login::Step> Login::take(std::string_view payload) {
  if (payload.empty()) return fail(Code::kCorrupt, "an empty packet while logging in");
  if (++steps_ > kStepsMax) return fail(Code::kCorrupt, "the server does not come to a log-in");
  if (auto error = parse_server_error(payload)) return fail(to_error(*error));
  if (state_ == State::kGreeting) return greeting(payload);
  if (state_ == State::kTls) return fail(Code::kCorrupt, "a packet instead of TLS");
  switch (static_cast<std::uint8_t>(payload[0])) {
    case kOk:
      return Step{std::nullopt, false, true};
    case kMore:
      return more(payload);
    case kSwitch:
      return switched(payload);
    default:
      return fail(Code::kCorrupt, "unexpected packet while logging in");
  }
}

}  // namespace leeward::mysql::internal
