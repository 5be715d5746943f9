#include "output_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <set>

#include "runrig/hdf5/codec.hpp"
#include "sha256.hpp"
#include "support.hpp"

namespace runrig::batch {
namespace {

namespace fs = std::filesystem;

TEST(Sha256Test, HasTheStandardsExamples) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

class OutputRecordTest : public ::testing::Test {
 protected:
  void put(std::string_view text) const { std::ofstream(path_, std::ios::binary) << text; }
  static std::string content(std::size_t bytes) { return std::string(bytes, 'x'); }

  test::TemporaryDirectory directory_;
  const std::string path_ = directory_ / "out.h5";
  const OutputRecord record_{sha256_hex("request"), sha256_hex("inputs"), "1.2.3"};
};

TEST_F(OutputRecordTest, IsReadBackFromTheEndOfTheFile) {
  for (const std::size_t bytes : {0U, 1U, 1000U}) {
    put(content(bytes) + record_text(record_, bytes));
    EXPECT_EQ(read_record(path_), record_) << bytes;
    EXPECT_EQ(fs::file_size(path_), bytes + record_bytes);
  }
}

TEST_F(OutputRecordTest, IsGoneFromAFileThatWasCutOrGrewOrWasChangedThere) {
  const std::string whole = content(1000) + record_text(record_, 1000);
  put(whole.substr(0, whole.size() - 1));
  EXPECT_EQ(read_record(path_), std::nullopt);
  put(whole + "\n");
  EXPECT_EQ(read_record(path_), std::nullopt);
  put(content(999) + record_text(record_, 1000));
  EXPECT_EQ(read_record(path_), std::nullopt);
  put(content(100));
  EXPECT_EQ(read_record(path_), std::nullopt);
  for (std::size_t i = 1000; i < whole.size(); ++i) {
    std::string other = whole;
    other[i] = other[i] == '~' ? '!' : '~';
    put(other);
    EXPECT_NE(read_record(path_), record_) << i;
  }
}

TEST_F(OutputRecordTest, OfAFileThatIsNotThereIsAnError) {
  EXPECT_EQ(test::thrown_code([&] { (void)read_record(path_); }), std::errc::no_such_file_or_directory);
}

TEST_F(OutputRecordTest, TellsEachPartOfARequest) {
  using Change = std::function<void(MapRequest&)>;
  MapRequest first;
  first.inputs = {{"u", hdf5::parse_dataset_ref("/u")}, {"v", hdf5::parse_dataset_ref("/v[0:4]")}};
  first.outputs = {{"u+v", "/sum"}, {"u-v", "/difference"}};
  first.storage.filters = hdf5::parse_filters("shuffle,deflate:4");
  const std::vector<Change> changes{
      [](auto& request) { request.inputs[0].name = "w"; },
      [](auto& request) { request.inputs[0].dataset = hdf5::parse_dataset_ref("/uu"); },
      [](auto& request) { request.inputs[0].dataset = hdf5::parse_dataset_ref("other.h5:/u"); },
      [](auto& request) { request.inputs[1].dataset = hdf5::parse_dataset_ref("/v[0:5]"); },
      [](auto& request) { request.inputs[1].dataset = hdf5::parse_dataset_ref("/v"); },
      [](auto& request) { request.inputs.pop_back(); },
      [](auto& request) { std::swap(request.outputs[0], request.outputs[1]); },
      [](auto& request) { request.outputs[0].expression = "u+ v"; },
      [](auto& request) { request.outputs[0].to = "/u+v"; },
      [](auto& request) { request.outputs.pop_back(); },
      [](auto& request) { request.dtype = DType::float32; },
      [](auto& request) { request.storage.filters.reset(); },
      [](auto& request) { request.storage.filters->clear(); },
      [](auto& request) { request.storage.filters = hdf5::parse_filters("shuffle,deflate:5"); },
      [](auto& request) { request.storage.filters = hdf5::parse_filters("shuffle,deflate:fast"); },
      [](auto& request) { request.storage.chunks = hdf5::StorageOptions::Chunks::automatic; },
      [](auto& request) {
        request.storage.chunk = Shape{8, 8};
      },
      [](auto& request) { request.provenance = false; },
      [](auto& request) {
        request.kernel = MapKernel{"./libk.so", "f", ""};
      },
      [](auto& request) {
        request.kernel = MapKernel{"./libk.so", "g", ""};
      },
      [](auto& request) {
        request.kernel = MapKernel{"./libk.so", "f", "p"};
      },
  };
  std::vector<std::string> texts{request_text(first, {})};
  Options conventions;
  conventions.conventions = true;
  texts.push_back(request_text(first, conventions));
  EXPECT_NE(texts[0], texts[1]);
  for (const Change& change : changes) {
    MapRequest other = first;
    change(other);
    const std::string text = request_text(other, {});
    EXPECT_THAT(texts, ::testing::Not(::testing::Contains(text))) << "change " << texts.size();
    texts.push_back(text);
  }
  // Where the files lie, and what to do with files that exist, changes nothing in them.
  MapRequest same = first;
  same.files = {"a.h5"};
  same.output = "b.h5";
  same.existing = MapRequest::Existing::overwrite;
  same.resume = true;
  EXPECT_EQ(request_text(same, {}), texts[0]);
}

TEST_F(OutputRecordTest, TellsEachPartOfAReductionAndOfARepack) {
  using Change = std::function<void(ReduceRequest&)>;
  ReduceRequest first;
  first.datasets = {hdf5::parse_dataset_ref("/u")};
  first.axes = {0};
  const std::vector<Change> changes{
      [](auto& request) { request.operation = ReduceOperation::parse("mean"); },
      [](auto& request) { request.operation = ReduceOperation::parse("quantile:0.25"); },
      [](auto& request) { request.operation = ReduceOperation::parse("quantile:0.26"); },
      [](auto& request) { request.operation = ReduceOperation::parse("histogram:10"); },
      [](auto& request) {
        request.operation = ReduceOperation::parse("histogram:10");
        request.operation.range = HistogramRange{0, 1};
      },
      [](auto& request) { request.nan = NanPolicy::skip; },
      [](auto& request) { request.datasets[0] = hdf5::parse_dataset_ref("/u[0]"); },
      [](auto& request) { request.axes = {1}; },
      [](auto& request) {
        request.axes = {0, 1};
      },
      [](auto& request) { request.axes.reset(); },
      [](auto& request) { request.to = "/other"; },
  };
  RepackRequest repack;
  Options conventions;
  conventions.conventions = true;
  std::vector<std::string> texts{request_text(first, {}), request_text(first, conventions), request_text(repack)};
  repack.datasets = {"/u"};
  texts.push_back(request_text(repack));
  repack.storage.chunks = hdf5::StorageOptions::Chunks::automatic;
  texts.push_back(request_text(repack));
  for (const Change& change : changes) {
    ReduceRequest other = first;
    change(other);
    texts.push_back(request_text(other, {}));
  }
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()).size(), texts.size());
}

