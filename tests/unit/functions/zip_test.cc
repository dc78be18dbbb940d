// Archives as they are made, and as an attacker makes them.
#include "functions/zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"

namespace leeward::functions {
namespace {

using ::testing::HasSubstr;

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/leeward-zip-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string read(const std::string& name) const {
    return read_file(path_ + "/" + name).value_or("(nothing)");
  }

 private:
  std::string path_;
};

std::string message_of(const std::string& archive, const ZipLimits& limits = {}) {
  Folder folder;
  Status done = extract_zip(archive, folder.path(), limits);
  return done ? "taken" : done.error().message;
}

// Replaces every occurrence; both names have one length, so that no offset moves.
std::string renamed(std::string archive, const std::string& from, const std::string& to) {
  EXPECT_EQ(from.size(), to.size());
  for (auto at = archive.find(from); at != std::string::npos; at = archive.find(from, at + 1))
    archive.replace(at, from.size(), to);
  return archive;
}

// Sets bytes of the central directory's first entry, at an offset from its signature.
std::string with_directory_bytes(std::string archive, std::size_t offset, std::string bytes) {
  const auto at = archive.find(std::string("PK\x01\x02", 4));
  EXPECT_NE(at, std::string::npos);
  archive.replace(at + offset, bytes.size(), bytes);
  return archive;
}

TEST(Zip, UnpacksWhatItPacked) {
  Folder folder;
  const std::string large(300'000, 'x');
  const std::string archive = make_zip({{"app.py", "def handler(e, c): return e\n"},
                                        {"bin/bootstrap", "#!/bin/sh\n", true},
                                        {"deep/er/empty.txt", ""},
                                        {"large", large}});
  EXPECT_LT(archive.size(), 2000u);
  Status done = extract_zip(archive, folder.path());
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(folder.read("app.py"), "def handler(e, c): return e\n");
  EXPECT_EQ(folder.read("deep/er/empty.txt"), "");
  EXPECT_EQ(folder.read("large"), large);
  struct stat info {};
  ASSERT_EQ(::stat((folder.path() + "/bin/bootstrap").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0755u);
  ASSERT_EQ(::stat((folder.path() + "/app.py").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644u);
}

TEST(Zip, IsReadByPythonAndReadsPythons) {
  Folder folder;
  std::ofstream(folder.path() + "/ours.zip") << make_zip({{"a/b.txt", "ours"}});
  const std::string script =
      "cd " + folder.path() +
      " && /usr/bin/python3 -c \"import zipfile; z = zipfile.ZipFile('ours.zip'); "
      "assert z.testzip() is None and z.read('a/b.txt') == b'ours'\" && mkdir t && echo hello > "
      "t/f.txt && ln -s f.txt t/link && chmod 755 t/f.txt && cd t && /usr/bin/python3 -m zipfile "
      "-c "
      "../theirs.zip f.txt";
  ASSERT_EQ(std::system(script.c_str()), 0);
  std::filesystem::create_directory(folder.path() + "/out");
  Status done = extract_zip(folder.read("theirs.zip"), folder.path() + "/out");
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(folder.read("out/f.txt"), "hello\n");
}

TEST(Zip, RefusesPathsThatLeadOut) {
  const std::string archive = make_zip({{"aa/bbb/c", "x"}});
  EXPECT_EQ(message_of(archive), "taken");
  for (const char* path :
       {"../bbb/c", "/a/bbb/c", "aa/../cc", "aa//bb/c", "aa/bb/..", "./a/bb/c", "aa\\bbb/c"})
    EXPECT_THAT(message_of(renamed(archive, "aa/bbb/c", path)), HasSubstr("zip: '")) << path;
  EXPECT_THAT(message_of(renamed(archive, "aa/bbb/c", std::string("aa/bbb\0c", 8))),
              HasSubstr("NUL"));
}

TEST(Zip, RefusesLinksThatLeadOutAndNeverWritesThroughOne) {
  const std::string link_mode("\x00\x00\xff\xa1", 4);  // a link, in the upper half
  auto link_to = [&](const std::string& target) {
    return with_directory_bytes(make_zip({{"sub/link", target}}), 38, link_mode);
  };
  Folder folder;
  ASSERT_TRUE(extract_zip(link_to("../other/file"), folder.path()));
  EXPECT_EQ(std::filesystem::read_symlink(folder.path() + "/sub/link"), "../other/file");
  for (const char* target : {"/etc/passwd", "../../etc", "a/../../../b", ""})
    EXPECT_THAT(message_of(link_to(target)), HasSubstr("leads out")) << target;
  // A link named as a directory, then a file below it: the file makes a real directory, and the
  // link is in its way.
  const std::string both =
      with_directory_bytes(make_zip({{"door", "way"}, {"door/key", "x"}}), 38, link_mode);
  EXPECT_THAT(message_of(both), HasSubstr("in the way"));
}

// Makes links of the files at `paths`: their contents are the targets.
std::string with_links(std::string archive, const std::vector<std::string>& paths) {
  const std::string signature("PK\x01\x02", 4), link_mode("\x00\x00\xff\xa1", 4);
  std::size_t made = 0;
  for (auto at = archive.find(signature); at != std::string::npos;
       at = archive.find(signature, at + 1))
    for (const std::string& path : paths)
      if (static_cast<unsigned char>(archive[at + 28]) == path.size() &&
          archive.compare(at + 46, path.size(), path) == 0) {
        archive.replace(at + 38, 4, link_mode);
        ++made;
      }
  EXPECT_EQ(made, paths.size());
  return archive;
}

TEST(Zip, NoChainOfLinksLeadsOut) {
  // As the host keeps code: another directory is beside the one that it is unpacked into.
  Folder state;
  std::filesystem::create_directory(state.path() + "/events");
  std::filesystem::create_directories(state.path() + "/code/one");
  // d/e/f/up is the top, so that each ".." behind it goes up from there.
  const ZipSource file{"d/e/f/x", "x"}, up{"d/e/f/up", "../../.."};
  auto extract = [&](const ZipSource& link, const ZipSource& second) {
    const std::string archive =
        with_links(make_zip({file, up, link, second}), {up.path, link.path, second.path});
    Status done = extract_zip(archive, state.path() + "/code/one");
    std::filesystem::remove_all(state.path() + "/code/one");
    std::filesystem::create_directory(state.path() + "/code/one");
    return done ? "taken" : done.error().message;
  };
  // A directory outside, by what a link is to be made in.
  EXPECT_THAT(extract({"l", "d/e/f/up/../../events"}, {"l/a.json/x", "y"}), HasSubstr("leads out"));
  EXPECT_TRUE(std::filesystem::is_empty(state.path() + "/events"));
  // A directory outside, by a name that the host looks into.
  EXPECT_THAT(extract({"extensions", "d/e/f/up/d/e/f/up/../../../../../../../../etc"}, {"z", "d"}),
              HasSubstr("leads out"));
  EXPECT_THAT(extract({"l", "./up/.."}, {"z", "d"}), HasSubstr("leads out"));
  EXPECT_THAT(extract({"l", "../events"}, {"z", "d"}), HasSubstr("leads out"));
  // Without a ".." behind a name they may be chained, and stay inside.
  EXPECT_EQ(extract({"l", "d/e/f/up/d"}, {"d/e/m", "../../l/e"}), "taken");
  // What a link would have to be made through is a directory by then.
  EXPECT_THAT(extract({"l", "d"}, {"l/a/x", "y"}), HasSubstr("'l' is in the way"));
  EXPECT_THAT(extract({"l/a/x", "y"}, {"l", "d"}), HasSubstr("'l' is in the way"));
  EXPECT_THAT(extract({"l", "d"}, {"d/e/f/x/y", "z"}), HasSubstr("'d/e/f/x/y' is in the way"));
}

TEST(Zip, MakesTheLinksThatPackagesHave) {
  Folder folder;
  const std::string archive = with_links(
      make_zip({{"node_modules/.bin/tool", "../tool/bin/tool.js"},
                {"node_modules/tool/bin/tool.js", "run()"},
                {"lib64", "lib"},
                {"lib/libshop.so", "libshop.so.1"},
                {"lib/libshop.so.1", "./libshop.so.1.2"},
                {"lib/libshop.so.1.2", "machine code"},
                {"only/links/here", "../../lib64/libshop.so"}}),
      {"node_modules/.bin/tool", "lib64", "lib/libshop.so", "lib/libshop.so.1", "only/links/here"});
  Status done = extract_zip(archive, folder.path());
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(folder.read("node_modules/.bin/tool"), "run()");
  for (const char* path : {"lib64/libshop.so", "lib64/libshop.so.1.2", "only/links/here"})
    EXPECT_EQ(folder.read(path), "machine code") << path;
}

TEST(Zip, RefusesBombs) {
  const std::string big(1u << 20, '\0');
  const std::string archive = make_zip({{"a", big}, {"b", big}, {"c", big}});
  EXPECT_LT(archive.size(), 8000u);
  EXPECT_THAT(message_of(archive, {.content_bytes_max = 2u << 20}), HasSubstr("unpacked"));
  EXPECT_THAT(message_of(archive, {.entries_max = 2}), HasSubstr("3 entries"));
  EXPECT_THAT(message_of(archive, {.archive_bytes_max = 100}), HasSubstr("at most 100"));
  // It says that it is small, and is not.
  EXPECT_THAT(message_of(with_directory_bytes(archive, 24, std::string("\x10\0\0\0", 4))),
              HasSubstr("does not unpack to the size"));
  // It says that it is far larger than it can be.
  EXPECT_THAT(
      message_of(with_directory_bytes(make_zip({{"a", "x"}}), 24, std::string("\0\0\0\x0f", 4))),
      HasSubstr("more than its packed bytes"));
}

TEST(Zip, RefusesOverlappingEntries) {
  // Two directory entries of one stored body: what makes a quadratic bomb.
  std::string one = make_zip({{"a", std::string(5000, 'q')}, {"b", std::string(5000, 'q')}});
  const auto second = one.rfind(std::string("PK\x01\x02", 4));
  // Entry b points at a's local header; its name differs from the one there.
  one.replace(second + 42, 4, std::string(4, '\0'));
  EXPECT_THAT(message_of(one), HasSubstr("another name"));
}

TEST(Zip, RefusesWhatIsDamaged) {
  const std::string archive = make_zip({{"app.py", "print('hello hello hello')"}});
  EXPECT_THAT(message_of(""), HasSubstr("not a zip"));
  EXPECT_THAT(message_of(std::string(100, 'x')), HasSubstr("not a zip"));
  for (std::size_t size = 0; size < archive.size(); ++size)
    EXPECT_NE(message_of(archive.substr(0, size)), "taken") << size;
  EXPECT_THAT(message_of(with_directory_bytes(archive, 16, "abcd")), HasSubstr("check sum"));
  EXPECT_THAT(message_of(with_directory_bytes(archive, 8, std::string("\x01\0", 2))),
              HasSubstr("encrypted"));
  EXPECT_THAT(message_of(with_directory_bytes(archive, 10, std::string("\x0e\0", 2))),
              HasSubstr("method 14"));
  EXPECT_THAT(message_of(make_zip({{"same", "1"}, {"same", "2"}})), HasSubstr("twice"));
  EXPECT_THAT(message_of(with_directory_bytes(archive, 38, std::string("\0\0\xa4\x21", 4))),
              HasSubstr("neither file"));  // a device
}

}  // namespace
}  // namespace leeward::functions
