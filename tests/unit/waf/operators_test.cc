#include "waf/operators.h"

#include <gtest/gtest.h>

#include <functional>

#include "corpus.h"
#include "reference_rule.h"

// The check sums of libmodsecurity 3.0.9, which its package's headers leave out.
extern "C" {
int luhn_of_reference(const char*, int) asm("_ZN11modsecurity9operators8VerifyCC10luhnVerifyEPKci");
bool ssn_of_reference(const char*, int) asm("_ZN11modsecurity9operators9VerifySSN6verifyEPKci");
}

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;
using Operator = std::function<bool(std::string_view)>;

constexpr std::string_view kPieces[] = {"abc",
                                        "a",
                                        "b",
                                        "abcabc",
                                        "ABC",
                                        " ",
                                        "_",
                                        "9",
                                        "x",
                                        "%",
                                        "%41",
                                        "%4",
                                        "%zz",
                                        "0",
                                        "5",
                                        "-",
                                        "+",
                                        "10",
                                        "2147483648",
                                        "99999999999999999999",
                                        "\t",
                                        "\0"sv,
                                        "\xc3\xa9",
                                        "\xed\xa0\x80",
                                        "\xc0\xaf",
                                        "\xf5\x80\x80\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xe2\x82",
                                        "\xf0\x9f\x98\x80",
                                        "\xff",
                                        "GET",
                                        ",",
                                        "POST"};

void same_as_reference(const std::string& operation, const Operator& ours) {
  reference::Rule theirs(operation);
  Corpus corpus(std::hash<std::string>{}(operation), kPieces);
  int differences = 0;
  for (std::size_t left = cases(500); left > 0 && differences < 5; --left) {
    const std::string value = corpus.next(1 + left % 5);
    const bool expected = theirs.match(value).has_value();
    if (ours(value) == expected) continue;
    ++differences;
    ADD_FAILURE() << operation << " of \"" << shown(value) << "\": the reference says " << expected;
  }
}

TEST(Operators, ForTextSayWhatTheReferenceSays) {
  for (const std::string parameter : {"abc", "a", "GET,POST", "abc abc"}) {
    same_as_reference("@beginsWith " + parameter,
                      [&](auto value) { return begins_with(value, parameter); });
    same_as_reference("@endsWith " + parameter,
                      [&](auto value) { return ends_with(value, parameter); });
    same_as_reference("@contains " + parameter,
                      [&](auto value) { return contains(value, parameter); });
    same_as_reference("@containsWord " + parameter,
                      [&](auto value) { return contains_word(value, parameter); });
    same_as_reference("@streq " + parameter, [&](auto value) { return str_eq(value, parameter); });
    same_as_reference("@strmatch " + parameter,
                      [&](auto value) { return str_match(value, parameter); });
    same_as_reference("@within " + parameter, [&](auto value) { return within(value, parameter); });
  }
}

TEST(Operators, ForNumbersSayWhatTheReferenceSays) {
  constexpr std::pair<const char*, Comparison> kAll[] = {{"@eq ", Comparison::kEq},
                                                         {"@ge ", Comparison::kGe},
                                                         {"@gt ", Comparison::kGt},
                                                         {"@le ", Comparison::kLe},
                                                         {"@lt ", Comparison::kLt}};
  for (const std::string parameter :
       {"0", "5", "-5", "2147483648", "99999999999999999999", "abc"}) {
    for (const auto& [operation, comparison] : kAll)
      same_as_reference(operation + parameter, [&, kind = comparison](std::string_view value) {
        return compare(kind, number_of(kind, value), number_of(kind, parameter));
      });
  }
}

TEST(Operators, ForEncodingsSayWhatTheReferenceSays) {
  same_as_reference("@validateUrlEncoding",
                    [](auto value) { return first_invalid_url_escape(value).has_value(); });
  same_as_reference("@validateUtf8Encoding",
                    [](auto value) { return first_utf8_fault(value).has_value(); });
  for (const std::string ranges : {"1-255", "9,10,13,32-126", "32-36,38-126", "65 - 90, 97-122"}) {
    const auto range = ByteRange::parse(ranges);
    ASSERT_TRUE(range) << range.error().message;
    same_as_reference("@validateByteRange " + ranges,
                      [&](auto value) { return range->first_outside(value).has_value(); });
  }
}

