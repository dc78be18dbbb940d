#include "compute/image_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

namespace leeward::compute {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string descriptor(const std::string& type, const std::string& more = "") {
  return R"({"mediaType":")" + type + R"(","digest":")" + kDigest + R"(","size":5)" + more + "}";
}
std::string entry(const std::string& platform, const std::string& name = "") {
  std::string more;
  if (!platform.empty()) more += R"(,"platform":{"os":"linux","architecture":")" + platform + "\"}";
  if (!name.empty())
    more += R"(,"annotations":{"org.opencontainers.image.ref.name":")" + name + "\"}";
  return descriptor("application/vnd.oci.image.manifest.v1+json", more);
}
std::vector<ImageDescriptor> index(const std::string& entries) {
  return *parse_image_index(R"({"manifests":[)" + entries + "]}", {});
}

TEST(ImageReference, TheNameFollowsTheLastColonUnlessASlashDoes) {
  auto parts = [](std::string_view text) {
    ImageReference r = parse_image_reference(text);
    return r.path + "|" + r.name;
  };
  EXPECT_EQ(parts("images/shop.tar"), "images/shop.tar|");
  EXPECT_EQ(parts("images/shop:v1.2"), "images/shop|v1.2");
  EXPECT_EQ(parts("images:old/shop"), "images:old/shop|");
  EXPECT_EQ(parts("images:old/shop:v2"), "images:old/shop|v2");
}

TEST(ImageIndex, ThePlatformOfThisMachineIsTaken) {
  auto all = index(entry("arm64") + "," + entry("amd64") + "," + entry("amd64"));
  auto chosen = choose_image(all, "", "amd64", false);
  ASSERT_TRUE(chosen.has_value());
  EXPECT_EQ(chosen->architecture, "amd64");
  EXPECT_THAT(choose_image(all, "", "amd64", true).error().message, HasSubstr("2 images in it"));
  EXPECT_THAT(choose_image(all, "", "riscv64", false).error().message,
              HasSubstr("no image for linux/riscv64 in it; there are: linux/arm64 linux/amd64"));
  EXPECT_TRUE(choose_image(index(entry("")), "", "amd64", true).has_value());
  EXPECT_THAT(choose_image({}, "", "amd64", true).error().message, HasSubstr("there are: none"));
}

TEST(ImageIndex, ANameHasPlatformsOfItsOwn) {
  auto all =
      index(entry("amd64", "one") + "," + entry("arm64", "two") + "," + entry("amd64", "two"));
  EXPECT_EQ(choose_image(all, "two", "amd64", true)->architecture, "amd64");
  EXPECT_EQ(choose_image(all, "three", "amd64", true).error().code, Code::kNotFound);
}

TEST(ImageIndex, WhatIsNoneIsRefused) {
  for (const char* text : {"", "[]", "{}", R"({"manifests":{}})", R"({"manifests":[1]})",
                           R"({"manifests":[{"digest":"md5:0"}]})"})
    EXPECT_EQ(parse_image_index(text, {}).error().code, Code::kInvalid) << text;
  ImageLimits one;
  one.manifests_max = 1;
  EXPECT_FALSE(
      parse_image_index(R"({"manifests":[)" + entry("") + "," + entry("") + "]}", one).has_value());
  EXPECT_TRUE(check_layout_version(R"({"imageLayoutVersion":"1.0.0"})").has_value());
  EXPECT_FALSE(check_layout_version(R"({"imageLayoutVersion":"2.0.0"})").has_value());
  EXPECT_FALSE(check_layout_version("{}").has_value());
}

TEST(ImageManifest, OnlyLayersThatCanBeReadAreTaken) {
  auto manifest = [](const std::string& config, const std::string& layers) {
    return parse_image_manifest(
        R"({"schemaVersion":2,"config":)" + config + R"(,"layers":[)" + layers + "]}", {});
  };
  const std::string config = descriptor("application/vnd.oci.image.config.v1+json");
  const std::string layer = descriptor("application/vnd.oci.image.layer.v1.tar+zstd");
  auto sound = manifest(config, layer + "," + layer);
  ASSERT_TRUE(sound.has_value()) << sound.error().message;
  EXPECT_EQ(sound->layers.size(), 2u);
  EXPECT_EQ(sound->layers[0].sha256, std::string(64, 'a'));
  EXPECT_THAT(manifest(config, descriptor("application/vnd.oci.image.layer.v1.tar+encrypted"))
                  .error()
                  .message,
              HasSubstr("layer.v1.tar+encrypted' are not read"));
  EXPECT_THAT(manifest(descriptor("application/vnd.oci.empty.v1+json"), layer).error().message,
              HasSubstr("no image to be run"));
  EXPECT_FALSE(parse_image_manifest(R"({"schemaVersion":1})", {}).has_value());
}

TEST(ImageConfig, SaysHowToRunIt) {
  auto config = parse_image_config(
      R"({"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[")" + kDigest + R"("]},
          "config":{"Entrypoint":["a"],"Cmd":null,"Env":["A=1"],"User":"7:8","StopSignal":"10"}})",
      {});
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_THAT(config->entrypoint, ElementsAre("a"));
  EXPECT_THAT(config->command, IsEmpty());
  EXPECT_EQ(config->env.at("A"), "1");
  EXPECT_EQ(config->stop_signal, 10);
  EXPECT_THAT(config->diff_ids, ElementsAre(std::string(64, 'a')));
  auto with = [](const std::string& members) {
    return parse_image_config(R"({"rootfs":{"diff_ids":[]},"config":{)" + members + "}}", {});
  };
  EXPECT_EQ(with(R"("StopSignal":"SIGTERM")")->stop_signal, SIGTERM);
  for (const char* wrong : {R"("Env":["A"])", R"("Env":["=1"])", R"("Env":{})", R"("Cmd":"sh")",
                            R"("Cmd":["a\u0000b"])", R"("WorkingDir":"a")",
                            R"("StopSignal":"SIGNAL")", R"("StopSignal":"99999")"})
    EXPECT_EQ(with(wrong).error().code, Code::kInvalid) << wrong;
  EXPECT_FALSE(parse_image_config(R"({"config":{}})", {}).has_value()) << "without diff_ids";
}

TEST(ImageUser, IsOneOfTheImage) {
  const char* passwd = "root:x:0:0::/root:\napp:x:10:20:App:/srv:/bin/sh\nbroken\n:x:y:\n";
  const char* group = "root:x:0:\napp:x:20:\nlog:x:30:app\nadmin:x:40:root,app\n";
  auto found = [&](const std::string& user) {
    auto u = find_image_user(user, passwd, group);
    return u ? fmt::format("{}:{} {} {}", u->uid, u->gid, fmt::join(u->groups, ","), u->home)
             : u.error().message;
  };
  EXPECT_EQ(found(""), "0:0 40 /root");
  EXPECT_EQ(found("app"), "10:20 30,40 /srv");
  EXPECT_EQ(found("10"), "10:20 30,40 /srv");
  EXPECT_EQ(found("app:log"), "10:30  /srv");
  EXPECT_EQ(found("99"), "99:0  /");
  EXPECT_EQ(found("99:98"), "99:98  /");
  EXPECT_THAT(found("nobody"), HasSubstr("user 'nobody' is not in its /etc/passwd"));
  EXPECT_THAT(found("app:nobody"), HasSubstr("group 'nobody' is not in its /etc/group"));
  EXPECT_THAT(found("4294967295"), HasSubstr("is not in")) << "which would mean nobody's";
}

}  // namespace
}  // namespace leeward::compute
