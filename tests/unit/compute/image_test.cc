// Images in layouts, whole, broken and hostile.
#include "compute/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "image_rig.h"
#include "processes.h"

namespace leeward::compute {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class Images : public ::testing::Test {
 private:
  TemporaryDirectory directory_;

 protected:
  DigestStore store = *DigestStore::open(directory() + "/store");
  LayoutDirectory layout{directory() + "/layout"};

  const std::string& directory() const { return directory_.path(); }
  std::string text(const std::string& path) const {
    auto read = read_file(image.root + "/" + path);
    return read ? *read : "(" + read.error().message + ")";
  }
  bool exists(const std::string& path) const {
    struct stat there {};
    return ::lstat((image.root + "/" + path).c_str(), &there) == 0;
  }
  struct stat about(const std::string& path) const {
    struct stat there {};
    ::lstat((image.root + "/" + path).c_str(), &there);
    return there;
  }
  // Unpacks the layout's image; the error's text, or nothing.
  std::string unpack(const ImageLimits& limits = {}, const std::string& name = "") {
    auto unpacked = unpack_image(layout.path() + name, store, limits);
    if (!unpacked) return unpacked.error().message;
    image = std::move(*unpacked);
    return "";
  }
  // One layer of these, on top of a file that a hostile one would like to change.
  std::string refused(const std::vector<TarPart>& parts, const ImageLimits& limits = {}) {
    layout.layer(parts);
    layout.write_image();
    std::string why = unpack(limits);
    EXPECT_EQ(read_file(outside()).value_or(""), "untouched");
    EXPECT_TRUE(std::filesystem::is_empty(directory() + "/store")) << "something is left behind";
    return why;
  }
  std::string outside() const { return directory() + "/outside"; }
  void SetUp() override { ASSERT_TRUE(write_file_durably(outside(), "untouched").has_value()); }