TEST(Operators, SayWhatIsWrongAndWhere) {
  EXPECT_EQ(first_invalid_url_escape("a%41%4"), 4u);
  EXPECT_EQ(first_utf8_fault("a\xe2\x82"), Utf8Fault::kIncomplete);
  EXPECT_EQ(first_utf8_fault("a\xe2zz"), Utf8Fault::kInvalid);
  EXPECT_EQ(first_utf8_fault("\xc0\xaf"), Utf8Fault::kOverlong);
  EXPECT_EQ(first_utf8_fault("\xed\xa0\x80"), Utf8Fault::kRestricted);
  EXPECT_EQ(ByteRange::parse("32-126")->first_outside("ab\x01"), 2u);
}

TEST(ByteRange, RefusesWhatIsNoListOfBytes) {
  for (const char* ranges : {"", "a", "1-a", "300", "10-5", "1,,2", "1-2-3", "0001", "-1"}) {
    const auto range = ByteRange::parse(ranges);
    EXPECT_FALSE(range) << ranges;
  }
  EXPECT_NE(ByteRange::parse("1-2, 300").error().message.find("'300' at 5"), std::string::npos);
}

// Short digit strings, repeats and areas that were never issued, so that both answers occur.
TEST(Operators, ForCheckSumsSayWhatTheReferenceSays) {
  constexpr std::string_view kDigits[] = {"0", "1",   "2",   "3",   "4",      "5",
                                          "6", "7",   "8",   "9",   "-",      ".",
                                          " ", "000", "666", "740", "111111", "123456"};
  Corpus corpus(7, kDigits);
  std::size_t valid = 0;
  const auto check = [&](std::string_view what, const std::string& value, bool ours, bool theirs) {
    EXPECT_EQ(ours, theirs) << what << " of \"" << shown(value) << '"';
    valid += ours;
  };
  for (std::size_t left = cases(50'000); left > 0 && !HasFailure(); --left) {
    const std::string value = corpus.next(14);
    const int size = static_cast<int>(value.size());
    check("@verifyCC", value, is_card_number(value), luhn_of_reference(value.c_str(), size) == 1);
    check("@verifySSN", value, is_ssn(value), ssn_of_reference(value.c_str(), size));
  }
  EXPECT_GT(valid, 100u);
}

// The check digits are drawn until some are right.
TEST(Operators, ForCpfAndSvnrSayWhatTheReferenceSays) {
  reference::Rule cpf("@verifyCPF ^[0-9]{11}$");
  reference::Rule svnr("@verifySVNR ^[0-9]{10}$");
  std::mt19937_64 random(8);
  std::size_t valid = 0;
  const auto check = [&](reference::Rule& rule, const std::string& value, bool ours) {
    EXPECT_EQ(ours, rule.match(value).has_value()) << value;
    valid += ours;
  };
  for (std::size_t left = cases(1'000); left > 0 && !HasFailure(); --left) {
    std::string value;
    const std::uint64_t kinds = 1 + random() % 10;
    for (int i = 0; i < 11; ++i) value += static_cast<char>('0' + random() % kinds);
    check(cpf, value, is_cpf(value));
    value.pop_back();
    check(svnr, value, is_svnr(value));
  }
  for (const char* climbing : {"01234567890", "01234567899", "12345678909", "98765432100"})
    check(cpf, climbing, is_cpf(climbing));
  for (const char* climbing : {"0123456789", "1234567890", "9876543210"})
    check(svnr, climbing, is_svnr(climbing));
  EXPECT_GT(valid, 20u);
}

TEST(Operators, KnowNumbersThatAreValid) {
  EXPECT_TRUE(is_card_number("4111 1111 1111 1111"));
  EXPECT_FALSE(is_card_number("4111 1111 1111 1112"));
  EXPECT_FALSE(is_card_number(""));
  EXPECT_TRUE(is_cpf("529.982.247-25"));
  EXPECT_FALSE(is_cpf("529.982.247-26"));
  EXPECT_TRUE(is_svnr("1237010180"));
  EXPECT_FALSE(is_svnr("1238010180"));
  EXPECT_TRUE(is_ssn("078-05-1120"));
  EXPECT_FALSE(is_ssn("666-05-1120"));
}

}  // namespace
}  // namespace leeward::waf