class FileVersionTest : public ::testing::Test {
 protected:
  void put(std::string_view text) const { std::ofstream(path_) << text; }
  test::TemporaryDirectory directory_;
  const std::string path_ = directory_ / "in.h5";
};

TEST_F(FileVersionTest, AWriteRightAfterwardsThatKeepsTheSizeIsSeen) {
  for (int i = 0; i < 20; ++i) {
    put("old");
    const auto before = FileVersion::before_reading(path_);
    EXPECT_EQ(FileVersion::of(path_), before);
    put("new");
    EXPECT_NE(FileVersion::of(path_), before);
  }
}

TEST_F(FileVersionTest, AnotherFileUnderTheNameIsSeenAndAnotherNameOfTheFileIsNot) {
  put("one");
  const auto version = FileVersion::of(path_);
  std::ofstream(directory_ / "two") << "two";
  fs::last_write_time(directory_ / "two", fs::last_write_time(path_));
  fs::create_symlink("in.h5", directory_ / "alias");
  EXPECT_EQ(FileVersion::of(directory_ / "alias"), version);
  fs::rename(directory_ / "two", path_);
  EXPECT_NE(FileVersion::of(path_), version);
}

TEST_F(FileVersionTest, AFileStampedInTheFutureIsNotWaitedFor) {
  put("x");
  fs::last_write_time(path_, fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(FileVersion::before_reading(path_), FileVersion::of(path_));
}

}  // namespace
}  // namespace runrig::batch
