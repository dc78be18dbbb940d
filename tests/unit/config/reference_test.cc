// What is generated from the declarations: the reference in docs/guide and the JSON Schema.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "config/config.h"

namespace leeward::config {
namespace {

using ::testing::HasSubstr;

TEST(Reference, TheFileInDocsIsCurrent) {
  auto file = read_file(LEEWARD_REFERENCE_FILE);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(*file, markdown_reference())
      << "run: leeward schema --markdown > docs/guide/configuration.md";
}

TEST(Reference, DefaultsAndBoundsComeFromTheDeclarations) {
  std::string text = markdown_reference();
  EXPECT_THAT(text, HasSubstr("## `databases.DATABASE.sites.SITE.run`"));
  EXPECT_THAT(text, HasSubstr("| `takeover` | duration | `4.5s` | 1s … 5m |"));
  EXPECT_THAT(text, HasSubstr("| `clock_drift` | percentage | `1%` | 0% … 20% |"));
  EXPECT_THAT(text, HasSubstr("| `address` | IPv4 address | required |"));
}

// Asks the validator that editors use (python3-jsonschema) about a YAML text; true: it is valid.
class Schema : public ::testing::Test {
 protected:
  Schema() {
    std::string pattern = ::testing::TempDir() + "schema-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    std::ofstream(directory_ + "/schema.json") << json_schema();
    std::ofstream(directory_ + "/check.py") << R"(import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
jsonschema.validate(yaml.safe_load(open(sys.argv[2])), schema, jsonschema.Draft202012Validator)
)";
  }
  ~Schema() override { std::filesystem::remove_all(directory_); }

  bool accepts(const std::string& yaml) {
    std::ofstream(directory_ + "/leeward.yaml") << yaml;
    std::string command = fmt::format(
        "timeout 60 /usr/bin/python3 {0}/check.py {0}/schema.json {0}/leeward.yaml >{0}/out 2>&1",
        directory_);
    return std::system(command.c_str()) == 0;
  }
  std::string output() { return read_file(directory_ + "/out").value_or(""); }

  std::string directory_;
};

TEST_F(Schema, AcceptsWhatTheParserAcceptsAndNamesWhatItDoesNot) {
  std::string good = starting_file("shop");
  EXPECT_TRUE(accepts(good)) << output();

  auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  EXPECT_FALSE(accepts(with("  interval: 1s", "  intervall: 1s")));
  EXPECT_THAT(output(), HasSubstr("'intervall' was unexpected"));
  EXPECT_FALSE(accepts(with("takeover: 4.5s", "takeover: 4.5")));
  EXPECT_FALSE(accepts(with("engine: redis", "engine: rediss")));
  EXPECT_FALSE(accepts(with("  port: 8080\n  path", "  port: 80800\n  path")));
  EXPECT_FALSE(accepts(with("address: 10.77.1.1 }", "address: shop.test }")));
  EXPECT_FALSE(accepts(with("version: 1\n", "")));
}

}  // namespace
}  // namespace leeward::config
