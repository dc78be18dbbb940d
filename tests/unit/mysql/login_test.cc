#include "mysql/internal/login.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "mysql/value.h"

namespace leeward::mysql::internal {
namespace {

using namespace std::string_literals;

// MariaDB's documentation: ED25519_PASSWORD('secret').
TEST(Login, Ed25519SignsWithTheKeyThatTheServerKeeps) {
  auto key = unbase64("ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY=");
  ASSERT_TRUE(key);
  std::string challenge(32, 'c');
  auto signature = ed25519_answer("secret", challenge);
  ASSERT_TRUE(signature);
  auto raw = [](const std::string& bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
  };
  auto verifies = [&](const std::string& signed_with) {
    EVP_PKEY* public_key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(*key), key->size());
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, public_key);
    int good = EVP_DigestVerify(context, raw(signed_with), signed_with.size(), raw(challenge),
                                challenge.size());
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return good == 1;
  };
  EXPECT_TRUE(verifies(*signature));
  EXPECT_FALSE(verifies(*ed25519_answer("Secret", challenge)));
}

std::string greeting(const std::string& plugin, std::uint32_t capabilities = 0xffffffff) {
  std::string bytes = "\x0a"s + "8.0.40\0"s + std::string(4, 'i') + "12345678"s + "\0"s;
  bytes += static_cast<char>(capabilities);
  bytes += static_cast<char>(capabilities >> 8);
  bytes += "\x2d\x02\x00"s;
  bytes += static_cast<char>(capabilities >> 16);
  bytes += static_cast<char>(capabilities >> 24);
  return bytes + "\x15" + std::string(10, '\0') + "abcdefghijkl\0"s + plugin + '\0';
}

TEST(Login, SaysWhatItCannotDo) {
  Login plain({"repl", "pw"}, false);
  ASSERT_TRUE(plain.take(greeting("caching_sha2_password")));
  auto clear = plain.take("\xfe"s + "mysql_clear_password\0"s);
  ASSERT_FALSE(clear);
  EXPECT_EQ(clear.error().code, Code::kUnauthorized);
  EXPECT_NE(clear.error().message.find("mysql_clear_password"), std::string::npos);
  EXPECT_EQ(clear.error().message.find("pw"), std::string::npos);  // never the password

  Login wants_tls({"repl", "pw"}, true);
  constexpr std::uint32_t kSsl = 1u << 11;
  auto no_tls = wants_tls.take(greeting("mysql_native_password", ~kSsl));
  ASSERT_FALSE(no_tls);
  EXPECT_EQ(no_tls.error().code, Code::kRefused);
}

TEST(Login, FullAuthenticationSendsThePasswordOnlyInsideTls) {
  Login plain({"repl", "s3cret"}, false);
  ASSERT_TRUE(plain.take(greeting("caching_sha2_password")));
  auto step = plain.take("\x01\x04"s);
  ASSERT_TRUE(step && step->send);
  EXPECT_EQ(*step->send, "\x02"s);  // asks for the key instead
  auto no_key = plain.take("\x01not a key"s);
  ASSERT_FALSE(no_key);

  Login safe({"repl", "s3cret"}, true);
  auto first = safe.take(greeting("caching_sha2_password"));
  ASSERT_TRUE(first && first->start_tls);
  ASSERT_TRUE(safe.encrypted());
  auto full = safe.take("\x01\x04"s);
  ASSERT_TRUE(full && full->send);
  EXPECT_EQ(*full->send, "s3cret\0"s);
}

TEST(Login, EveryTruncatedGreetingIsRefused) {
  std::string whole = greeting("mysql_native_password");
  for (std::size_t size = 0; size + 25 < whole.size(); ++size)
    EXPECT_FALSE(Login({"u", "p"}, false).take(whole.substr(0, size))) << size;
}

TEST(Login, AServerThatAsksForEverIsLeft) {
  Login login({"repl", "pw"}, false);
  ASSERT_TRUE(login.take(greeting("caching_sha2_password")));
  int steps = 0;
  while (steps < 100 && login.take("\x01\x03"s)) ++steps;
  EXPECT_LT(steps, 100);
}

}  // namespace
}  // namespace leeward::mysql::internal
