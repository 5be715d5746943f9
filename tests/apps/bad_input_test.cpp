#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "big_file.hpp"
#include "command.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class BadInputTest : public ::testing::Test {
 protected:
  std::string at(std::string_view name) const { return (directory_ / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& each : fs::directory_iterator(directory_.path())) found.push_back(each.path().filename().string());
    return found;
  }
  // A file with one dataset of each kind that is awkward.
  void make_odd_file(const std::string& python) const {
    const auto result = run_python(python, R"(
import sys, h5py, numpy as np
f = h5py.File(sys.argv[1], 'w')
f['text'] = np.array([b'a', b'bc'])
f['pairs'] = np.zeros(3, dtype=[('a', 'f4'), ('b', 'i2')])
f['x'] = np.arange(12, dtype='f8').reshape(3, 4)
f['y'] = np.arange(5, dtype='f8')
f['scalar'] = np.float32(2.5)
f['none'] = np.zeros((0, 3), 'i4')
f['null'] = h5py.Empty('f4')
f.create_dataset('huge', shape=(2**40,), dtype='f4', chunks=(2**16,), compression='gzip', fillvalue=1.5)
d = f.create_dataset('sparse', shape=(2**40,), dtype='i2', chunks=(2**16,), shuffle=True)
d[5] = 7
d[2**39] = -9
)",
                                   {at("odd.h5")});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  TemporaryDirectory directory_;
};

TEST_F(BadInputTest, AFileThatIsNotThereOrNotHdf5OrTruncated) {
  expect_one_line(runrig({"stats", at("absent.h5")}), 1, {"absent.h5", "No such file or directory"});
  std::ofstream(at("text.h5")) << "not HDF5 at all\n";
  expect_one_line(runrig({"info", at("text.h5")}), 1, {"text.h5", "not an HDF5 file"});
  std::ofstream(at("empty.h5")).flush();
  expect_one_line(runrig({"info", at("empty.h5")}), 1, {"empty.h5"});
  make_big_file(at("cut.h5"), 64);
  fs::resize_file(at("cut.h5"), fs::file_size(at("cut.h5")) - 1);
  expect_one_line(runrig({"stats", at("cut.h5")}), 1, {"cut.h5", "truncated"});
  expect_one_line(runrig({"stats", directory_.path().string()}), 1, {"directory"});
  ASSERT_EQ(::mkfifo(at("fifo.h5").c_str(), 0600), 0);
  expect_one_line(runrig({"stats", at("fifo.h5")}), 1, {"fifo.h5"});
}

TEST_F(BadInputTest, TheGoodFilesBesideABadOneAreDone) {
  make_big_file(at("good.h5"), 64);
  const auto result = runrig({"stats", "--json", at("absent.h5"), at("good.h5")});
  EXPECT_EQ(result.exit_code, 1);
  const auto json = nlohmann::json::parse(result.out);
  ASSERT_EQ(json["results"].size(), 1U);
  EXPECT_EQ(json["results"][0]["count"], 64 * 1024);
  ASSERT_EQ(json["errors"].size(), 1U);
  EXPECT_EQ(json["errors"][0]["file"], at("absent.h5"));
}

TEST_F(BadInputTest, ADatasetThatIsNotThereOrHasNoNumbers) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  make_odd_file(python);
  expect_one_line(runrig({"stats", at("odd.h5"), "-d", "/nope"}), 1, {"/nope"});
  expect_one_line(runrig({"stats", at("odd.h5"), "-d", "/text"}), 1, {"/text", "string"});
  expect_one_line(runrig({"stats", at("odd.h5"), "-d", "/pairs"}), 1, {"/pairs", "compound"});
  expect_one_line(runrig({"map", "a+1", at("odd.h5"), "-i", "a=/text", "-o", at("o.h5")}), 1, {"string"});
  EXPECT_FALSE(fs::exists(at("o.h5")));
}

TEST_F(BadInputTest, AWrongSelection) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  make_odd_file(python);
  expect_one_line(runrig({"stats", at("odd.h5"), "-d", "/x[9]"}), 1, {"index 9", "3 elements"});
  expect_one_line(runrig({"stats", at("odd.h5"), "-d", "/x[0, 0, 0]"}), 1, {"/x"});
  expect_one_line(runrig({"stats", at("odd.h5"), "-d", "/x[::0]"}), 2, {"[::0]"});
  expect_one_line(runrig({"stats", at("odd.h5"), "-d", "/x[1:"}), 2, {"column"});
  EXPECT_EQ(runrig({"stats", at("odd.h5"), "-d", "/x[..., ::-2]"}).exit_code, 0);
}

