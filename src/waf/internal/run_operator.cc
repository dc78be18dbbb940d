#include <charconv>

#include "waf/detect_sqli.h"
#include "waf/detect_xss.h"
#include "waf/internal/runner.h"

namespace leeward::waf {
namespace {

constexpr std::string_view kGroupNames[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

}  // namespace

void Runner::capture(int group, std::string_view text) {
  if (group < static_cast<int>(std::size(kGroupNames)))
    rooms_.tx.set(kGroupNames[group], rooms_.arena.copy(text), origin());
}

// A search that was given up counts as a match, of a negated rule too: see transaction.h. When the
// time of all searches is spent, no rule matches any more: the request is refused, or let alone.
bool Runner::give_up_search(const Rule& rule) {
  ++limits;
  unfinished |= hurried_;
  rooms_.tx.set("msc_pcre_limits_exceeded", "1");
  if (!rooms_.regex.spent()) return !rule.use.negated;
  if (!refuse_body()) engine_ = Engine::kOff;
  return rule.use.negated;
}

bool Runner::search(const Rule& rule, const Regex& regex, std::string_view text) {
  if (too_late()) return false;
  const int groups = regex.search(text, rooms_.regex);
  if (groups == Regex::kNoMatch) return false;
  if (groups == Regex::kLimit) return give_up_search(rule);
  if (rule.actions.capture)
    for (int group = 0; group < groups; ++group)
      if (rooms_.regex.group_begin(group) != PCRE2_UNSET)
        capture(group, rooms_.regex.group(text, group));
  return true;
}

bool Runner::search_all(const Rule& rule, const Regex& regex, std::string_view text) {
  int captured = 0;
  bool found = false;
  for (std::size_t from = 0; from <= text.size();) {
    const int groups = regex.search(text, rooms_.regex, from);
    if (groups == Regex::kNoMatch) break;
    if (groups == Regex::kLimit) return give_up_search(rule);
    found = true;
    if (!rule.actions.capture) break;
    for (int group = 0; group < groups; ++group)
      if (rooms_.regex.group_begin(group) != PCRE2_UNSET)
        capture(captured + group, rooms_.regex.group(text, group));
    captured += groups;
    const std::size_t end = rooms_.regex.group_end(0);
    from = end > from ? end : from + 1;
    if (captured >= 10) break;  // there is no place for more
  }
  return found;
}

bool Runner::verify(const Rule& rule, const Regex& regex, std::string_view text) {
  for (std::size_t from = 0; from < text.size();) {
    const int groups = regex.search(text, rooms_.regex, from);
    if (groups == Regex::kNoMatch) return false;
    if (groups == Regex::kLimit) return give_up_search(rule);
    const std::string_view digits = rooms_.regex.group(text, 0);
    const bool good = rule.use.op == Operator::kVerifyCc    ? is_card_number(digits)
                      : rule.use.op == Operator::kVerifySsn ? is_ssn(digits)
                      : rule.use.op == Operator::kVerifyCpf ? is_cpf(digits)
                                                            : is_svnr(digits);
    if (good) {
      if (rule.actions.capture) capture(0, digits);
      return true;
    }
    from = std::max(from, rooms_.regex.group_begin(0)) + 1;
  }
  return false;
}

bool Runner::search_macro(const Rule& rule, std::string_view text) {
  const std::string_view pattern = expand(rule.use.argument, rooms_.macro);
  const auto regex = Regex::compile(pattern, false);
  return regex ? search(rule, **regex, text) : false;
}

bool Runner::operate(const Rule& rule, std::string_view text) {
  const OperatorUse& use = rule.use;
  const auto argument = [&] { return expand(use.argument, rooms_.macro); };
  const auto compared = [&](Comparison comparison) {
    return compare(comparison, number_of(comparison, text), number_of(comparison, argument()));
  };
  switch (use.op) {
    case Operator::kUnconditional:
      return true;
    case Operator::kNoMatch:
      return false;
    case Operator::kRx:
      return use.regex ? search(rule, *use.regex, text) : search_macro(rule, text);
    case Operator::kRxGlobal:
      return use.regex ? search_all(rule, *use.regex, text) : search_macro(rule, text);
    case Operator::kPm:
    case Operator::kPmFromFile: {
      const auto match = use.phrases->first_match(text);
      if (match && rule.actions.capture) capture(0, match->phrase);
      return match.has_value();
    }
    case Operator::kContains:
      return contains(text, argument());
    case Operator::kContainsWord:
      return contains_word(text, argument());
    case Operator::kStrmatch:
      return str_match(text, argument());
    case Operator::kBeginsWith:
      return begins_with(text, argument());
    case Operator::kEndsWith:
      return ends_with(text, argument());
    case Operator::kStreq:
      return str_eq(text, argument());
    case Operator::kWithin:
      return within(text, argument());
    case Operator::kEq:
      return compared(Comparison::kEq);
    case Operator::kGe:
      return compared(Comparison::kGe);
    case Operator::kGt:
      return compared(Comparison::kGt);
    case Operator::kLe:
      return compared(Comparison::kLe);
    case Operator::kLt:
      return compared(Comparison::kLt);
    case Operator::kIpMatch:
    case Operator::kIpMatchFromFile:
      return use.addresses->contains(text);
    case Operator::kDetectSqli: {
      const SqliVerdict verdict = detect_sqli(text);
      if (verdict.attack && rule.actions.capture) capture(0, verdict.text());
      return verdict.attack;
    }
    case Operator::kDetectXss: {
      const bool attack = detect_xss(text);
      if (attack && rule.actions.capture) capture(0, text);
      return attack;
    }
    case Operator::kValidateByteRange:
      return use.bytes->first_outside(text).has_value();
    case Operator::kValidateUrlEncoding:
      return first_invalid_url_escape(text).has_value();
    case Operator::kValidateUtf8Encoding:
      return first_utf8_fault(text).has_value();
    case Operator::kVerifyCc:
    case Operator::kVerifyCpf:
    case Operator::kVerifySsn:
    case Operator::kVerifySvnr:
      return verify(rule, *use.regex, text);
    case Operator::kGeoLookup: {
      // The caller has looked up the client's address; other addresses are not known.
      ValueList& client = rooms_.lists[index(Variable::kRemoteAddr)];
      if (country_.empty() || text != client.values[0].text) return false;
      if (rooms_.lists[index(Variable::kGeo)].values.empty())
        rooms_.lists[index(Variable::kGeo)].values.push_back({"COUNTRY_CODE", country_});
      return true;
    }
    case Operator::kRbl:
      return false;
  }
  return false;
}

}  // namespace leeward::waf
