#include "waf/detect_sqli.h"

#include <gtest/gtest.h>

#include "corpus.h"

// libinjection as it is in Debian's libmodsecurity3.
extern "C" int libinjection_sqli(const char* value, std::size_t size, char fingerprint[]);

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPieces[] = {
    "1",
    "0",
    "2",
    "1.5",
    "1e5",
    "1e",
    "0x41",
    "0x",
    "0b1",
    "1f",
    "1d",
    ".",
    "..",
    "$1",
    "$$",
    "$a$",
    "$",
    "'",
    "'",
    "'",
    "\"",
    "\"",
    "`",
    "''",
    "\\'",
    "\\",
    "\\N",
    "--",
    "-- ",
    "--\n",
    "#",
    "/*",
    "*/",
    "/**/",
    "/*!",
    "/*!50000",
    ";",
    ";",
    ",",
    "(",
    ")",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "<",
    ">",
    "<>",
    "<=>",
    "!=",
    "||",
    "&&",
    "|",
    "&",
    "^",
    "~",
    "!",
    "!!",
    "::",
    ":=",
    ":",
    "?",
    "@",
    "@@",
    "@@version",
    "@a",
    "@`a`",
    "@'a'",
    " ",
    " ",
    " ",
    " ",
    " ",
    "\t",
    "\n",
    "\0"sv,
    "\xa0",
    "\v",
    "+",
    " and ",
    " or ",
    " not ",
    " xor ",
    "AND",
    "Or",
    "not",
    " union ",
    " select ",
    "union select",
    "union all select",
    "SELECT",
    " from ",
    "where",
    " like ",
    " not like ",
    " in ",
    " not in ",
    "in(",
    "between",
    "is null",
    "null",
    "true",
    "insert",
    "into",
    "into outfile",
    "into dumpfile",
    "values",
    "update",
    "set",
    "delete",
    "drop",
    "table",
    "exec",
    "execute",
    "declare",
    "waitfor delay",
    "begin",
    "if",
    "if(",
    "case",
    "when",
    "then",
    "else",
    "end",
    "having",
    "group by",
    "order by",
    "limit",
    "offset",
    "procedure",
    "analyse",
    "sleep(",
    "sleep",
    "benchmark(",
    "user(",
    "user",
    "database()",
    "version()",
    "current_user",
    "current_user(",
    "password(",
    "password",
    "concat(",
    "char(",
    "chr(",
    "ascii(",
    "substr",
    "load_file(",
    "convert(",
    "cast(",
    "as",
    "int",
    "varchar",
    "binary",
    "collate",
    "utf8_bin",
    "latin1",
    "_utf8",
    "_utf8'a'",
    "xp_cmdshell",
    "sp_password",
    "information_schema",
    "information_schema.tables",
    "foo",
    "bar",
    "a",
    "x",
    "admin",
    "table.name",
    "select.1",
    "select`a`",
    "foo.bar",
    "foo`bar`",
    "n'a'",
    "N'",
    "e'a'",
    "E'",
    "u&'a'",
    "U&'",
    "q'(a)'",
    "q'[",
    "nq'!a!'",
    "b'01'",
    "b'",
    "x'4f'",
    "x'",
    "e\xcc\x81",
    "\xc3\xa9",
    "caf\xc3\xa9",
    "\xec\x95\x88\xeb\x85\x95",
    "pg_sleep(1)",
    "dbms_pipe",
    "rlike",
    "regexp",
    "div",
    "mod",
    "sounds like",
    "distinct",
    "natural",
    "join",
    "on",
    "using",
    "escape",
    "asc",
    "averyveryverylongwordthatgoesbeyondthirtyone",
    "it's",
    "don't",
    "O'Reilly",
    "rock 'n' roll",
    "1st",
    "50%",
    "a-b",
    "2026-11-29",
    "12:30",
    "user@example.com",
    "http://a/b?c=d&e=f",
    "C:\\x",
    "x = y",
    "/* c */",
};

void same_as_reference(std::uint64_t seed, std::span<const std::string_view> pieces,
                       std::size_t longest, std::size_t attacks_of_thousand) {
  Corpus corpus(seed, pieces);
  std::size_t attacks = 0;
  int differences = 0;
  for (std::size_t left = cases(100'000); left > 0 && differences < 10; --left) {
    const std::string value = corpus.next(1 + left % longest);
    char fingerprint[8] = {};
    const bool expected = libinjection_sqli(value.data(), value.size(), fingerprint) == 1;
    const SqliVerdict ours = detect_sqli(value);
    attacks += expected;
    if (ours.attack == expected && (!expected || ours.text() == fingerprint)) continue;
    ++differences;
    ADD_FAILURE() << '"' << shown(value) << "\": " << ours.attack << ' ' << ours.text()
                  << ", the reference says " << expected << ' ' << fingerprint;
  }
  EXPECT_GT(attacks * 1000, cases(100'000) * attacks_of_thousand);
}

TEST(DetectSqli, GivesTheVerdictOfTheReference) { same_as_reference(20260101, kPieces, 12, 20); }
TEST(DetectSqli, GivesTheVerdictOfTheReferenceForShortValues) {
  same_as_reference(20260102, kPieces, 5, 10);
}

constexpr std::string_view kBytes[] = {"1", "a", "'", "\"", "`",  "-", "/", "*", "#", ";",
                                       "(", ")", ",", " ",  "\\", "@", "$", ".", "e", "x",
                                       "b", "q", "n", "u",  "&",  "|", "=", "<", "!", ":",
                                       "{", "}", "[", "]",  "\n", "0", "f", "d", "+"};

TEST(DetectSqli, GivesTheVerdictOfTheReferenceForPunctuation) {
  same_as_reference(20260103, kBytes, 14, 2);
}

TEST(DetectSqli, KnowsAttacks) {
  for (const char* attack :
       {"1' OR '1'='1", "1 UNION SELECT password FROM users--", "admin'--", "1; DROP TABLE users",
        "\" or 1=1 #", "1 AND SLEEP(5)", "1/*!50000union*/select 1", "') or ('a'='a", "1 or 1=1",
        "-1' union all select null,null,version()-- -"})
    EXPECT_TRUE(detect_sqli(attack).attack) << attack;
}

TEST(DetectSqli, LetsTextPass) {
  for (const char* text :
       {"", "hello", "42", "hello world", "it's a nice day", "O'Reilly", "rock and roll",
        "user@example.com", "SELECT", "the union of two", "price: $5.00", "a-b-c",
        "\xec\x95\x88\xeb\x85\x95\xed\x95\x98\xec\x84\xb8\xec\x9a\x94", "2026-11-29T12:00:00Z"})
    EXPECT_FALSE(detect_sqli(text).attack) << text;
}

}  // namespace
}  // namespace leeward::waf
