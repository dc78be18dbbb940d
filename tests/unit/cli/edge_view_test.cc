#include "cli/internal/edge_view.h"

#include <gtest/gtest.h>

namespace leeward::cli {
namespace {

TEST(EdgeView, QuantilesLieWithinTheirBucket) {
  // Bounds are 0.5 ms, 1 ms, 2.5 ms …
  EXPECT_EQ(quantile_of({}, 0.5), 0);
  EXPECT_EQ(quantile_of({0, 0, 0}, 0.99), 0);
  EXPECT_NEAR(quantile_of({100}, 0.5), 0.00025, 1e-9);
  EXPECT_NEAR(quantile_of({50, 50}, 0.75), 0.00075, 1e-9);
  EXPECT_LE(quantile_of({99, 0, 1}, 0.5), 0.0005);
  EXPECT_GT(quantile_of({90, 0, 10}, 0.99), 0.001);
}

TEST(EdgeView, SummaryIsByNearestRank) {
  const SpeedSummary s = summary_of({4, 1, 3, 2});
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.mean, 2.5);
  EXPECT_EQ(s.median, 2);
  EXPECT_EQ(s.p95, 4);
  EXPECT_EQ(s.max, 4);
  EXPECT_EQ(summary_of({}).max, 0);
}

TEST(EdgeView, FirewallsAreComparedPartByPart) {
  const Json gcp = {{"mode", "block"},
                    {"rules", 812},
                    {"parts", {{"rules", "aaaa"}, {"limits", "1111"}}},
                    {"reload_refused", ""}};
  Json aws = gcp;
  FirewallComparison c = compare_firewalls({{"gcp", gcp}, {"aws", aws}});
  EXPECT_TRUE(c.differ.empty());
  EXPECT_NE(c.text.find("edge of gcp: mode block, 812 rules\n"), std::string::npos) << c.text;
  EXPECT_NE(c.text.find("rules       same      aaaa\n"), std::string::npos) << c.text;
  aws["parts"]["rules"] = "bbbb";
  aws["reload_refused"] = "policy:1:1: what";
  c = compare_firewalls({{"gcp", gcp}, {"aws", aws}});
  EXPECT_EQ(c.differ, std::vector<std::string>{"rules"});
  EXPECT_NE(c.text.find("rules       differs   gcp aaaa aws bbbb\n"), std::string::npos) << c.text;
  EXPECT_NE(c.text.find("refused, what was before is in force: policy:1:1: what"),
            std::string::npos);
  // One that does not know of a part differs in it.
  aws["parts"].erase("limits");
  EXPECT_EQ(compare_firewalls({{"gcp", gcp}, {"aws", aws}}).differ.size(), 2u);
  c = compare_firewalls({{"gcp", gcp}});
  EXPECT_TRUE(c.differ.empty());
  EXPECT_EQ(c.text.find("same"), std::string::npos) << "there is nothing to compare it with";
}

TEST(EdgeView, TheReferencesFiguresComeOut) {
  EXPECT_NEAR(percent_lower(3848.84, 615.60), 84.0, 0.05);
  EXPECT_NEAR(percent_lower(1, 2), -100, 1e-9);
  EXPECT_EQ(percent_lower(0, 1), 0);
}

TEST(EdgeView, SpeedShowsBothWaysOnOneScale) {
  const std::string text =
      render_speed("http://shop.test/", {{"direct", {0.1, 0.1}, {0.05}, 200, 10, ""},
                                         {"edge", {0.01, 0.03}, {}, 200, 10, "gcp-edge; hit"}});
  EXPECT_NE(text.find("edge  Cache-Status: gcp-edge; hit"), std::string::npos) << text;
  EXPECT_NE(text.find("mean through the edge: 80.0 % lower"), std::string::npos) << text;
  EXPECT_NE(text.find("100.0 ms"), std::string::npos) << text;
}

Json sample(double requests, double hits) {
  return {{"clients", 3},
          {"parked", 0},
          {"moving", true},
          {"epoch", 7},
          {"routes",
           {{{"route", "any/"},
             {"requests", requests},
             {"errors", 0},
             {"hits", hits},
             {"retries", 0},
             {"hedges", 0},
             {"buckets", {requests, 0}}}}},
          {"origins",
           {{{"group", "web"},
             {"origin", "gcp-web-0"},
             {"requests", requests - hits},
             {"connects", 1},
             {"failures", 0}}}}};
}

TEST(EdgeView, TopShowsRatesBetweenTwoAnswers) {
  const std::string text = render_top("gcp", sample(100, 50), sample(300, 200), 2);
  EXPECT_NE(text.find("100/s"), std::string::npos) << text;
  EXPECT_NE(text.find("75%"), std::string::npos) << text;
  EXPECT_NE(text.find("25/s"), std::string::npos) << text;
  EXPECT_NE(text.find("epoch 7, the writer moves"), std::string::npos) << text;
  // Totals without an earlier answer, and nothing breaks on JSON of another shape.
  EXPECT_NE(render_top("gcp", Json(), sample(300, 200), 0).find("300"), std::string::npos);
  render_top("gcp", Json(), Json::parse("{\"routes\":[{\"buckets\":3}],\"origins\":{}}"), 0);
}

}  // namespace
}  // namespace leeward::cli
