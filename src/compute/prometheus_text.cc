#include "compute/prometheus_text.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace leeward::compute {
namespace {

constexpr std::size_t kLabelsMax = 64;

bool name_character(char c, bool first) {
  bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
  return letter || (!first && c >= '0' && c <= '9');
}

std::string_view take_name(std::string_view& text) {
  std::size_t n = 0;
  while (n < text.size() && name_character(text[n], n == 0)) ++n;
  std::string_view name = text.substr(0, n);
  text.remove_prefix(n);
  return name;
}

void skip_blanks(std::string_view& text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
}

bool take(std::string_view& text, char c) {
  skip_blanks(text);
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// "…", with \\, \" and \n. False when it does not end.
bool take_quoted(std::string_view& text, std::string& value) {
  if (!take(text, '"')) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') {
      text.remove_prefix(i + 1);
      return true;
    }
    if (c == '\\') {
      if (++i == text.size()) return false;
      c = text[i] == 'n' ? '\n' : text[i];
    }
    value += c;
  }
  return false;
}

// {a="b",…} where there is one. False when it is broken.
bool take_labels(std::string_view& text, SeriesLabels& labels) {
  if (!take(text, '{')) return true;
  while (!take(text, '}')) {
    skip_blanks(text);
    std::string name(take_name(text));
    std::string value;
    if (name.empty() || labels.size() == kLabelsMax) return false;
    if (!take(text, '=') || !take_quoted(text, value)) return false;
    labels[name] = std::move(value);
    if (take(text, ',')) continue;
    if (!take(text, '}')) return false;
    break;
  }
  return true;
}

bool take_value(std::string_view& text, double& value) {
  skip_blanks(text);
  std::string_view word = text.substr(0, text.find_first_of(" \t\r"));
  if (!word.empty() && word.front() == '+') word.remove_prefix(1);
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc{} && end == word.data() + word.size();
}

bool has_labels(const SeriesLabels& labels, const SeriesLabels& wanted) {
  for (const auto& [name, value] : wanted) {
    auto found = labels.find(name);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

}  // namespace

Result<SeriesSelector> parse_selector(std::string_view text) {
  SeriesSelector selector;
  std::string_view rest = text;
  selector.name = take_name(rest);
  bool sound = !selector.name.empty() && take_labels(rest, selector.labels);
  skip_blanks(rest);
  if (!sound || !rest.empty())
    return fail(Code::kInvalid,
                "'{}' is not a series; write its name, and labels if needed: "
                "jobs_waiting{{queue=\"mail\"}}",
                text);
  return selector;
}

void each_sample(std::string_view text, const SeriesSelector& selector,
                 const std::function<void(const SeriesLabels&, double)>& each) {
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    skip_blanks(line);
    if (take_name(line) != selector.name) continue;
    SeriesLabels labels;
    double value = 0;
    if (!take_labels(line, labels) || !take_value(line, value)) continue;
    if (has_labels(labels, selector.labels)) each(labels, value);
  }
}

std::optional<double> sum_of(std::string_view text, const SeriesSelector& selector) {
  std::optional<double> sum;
  each_sample(text, selector,
              [&](const SeriesLabels&, double value) { sum = sum.value_or(0) + value; });
  if (sum && !std::isfinite(*sum)) return std::nullopt;
  return sum;
}

std::optional<double> histogram_quantile(const std::vector<HistogramBucket>& buckets,
                                         double share) {
  if (buckets.empty() || !(buckets.back().count > 0)) return std::nullopt;
  double rank = share * buckets.back().count;
  double low_bound = 0;
  double low_count = 0;
  for (const HistogramBucket& bucket : buckets) {
    if (bucket.count >= rank) {
      if (!std::isfinite(bucket.bound)) return low_bound;
      double inside = bucket.count - low_count;
      if (!(inside > 0)) return bucket.bound;
      return low_bound + (bucket.bound - low_bound) * (rank - low_count) / inside;
    }
    low_bound = bucket.bound;
    low_count = bucket.count;
  }
  return low_bound;
}

}  // namespace leeward::compute