TEST_F(BadInputTest, AnExpressionThatIsWrongIsPointedAt) {
  make_big_file(at("in.h5"), 64);
  const auto map = [&](const std::string& expression) {
    return runrig({"map", expression, at("in.h5"), "-i", "x=/x", "-o", at("o.h5")});
  };
  expect_one_line(map("x +* 2"), 2, {"x +* 2", "column 4"});
  expect_one_line(map("sqrt(x"), 2, {"column 7"});
  expect_one_line(map("x + yy"), 2, {"unknown name 'yy'", "column 5"});
  expect_one_line(map("sqr(x)"), 2, {"sqr"});
  expect_one_line(map(""), 2, {"expression"});
  expect_one_line(map("1 + 2"), 2, {"no input"});
  expect_one_line(map(std::string(10000, '(')), 2, {"column"});
  EXPECT_THAT(names(), ::testing::ElementsAre("in.h5"));
}

TEST_F(BadInputTest, ShapesThatDoNotMatchAreBothNamed) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  make_odd_file(python);
  expect_one_line(runrig({"map", "x + y", at("odd.h5"), "-i", "x=/x", "-i", "y=/y", "-o", at("o.h5")}), 1,
                  {"x is (3, 4)", "y is (5,)"});
}

TEST_F(BadInputTest, OutputsThatCannotBeAreRefusedBeforeAnyWork) {
  make_big_file(at("a.h5"), 64);
  make_big_file(at("b.h5"), 64);
  std::ofstream(at("old.h5")) << "old";
  const auto map = [&](const std::string& output, std::vector<std::string> more = {}) {
    std::vector<std::string> words{"map", "x", at("a.h5"), "-i", "x=/x", "-o", output};
    words.insert(words.end(), more.begin(), more.end());
    return runrig(words);
  };
  expect_one_line(map(at("old.h5")), 2, {"old.h5", "--overwrite"});
  EXPECT_EQ(fs::file_size(at("old.h5")), 3U);
  expect_one_line(map(at("a.h5")), 2, {"input"});
  expect_one_line(map(at("o.h5"), {at("b.h5")}), 2, {"a.h5", "b.h5", "{stem}"});
  expect_one_line(map(at("{stem}.h5"), {at("b.h5")}), 2, {"input"});
  expect_one_line(map(at("missing/o.h5")), 1, {"missing", "No such file or directory"});
  expect_one_line(map(at("{what}.h5")), 2, {"{what}", "{stem}"});
  EXPECT_EQ(map(at("old.h5"), {"--overwrite"}).exit_code, 0);
  EXPECT_GT(fs::file_size(at("old.h5")), 1000U);
  EXPECT_THAT(names(), ::testing::UnorderedElementsAre("a.h5", "b.h5", "old.h5"));
}

