#include "runrig/batch/arrays.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "processes.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::HasSubstr;

class ArraysTest : public ::testing::Test {
 protected:
  std::string at(std::string_view name) const { return (directory_ / name).string(); }
  static batch::Options two_workers() {
    batch::Options options;
    options.workers = 2;
    return options;
  }
  // Before anything else in this process starts a thread.
  batch::Session session_{two_workers()};
  test::TemporaryDirectory directory_;
};

NdArray<float> counted(const Shape& shape) {
  auto array = NdArray<float>::create(shape);
  std::iota(array.span().begin(), array.span().end(), 0.5F);
  return array;
}

TEST_F(ArraysTest, WhatIsWrittenIsReadBackInAnyLayout) {
  auto array = counted(Shape{37, 41, 29});
  int file = 0;
  for (const std::string filters : {"", "shuffle,deflate:4", "fletcher32"}) {
    for (const Shape& chunk : {Shape{}, Shape{8, 41, 10}}) {
      const auto path = at(std::to_string(file++) + ".h5");
      WriteArrayOptions options;
      options.filters = filters;
      options.chunk = chunk;
      write_array(session_, array, path, "/group/x", options);
      auto back = read_array<float>(session_, path, "/group/x");
      EXPECT_EQ(back.shape(), array.shape());
      EXPECT_TRUE(std::ranges::equal(back.cspan(), array.cspan())) << filters << to_string(chunk);
      auto part = read_array<float>(session_, path, "/group/x[3:30:4, ::-1, 7]");
      EXPECT_EQ(part.shape(), (Shape{7, 41}));
      EXPECT_EQ(part(2, 5), array(11, 35, 7));
    }
  }
  EXPECT_EQ(session_.pool().workers_lost(), 0U);
}

TEST_F(ArraysTest, AReadOnlySessionReadsWithOneProcessLessAndMakesNoOutput) {
  auto array = counted(Shape{64, 3});
  write_array(session_, array, at("x.h5"), "x");
  const std::size_t before = test::own_children().size();
  batch::Options options = two_workers();
  options.read_only = true;
  batch::Session reading(options);
  EXPECT_EQ(test::own_children().size(), before + 1);  // the session with outputs has two
  EXPECT_EQ(before, 2U);
  EXPECT_EQ(read_array<float>(reading, at("x.h5"), "x")(63, 2), array(63, 2));
  EXPECT_EQ(reading.stats({{at("x.h5")}, {}}).results.size(), 1U);
  EXPECT_THROW(write_array(reading, array, at("y.h5"), "x"), std::logic_error);
  batch::MapRequest request;
  request.files = {at("x.h5")};
  request.inputs = {{"x", hdf5::parse_dataset_ref("/x")}};
  request.outputs = {{"x+1"}};
  request.output = at("y.h5");
  EXPECT_THROW((void)reading.map(request), std::logic_error);
  EXPECT_THROW((void)reading.plan(request), std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(at("y.h5")));
}

TEST_F(ArraysTest, AViewWithGapsAndAScalarAreWritten) {
  auto array = counted(Shape{10, 6});
  write_array(session_, array.view().slice(1, Slice{{}, {}, -2}), at("view.h5"), "x");
  EXPECT_EQ(read_array<float>(session_, at("view.h5"), "x")(3, 1), array(3, 3));
  auto scalar = counted(Shape{});
  write_array(session_, scalar, at("scalar.h5"), "x");
  EXPECT_EQ(read_array<float>(session_, at("scalar.h5"), "x").span()[0], 0.5F);
  auto none = counted(Shape{0, 4});
  write_array(session_, none, at("none.h5"), "x");
  EXPECT_EQ(read_array<float>(session_, at("none.h5"), "x").shape(), (Shape{0, 4}));
}

TEST_F(ArraysTest, AnArrayThatIsThereIsReadInto) {
  auto array = counted(Shape{20, 30});
  write_array(session_, array, at("x.h5"), "x", {.filters = "shuffle,deflate:4", .chunk = Shape{7, 8}});
  auto kept = NdArray<float>::create(Shape{20, 60});
  const auto every_second = kept.view().slice(1, Slice{{}, {}, -2});
  for (int turn = 0; turn < 2; ++turn) {
    std::ranges::fill(kept.span(), -1.0F);
    read_into_array(session_, at("x.h5"), "x", every_second.ref());
    for (std::int64_t i = 0; i < 20; ++i) {
      for (std::int64_t k = 0; k < 30; ++k) {
        ASSERT_EQ(every_second(i, k), array(i, k));
        ASSERT_EQ(kept(i, 2 * k), -1.0F);
      }
    }
  }
  auto other_type = NdArray<double>::create(Shape{20, 30});
  EXPECT_THROW(read_into_array(session_, at("x.h5"), "x", other_type.view().ref()), std::logic_error);
  EXPECT_THROW(read_into_array(session_, at("x.h5"), "x[1:]", array.view().ref()), std::logic_error);
}

TEST_F(ArraysTest, FailuresAreOneLineAndLeaveNothing) {
  EXPECT_THAT(test::thrown_text([&] { (void)read_array<float>(session_, at("absent.h5"), "x"); }),
              HasSubstr("No such file or directory"));
  auto array = counted(Shape{4});
  write_array(session_, array, at("x.h5"), "x");
  EXPECT_EQ(test::thrown_code([&] { write_array(session_, array, at("x.h5"), "x"); }), std::errc::file_exists);
  EXPECT_EQ(test::thrown_code([&] { (void)read_array<double>(session_, at("x.h5"), "x"); }), ErrorKind::format);
  EXPECT_THAT(test::thrown_text([&] { (void)read_array<float>(session_, at("x.h5"), "y"); }),
              HasSubstr("none of that name"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);
}

TEST_F(ArraysTest, TheSegmentHasTheNameThatWasAskedFor) {
  auto array = counted(Shape{4});
  write_array(session_, array, at("x.h5"), "x");
  const auto name = test::unique_segment_name();
  auto back = read_array<float>(session_, at("x.h5"), "x", name);
  EXPECT_EQ(NdArray<float>::attach(name, Access::read_only).cspan()[3], 3.5F);
}

}  // namespace
}  // namespace runrig
