// Metrics of other people's exporters, and selectors: whatever comes, a sum is a number or nothing.
// Input: a selector, a line end, the text.
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "compute/prometheus_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::size_t end = bytes.find('\n');
  auto selector = leeward::compute::parse_selector(bytes.substr(0, end));
  if (!selector || end == std::string_view::npos) return 0;
  std::string_view text = bytes.substr(end + 1);
  if (auto sum = leeward::compute::sum_of(text, *selector)) LEEWARD_CHECK(std::isfinite(*sum));
  std::vector<leeward::compute::HistogramBucket> buckets;
  leeward::compute::each_sample(text, *selector, [&](const auto& labels, double value) {
    for (const auto& [name, wanted] : selector->labels)
      LEEWARD_CHECK(labels.find(name)->second == wanted);
    buckets.push_back({value, value});
  });
  leeward::compute::histogram_quantile(buckets, 0.99);
  return 0;
}
