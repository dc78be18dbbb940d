#include "edge/secret_mask.h"

#include <gtest/gtest.h>

namespace leeward::edge {
namespace {

TEST(SecretMask, SecretArgumentsOfATargetAreMaskedAndNothingElse) {
  const SecretMask mask;
  EXPECT_EQ(mask.target("/a/b"), "/a/b");
  EXPECT_EQ(mask.target("/a?x=1&Password=p&y=2"), "/a?x=1&Password=***&y=2");
  EXPECT_EQ(mask.target("/a?%70assword=p"), "/a?%70assword=***");
  EXPECT_EQ(mask.target("/token/abc?access_token=t"), "/token/abc?access_token=***");
  EXPECT_EQ(mask.target("/a?token&&=&x"), "/a?token&&=&x");
  EXPECT_EQ(mask.target("/a?api+key=k"), "/a?api+key=***");
  EXPECT_EQ(mask.target("/a?%"), "/a?%");
  EXPECT_EQ(mask.target("/a?a=%4"), "/a?a=%4");
}

TEST(SecretMask, WhatARuleMatchedIsMaskedByItsName) {
  const SecretMask mask({"IBAN"});
  EXPECT_EQ(mask.matched("ARGS:id", "1' or '1'='1"), "1' or '1'='1");
  EXPECT_EQ(mask.matched("ARGS:json.user.password", "x"), "***");
  EXPECT_EQ(mask.matched("ARGS:my_iban", "DE00"), "***");
  EXPECT_EQ(SecretMask().matched("ARGS:my_iban", "DE00"), "DE00");
  EXPECT_EQ(mask.matched("REQUEST_HEADERS:Authorization", "Bearer x"), "***");
  EXPECT_EQ(mask.matched("REQUEST_HEADERS:Referer", "http://a/?token=t&q=1"),
            "http://a/?token=***&q=1");
  EXPECT_EQ(mask.matched("REQUEST_COOKIES:lang", "ko"), "***") << "of any cookie";
  EXPECT_EQ(mask.matched("REQUEST_BODY", "a=b"), "***");
  EXPECT_EQ(mask.matched("ARGS_NAMES:password", "password"), "password") << "names are no secret";
  EXPECT_EQ(mask.matched("QUERY_STRING", "q=1&pwd=2"), "q=1&pwd=***");
  EXPECT_EQ(mask.matched("REQUEST_URI", "/?q=1&pwd=2"), "/?q=1&pwd=***");
  EXPECT_EQ(mask.matched("MATCHED_VAR", "x"), "***") << "nobody knows whose it is";
  EXPECT_EQ(mask.matched("MATCHED_VARS:ARGS:q", "x"), "***");
  EXPECT_EQ(mask.matched("SESSIONID", "x"), "***");
  EXPECT_EQ(mask.matched("TX:anomaly_score", "5"), "5");
}

}  // namespace
}  // namespace leeward::edge