TEST_F(BadInputTest, AReadOnlyDirectoryIsNamed) {
  make_big_file(at("in.h5"), 64);
  fs::create_directory(at("locked"));
  fs::permissions(at("locked"), fs::perms::owner_read | fs::perms::owner_exec);
  if (::access(at("locked").c_str(), W_OK) == 0) {
    // Root may write anywhere; so as somebody else.
    fs::permissions(directory_.path(), fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
    fs::permissions(at("locked"),
                    fs::perms::all & ~(fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write));
    const std::vector<std::string> somebody{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                            runrig_command()};
    auto words = somebody;
    words.push_back("--version");
    if (run_command(words).exit_code != 0) GTEST_SKIP() << "the command cannot be run as another user";
    words = somebody;
    for (const std::string each : {"map", "x", "in.h5", "-i", "x=/x", "-o", "locked/o.h5"})
      words.push_back(each.ends_with(".h5") ? at(each) : each);
    expect_one_line(run_command(words), 1, {"locked", "Permission denied"});
    return;
  }
  expect_one_line(runrig({"map", "x", at("in.h5"), "-i", "x=/x", "-o", at("locked/o.h5")}), 1,
                  {"locked", "Permission denied"});
}

TEST_F(BadInputTest, AFullDiskLeavesTheOldFileAndSaysSo) {
  make_big_file(at("in.h5"), 2048);
  for (const std::string limit : {"0", "1000", "100000", "1000000"}) {
    for (const std::string old : {"", "old"}) {
      fs::create_directory(at("disk"));
      if (!old.empty()) std::ofstream(at("disk/o.h5")) << old;
      const auto result = runrig(
          {"map", "x*2+1", at("in.h5"), "-i", "x=/x", "-o", at("disk/o.h5"), "--overwrite"}, std::chrono::seconds(60),
          {"LD_PRELOAD=" RUNRIG_FULL_DISK_SHIM, "RUNRIG_FULL_DISK=" + at("disk"), "RUNRIG_FULL_DISK_BYTES=" + limit});
      expect_one_line(result, 1, {"No space left on device"});
      EXPECT_EQ(fs::exists(at("disk/o.h5")), !old.empty());
      EXPECT_EQ(std::distance(fs::directory_iterator(at("disk")), {}), old.empty() ? 0 : 1)
          << "a temporary file was left";
      if (!old.empty()) {
        EXPECT_EQ(fs::file_size(at("disk/o.h5")), old.size());
      }
      fs::remove_all(at("disk"));
    }
  }
}

TEST_F(BadInputTest, AFullDevShmDoesNotStopTheCommand) {
  make_big_file(at("in.h5"), 2048);
  const std::string script =
      "mount -t tmpfs -o size=4k none /dev/shm && { dd if=/dev/zero of=/dev/shm/full 2>/dev/null; exec \"$@\"; }";
  const auto probe = run_command({"unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", "true"});
  if (probe.exit_code != 0) GTEST_SKIP() << "no mount namespaces for this user: " << probe.err;
  const auto result = run_command({"unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", runrig_command(),
                                   "map", "x*2+1", at("in.h5"), "-i", "x=/x", "-o", at("o.h5")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(is_right_result(at("o.h5"), 2048));
}

TEST_F(BadInputTest, ZeroSizeScalarAndNullDatasetsAreValid) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  make_odd_file(python);
  const auto result = runrig({"stats", "--json", at("odd.h5"), "-d", "/none", "-d", "/scalar", "-d", "/null"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out)["results"];
  ASSERT_EQ(json.size(), 3U);
  EXPECT_EQ(json[0]["count"], 0);
  EXPECT_TRUE(json[0]["min"].is_null());
  EXPECT_EQ(json[1]["sum"], 2.5);
  EXPECT_EQ(json[2]["count"], 0);
  for (const std::string each : {"none", "scalar", "null"}) {
    EXPECT_EQ(runrig({"map", "a*2", at("odd.h5"), "-i", "a=/" + each, "-o", at("o-" + each + ".h5")}).exit_code, 0)
        << each;
  }
  const auto scaled = runrig({"map", "x*s", at("odd.h5"), "-i", "x=/x", "-i", "s=/scalar", "-o", at("scaled.h5")});
  EXPECT_EQ(scaled.exit_code, 0) << scaled.err;
}

TEST_F(BadInputTest, AHeaderThatClaimsTwoToTheFortyElementsCostsNothing) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  make_odd_file(python);
  const auto result =
      runrig({"stats", "--json", at("odd.h5"), "-d", "/huge", "-d", "/sparse"}, std::chrono::seconds(60));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out)["results"];
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[0]["count"], std::uint64_t{1} << 40);
  EXPECT_EQ(json[0]["mean"], 1.5);
  EXPECT_EQ(json[0]["std"], 0);
  EXPECT_EQ(json[1]["count"], std::uint64_t{1} << 40);
  EXPECT_EQ(json[1]["min"], -9);
  EXPECT_EQ(json[1]["max"], 7);
  EXPECT_EQ(json[1]["sum"], -2);
  const auto map = runrig({"map", "h*2", at("odd.h5"), "-i", "h=/huge", "-o", at("o.h5")}, std::chrono::seconds(60));
  EXPECT_EQ(map.exit_code, 0) << map.err;
  EXPECT_LT(fs::file_size(at("o.h5")), 1U << 20);
  const auto read = run_python(
      python, "import sys,h5py; d = h5py.File(sys.argv[1])['result']; print(d.shape, d[2**39])", {at("o.h5")});
  EXPECT_EQ(read.out, "(1099511627776,) 3.0\n") << read.err;
}

}  // namespace
}  // namespace runrig::test
