#include "compute/prometheus_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace leeward::compute {
namespace {

constexpr std::string_view kText =
    "# HELP jobs_waiting Jobs, by \"queue\".\n"
    "# TYPE jobs_waiting gauge\n"
    "jobs_waiting{queue=\"mail\",host=\"a\"} 12\n"
    "jobs_waiting{queue=\"mail\", host=\"b\",} 3.5 1700000000000\n"
    "jobs_waiting{queue=\"say \\\"hi\\\"\\n\"} 1\r\n"
    "jobs_waiting_total 99\n"
    "  plain 1e3\n"
    "broken{queue=\"mail\" 1\n"
    "jobs_waiting{queue=\"mail\"} many\n"
    "temperature -Inf\n"
    "last +7";

std::optional<double> sum(std::string_view selector) {
  auto parsed = parse_selector(selector);
  if (!parsed) return std::nullopt;
  return sum_of(kText, *parsed);
}

TEST(PrometheusText, AddsUpTheSamplesThatHaveTheLabels) {
  EXPECT_EQ(sum("jobs_waiting{queue=\"mail\"}"), 15.5);
  EXPECT_EQ(sum("jobs_waiting{queue=\"mail\",host=\"b\"}"), 3.5);
  EXPECT_EQ(sum("jobs_waiting"), 16.5);
  EXPECT_EQ(sum("jobs_waiting{queue=\"say \\\"hi\\\"\\n\"}"), 1);
  EXPECT_EQ(sum("plain"), 1000);
  EXPECT_EQ(sum("last"), 7);
}

TEST(PrometheusText, WhatIsNotThereHasNoValue) {
  EXPECT_FALSE(sum("jobs").has_value());
  EXPECT_FALSE(sum("jobs_waiting{queue=\"none\"}").has_value());
  EXPECT_FALSE(sum("broken").has_value());
  EXPECT_FALSE(sum("temperature").has_value()) << "no number to scale by";
  EXPECT_FALSE(sum_of("", *parse_selector("a")).has_value());
}

TEST(PrometheusText, ASelectorThatIsNoneIsExplained) {
  for (const char* bad : {"", "1a", "a{", "a{b}", "a{b=c}", "a{b=\"c\"", "a b", "a{}x"}) {
    auto parsed = parse_selector(bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_THAT(parsed.error().message, ::testing::HasSubstr("jobs_waiting{queue=\"mail\"}"));
  }
  EXPECT_TRUE(parse_selector("a{}").has_value());
}

TEST(PrometheusText, InterpolatesAQuantileWithinItsBucket) {
  double inf = std::numeric_limits<double>::infinity();
  std::vector<HistogramBucket> buckets{{0.1, 50}, {0.2, 90}, {0.4, 100}, {inf, 100}};
  EXPECT_DOUBLE_EQ(histogram_quantile(buckets, 0.5).value(), 0.1);
  EXPECT_DOUBLE_EQ(histogram_quantile(buckets, 0.7).value(), 0.15);
  EXPECT_DOUBLE_EQ(histogram_quantile(buckets, 0.95).value(), 0.3);
  buckets.back().count = 200;
  EXPECT_DOUBLE_EQ(histogram_quantile(buckets, 0.99).value(), 0.4) << "the last finite bound";
  EXPECT_FALSE(histogram_quantile({}, 0.5).has_value());
  EXPECT_FALSE(histogram_quantile({{0.1, 0}, {inf, 0}}, 0.5).has_value());
}

}  // namespace
}  // namespace leeward::compute
