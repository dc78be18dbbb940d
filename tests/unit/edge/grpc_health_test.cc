#include "edge/grpc_health.h"

#include <gtest/gtest.h>

namespace leeward::edge {
namespace {

using std::string_literals::operator""s;

std::string said(std::string_view body, std::string_view status) {
  auto serves = grpc_serves(body, status);
  return serves ? "serves" : serves.error().message;
}

TEST(GrpcHealth, AsksForAServiceOrTheServer) {
  EXPECT_EQ(grpc_health_request(""), "\0\0\0\0\0"s);
  EXPECT_EQ(grpc_health_request("shop"), "\0\0\0\0\x06\x0a\x04shop"s);
  const std::string long_name(300, 'x');
  EXPECT_EQ(grpc_health_request(long_name), "\0\0\0\x01\x2f\x0a\xac\x02"s + long_name);
}

TEST(GrpcHealth, OnlyServingServes) {
  EXPECT_EQ(said("\0\0\0\0\x02\x08\x01"s, "0"), "serves");
  EXPECT_EQ(said("\0\0\0\0\x02\x08\x02"s, "0"), "NOT_SERVING");
  EXPECT_EQ(said("\0\0\0\0\x00"s, "0"), "UNKNOWN");
  EXPECT_EQ(said("\0\0\0\0\x02\x08\x07"s, "0"), "serving status 7");
  EXPECT_EQ(said("", "12"), "grpc-status 12");
  // Fields that a later version may add are skipped.
  EXPECT_EQ(said("\0\0\0\0\x07\x12\x03new\x08\x01"s, "0"), "serves");
}

TEST(GrpcHealth, WhatIsNoAnswerSaysSo) {
  EXPECT_EQ(said("", ""), "the answer is not gRPC: no grpc-status");
  EXPECT_EQ(said("<html>", "0"), "the answer has no plain gRPC message");
  EXPECT_EQ(said("\0\0\0\0\x09\x08\x01"s, "0"), "the answer's message is not as long as it says");
  EXPECT_EQ(said("\0\0\0\0\x02\x08\x81"s, "0"), "the answer is no HealthCheckResponse");
  EXPECT_EQ(said("\0\0\0\0\x02\x0a\x09"s, "0"), "the answer is no HealthCheckResponse");
}

}  // namespace
}  // namespace leeward::edge