  Image image;
};

TEST_F(Images, AreUnpackedOnceWithWhatTheirConfigurationSays) {
  layout.layer({{"etc/", '5', "", "", 0755},
                {"etc/passwd", '0', "root:x:0:0::/root:/bin/sh\napp:x:77:78::/srv:/bin/sh\n"},
                {"etc/group", '0', "root:x:0:\napp:x:78:\nlog:x:79:web,app\n"},
                {"bin/tool", '0', "#!/bin/sh\n", "", 04755}});
  layout.config(R"("Entrypoint":["/bin/tool"],"Cmd":["serve"],"Env":["A=1","B=x=y"],)"
                R"("WorkingDir":"/srv/app","User":"app","StopSignal":"SIGQUIT")");
  std::string digest = layout.write_image();
  EXPECT_EQ(*find_image(layout.path()), digest);
  ASSERT_EQ(unpack(), "");
  EXPECT_EQ(image.digest, digest);
  EXPECT_EQ(image.root, directory() + "/store/" + digest + "/root");
  EXPECT_EQ(text("bin/tool"), "#!/bin/sh\n");
  EXPECT_EQ(about("bin/tool").st_mode & 07777, 0755u) << "without set-user-ID";
  EXPECT_EQ(about("bin/tool").st_mtime, 1'000'000'000);
  for (const char* place : {"dev", "proc", "run", "sys", "tmp", "srv/app"})
    EXPECT_TRUE(S_ISDIR(about(place).st_mode)) << place;
  EXPECT_EQ(image.user.uid, 77u);
  EXPECT_EQ(image.user.gid, 78u);
  EXPECT_THAT(image.user.groups, ElementsAre(79u));

  auto process = in_image({{}, {{"B", "z"}}, ""}, image);
  ASSERT_TRUE(process.has_value());
  EXPECT_THAT(process->argv, ElementsAre("/bin/tool", "serve"));
  EXPECT_THAT(process->env, UnorderedElementsAre(
                                std::pair{"A", "1"}, std::pair{"B", "z"}, std::pair{"HOME", "/srv"},
                                std::pair{"PATH",
                                          "/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                                          "/usr/bin:/sbin:/bin"}));
  EXPECT_EQ(process->root->directory, "/srv/app");
  EXPECT_EQ(process->stop_signal, SIGQUIT);
  EXPECT_THAT(in_image({{"other"}, {}, "/"}, image)->argv, ElementsAre("other"));

  std::filesystem::remove_all(layout.path());
  auto again = stored_image(digest, store);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->config.entrypoint, image.config.entrypoint);
}

TEST_F(Images, LayersOfEveryPackingLieOverEachOther) {
  std::string lowest = tar({{"a/one", '0', "1"},
                            {"a/two", '0', "2"},
                            {"b/deep/three", '0', "3"},
                            {"c", '0', "c"},
                            {"d/x", '0', "x"},
                            {"lib", '2', "", "usr/lib"},
                            {"usr/lib/", '5', "", "", 0755}});
  layout.layer(lowest, lowest, "");
  std::string middle = tar({{"a/.wh.one"},
                            {"a/four", '0', "4"},
                            {"b/.wh..wh..opq"},
                            {"b/deep/five", '0', "5"},
                            {"c/", '5', "", "", 0755},
                            {"c/inside", '0', "i"},
                            {".wh.d"},
                            {"lib/through", '0', "t"}});
  layout.layer(zstd(middle), middle, "+zstd");
  layout.layer({{"c/inside", '0', "replaced"}, {"hard", '1', "", "a/two"}, {"d", '0', "file"}});
  layout.write_image();
  ASSERT_EQ(unpack(), "");
  EXPECT_FALSE(exists("a/one"));
  EXPECT_EQ(text("a/two") + text("a/four"), "24");
  EXPECT_FALSE(exists("b/deep/three")) << "opaque, with the directory of the same layer";
  EXPECT_EQ(text("b/deep/five"), "5");
  EXPECT_EQ(text("c/inside"), "replaced");
  EXPECT_EQ(text("d"), "file");
  EXPECT_EQ(text("usr/lib/through"), "t") << "through a link that stays inside";
  EXPECT_EQ(about("hard").st_ino, about("a/two").st_ino);
}

TEST_F(Images, AnOpaqueMarkSparesItsOwnLayerWhereverItStands) {
  layout.layer({{"a/old", '0', "old"}, {"a/sub/old", '0', "old"}});
  layout.layer({{"a/new", '0', "new"}, {"a/sub/new", '0', "new"}, {"a/.wh..wh..opq"}});
  layout.write_image();
  ASSERT_EQ(unpack(), "");
  EXPECT_FALSE(exists("a/old"));
  EXPECT_FALSE(exists("a/sub/old"));
  EXPECT_EQ(text("a/new") + text("a/sub/new"), "newnew");
}

TEST_F(Images, NamesOutsideAsciiStayAsTheyAre) {
  // "é" as one character and as two; a normalising reader would make them one file.
  auto called = [](const std::string& path) {
    return TarPart{"pax", 'x', fmt::format("{} path={}\n", path.size() + 9, path)};
  };
  layout.layer({called("caf\xc3\xa9-x"),
                {"plain", '0', "composed"},
                called("cafe\xcc\x81-x"),
                {"plain", '0', "decomposed"}});
  layout.write_image();
  ASSERT_EQ(unpack(), "");
  EXPECT_EQ(text("caf\xc3\xa9-x"), "composed");
  EXPECT_EQ(text("cafe\xcc\x81-x"), "decomposed");
}

TEST_F(Images, NothingLeadsOut) {
  EXPECT_THAT(refused({{"../outside", '0', "x"}}), HasSubstr("leads up"));
  EXPECT_THAT(refused({{"a/../../outside", '0', "x"}}), HasSubstr("leads up"));
  EXPECT_THAT(refused({{"hard", '1', "", "../outside"}}), HasSubstr("leads up"));
  EXPECT_THAT(refused({{"hard", '1', "", outside()}}), HasSubstr("which is no file in it"));
  EXPECT_THAT(refused({{"up", '2', "", "/"}, {"hard", '1', "", "up" + outside()}}),
              HasSubstr("which is no file in it"));
  EXPECT_THAT(refused({{"a/.wh..."}}), HasSubstr("hides nothing"));
}

TEST_F(Images, WhatLeadsOutByALinkStaysInside) {
  layout.layer({{"up", '2', "", "../../../.."},
                {"root", '2', "", directory()},
                {"up" + outside(), '0', "x"},
                {"root/outside", '0', "y"},
                {"root/.wh.store"},
                {"/absolute", '0', "z"},
                {"passwd", '2', "", "/etc/passwd"}});
  layout.write_image();
  ASSERT_EQ(unpack(), "");
  EXPECT_EQ(*read_file(outside()), "untouched");
  EXPECT_EQ(text(outside()), "y") << "below the image's own root";
  EXPECT_EQ(text("absolute"), "z");
}

TEST_F(Images, AUsersFileIsNotTheMachines) {
  layout.layer({{"etc/passwd", '2', "", "/../../../../../../../etc/passwd"}});
  layout.config(R"("User":"daemon")");
  layout.write_image();
  EXPECT_THAT(unpack(), HasSubstr("user 'daemon' is not in its /etc/passwd"));
}

TEST_F(Images, DevicesAreLeftOut) {
  layout.layer({{"dev/sda", '3'}, {"block", '4'}, {"pipe", '6'}, {"file", '0', "f"}});
  layout.write_image();
  ASSERT_EQ(unpack(), "");
  EXPECT_FALSE(exists("dev/sda"));
  EXPECT_FALSE(exists("block"));
  EXPECT_TRUE(S_ISFIFO(about("pipe").st_mode));
  EXPECT_EQ(text("file"), "f");
}

TEST_F(Images, BoundsHold) {
  ImageLimits small;
  small.content_bytes_max = 1u << 20;
  small.entries_max = 20;
  EXPECT_THAT(refused({{"bomb", '0', std::string(2u << 20, '\0')}}, small),
              HasSubstr("1048576 bytes"));
  EXPECT_THAT(refused({{"huge", '0', "", "", 0644, std::uint64_t{8} << 30}}, small),
              HasSubstr("larger than 1048576 bytes"));
  std::vector<TarPart> many;
  for (int i = 0; i < 30; ++i) many.push_back({fmt::format("f{}", i)});
  EXPECT_THAT(refused(many, small), HasSubstr("more than 20 entries"));
  std::string deep;
  for (int i = 0; i < 15; ++i) deep += "d/";
  EXPECT_THAT(refused({{deep + "a"}, {"e/" + deep + "b"}}, small),
              HasSubstr("more than 20 entries"));
}

TEST_F(Images, NoPathGetsDeeperThanTheBoundByLinks) {
  std::string step;
  for (int i = 0; i < 45; ++i) step += i == 0 ? "x" : "/x";
  std::vector<TarPart> parts{{step, '5'}, {"l0", '2', "", step}};
  for (int i = 1; i < 8; ++i) {
    std::string deeper = fmt::format("l{}/{}", i - 1, step);
    parts.push_back({deeper, '5'});
    parts.push_back({fmt::format("l{}", i), '2', "", deeper});
  }
  EXPECT_THAT(refused(parts), HasSubstr("lies too deep"));
  EXPECT_THAT(refused({{"x", '0', "x"}, {"x", '1', "", "x"}}), HasSubstr("link to itself"));
}

TEST_F(Images, WhatIsDamagedIsRefused) {
  const std::string content = tar({{"file", '0', std::string(100'000, 'f')}});
  auto with_layer = [&](const std::string& packed, const std::string& unpacked) {
    layout.layer(packed, unpacked);
    layout.write_image();
    std::string why = unpack();
    EXPECT_TRUE(std::filesystem::is_empty(directory() + "/store"));
    return why;
  };
  std::string cut = gzip(content);
  cut.resize(cut.size() / 2);
  EXPECT_THAT(with_layer(cut, content), HasSubstr("truncated gzip"));
  std::string cut_zstd = zstd(content);
  cut_zstd.resize(cut_zstd.size() / 2);
  EXPECT_THAT(with_layer(cut_zstd, content), HasSubstr("layer sha256:"));
  EXPECT_THAT(with_layer(gzip(content.substr(0, 5000)), content), HasSubstr("damaged archive"));
  EXPECT_THAT(with_layer(gzip("no tar at all"), content), HasSubstr("damaged archive"));
  EXPECT_THAT(with_layer(gzip(content), content + "x"),
              HasSubstr("not what the configuration says"));
}

TEST_F(Images, EveryBlobMustBeWhatItsDigestSays) {
  const std::string packed = gzip(tar({{"file", '0', "f"}}));
  auto break_blob = [&](const std::string& name, const std::string& text) {
    layout.write(layout.blob_path(name), text);
    std::string why = unpack();
    EXPECT_TRUE(std::filesystem::is_empty(directory() + "/store"));
    return why;
  };
  layout.layer(packed, tar({{"file", '0', "f"}}));
  std::string config = layout.write_image();
  EXPECT_THAT(break_blob(sha256_hex(packed), gzip(tar({{"file", '0', "g"}}))),
              HasSubstr("not what its digest says"));
  EXPECT_THAT(break_blob(sha256_hex(packed), packed + std::string(1000, 'x')),
              HasSubstr("there is more in it than"));
  layout.write(layout.blob_path(sha256_hex(packed)), packed);
  ASSERT_TRUE(find_image(layout.path()).has_value());
  std::string text = *read_file(layout.path() + "/" + layout.blob_path(config));
  EXPECT_THAT(break_blob(config, text + " "), HasSubstr("not what its digest says"));
  std::filesystem::remove(layout.path() + "/" + layout.blob_path(config));
  EXPECT_THAT(unpack(), HasSubstr("it has no file blobs/sha256/" + config));
}

TEST_F(Images, AreFoundByTheirName) {
  layout.layer({{"file", '0', "one"}});
  std::string one = layout.write_image("v1");
  EXPECT_EQ(*find_image(layout.path()), one) << "the only one needs no name";
  layout.layer({{"file", '0', "two"}});
  std::string two = layout.write_image("v2");
  EXPECT_EQ(*find_image(layout.path() + ":v1"), one);
  EXPECT_EQ(*find_image(layout.path() + ":v2"), two);
  EXPECT_THAT(find_image(layout.path()).error().message, HasSubstr("there are 2 images in it"));
  auto none = find_image(layout.path() + ":v3");
  EXPECT_EQ(none.error().code, Code::kNotFound);
  EXPECT_THAT(none.error().message, HasSubstr("no image 'v3' in it; there are: v1 v2"));
}

TEST_F(Images, AreReadFromATarArchiveOfTheLayout) {
  layout.layer({{"file", '0', "packed twice"}});
  std::string digest = layout.write_image("v1");
  std::vector<TarPart> parts;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(layout.path()))
    if (entry.is_regular_file())
      parts.push_back({"./" + entry.path().lexically_relative(layout.path()).string(), '0',
                       *read_file(entry.path())});
  ASSERT_TRUE(write_file_durably(directory() + "/image.tar", tar(parts)).has_value());
  auto unpacked = unpack_image(directory() + "/image.tar:v1", store);
  ASSERT_TRUE(unpacked.has_value()) << unpacked.error().message;
  image = std::move(*unpacked);
  EXPECT_EQ(image.digest, digest);
  EXPECT_EQ(text("file"), "packed twice");
  ASSERT_TRUE(write_file_durably(directory() + "/other.tar", tar({{"a"}})).has_value());
  EXPECT_THAT(find_image(directory() + "/other.tar").error().message,
              HasSubstr("no OCI image layout"));
  ASSERT_TRUE(write_file_durably(directory() + "/text", "text").has_value());
  EXPECT_EQ(find_image(directory() + "/text").error().code, Code::kCorrupt);
  EXPECT_EQ(find_image(directory() + "/none").error().code, Code::kNotFound);
}

TEST_F(Images, OfAnotherMachineAreRefused) {
  layout.layer({{"file"}});
  layout.architecture = "pdp11";
  layout.write_image();
  EXPECT_THAT(unpack(), HasSubstr("it is for linux/pdp11, and this machine is linux/"));
}

TEST_F(Images, UnpackingCanBeCancelled) {
  layout.layer({{"file", '0', std::string(1u << 20, 'x')}});
  layout.write_image();
  std::atomic<bool> cancelled{true};
  auto stopped = unpack_image(layout.path(), store, {}, &cancelled);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code, Code::kUnavailable);
  EXPECT_TRUE(std::filesystem::is_empty(directory() + "/store"));
}

}  // namespace
}  // namespace leeward::compute
