#include "runrig/shm/view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;

// The elements of any view in C order, read one by one.
template <class T>
std::vector<std::remove_cv_t<T>> elements(const NdView<T>& view) {
  std::vector<std::remove_cv_t<T>> result;
  if (view.rank() == 0) return {view()};
  for (std::uint64_t i = 0; i < view.shape()[0]; ++i) {
    const auto inner = elements(view.select(0, i));
    result.insert(result.end(), inner.begin(), inner.end());
  }
  return result;
}

class ViewTest : public ::testing::Test {
 protected:
  ViewTest() : data_(24) { std::iota(data_.begin(), data_.end(), 0); }
  std::vector<int> data_;
  const NdView<int> view_{data_.data(), Shape{4, 6}};
};

TEST_F(ViewTest, RowsAndColumnsAreTheSameMemory) {
  const auto rows = view_.rows(1, 2);
  EXPECT_EQ(rows.shape(), (Shape{2, 6}));
  EXPECT_TRUE(rows.contiguous());
  EXPECT_EQ(rows.span().front(), 6);
  rows(0, 0) = 100;
  EXPECT_EQ(data_[6], 100);
  EXPECT_THAT(elements(view_.select(1, 5)), ElementsAre(5, 11, 17, 23));
  EXPECT_THAT(elements(view_.slice(1, {1, 6, 2}).rows(3, 1)), ElementsAre(19, 21, 23));
}

TEST_F(ViewTest, AReadingViewIsMadeFromAWritingOneAndNotTheOtherWayRound) {
  const NdView<const int> reading = view_;
  EXPECT_EQ(reading(3, 5), 23);
  EXPECT_THROW((void)NdView<int>(reading.ref()), std::logic_error);
  EXPECT_THROW((void)NdView<float>(view_.ref()), std::logic_error);
  static_assert(!std::is_constructible_v<NdView<int>, NdView<const int>>);
}

TEST_F(ViewTest, OnlyWhatLiesWithoutGapsIsGivenAsASpan) {
  EXPECT_FALSE(view_.slice(1, {0, 3}).contiguous());
  EXPECT_THROW((void)view_.slice(1, {0, 3}).span(), std::logic_error);
  EXPECT_TRUE(view_.slice(1, {0, 3}).rows(2, 1).contiguous()) << "one row of it";
  EXPECT_TRUE(view_.slice(1, {0, 0}).contiguous()) << "nothing at all";
  EXPECT_FALSE(view_.slice(0, {{}, {}, -1}).contiguous());
}

TEST_F(ViewTest, WhatIsOutsideIsRefused) {
  EXPECT_THROW((void)view_.rows(3, 2), std::out_of_range);
  EXPECT_THROW((void)view_.rows(5, 0), std::out_of_range);
  EXPECT_THROW((void)view_.rows(1, ~0ULL), std::out_of_range);
  EXPECT_NO_THROW((void)view_.rows(4, 0));
  EXPECT_THROW((void)view_.select(1, 6), std::out_of_range);
  EXPECT_THROW((void)view_.select(2, 0), std::out_of_range);
  EXPECT_THROW((void)view_.slice(0, {{}, {}, 0}), std::invalid_argument);
  int scalar = 1;
  EXPECT_THROW((void)NdView<int>(&scalar, Shape{}).rows(0, 1), std::out_of_range);
  EXPECT_EQ(NdView<int>(&scalar, Shape{})(), 1);
}

TEST_F(ViewTest, MemoryOfOneProcessHasNoHandle) { EXPECT_THROW((void)view_.handle(), std::logic_error); }

TEST(SliceTest, SelectsWhatPythonSelects) {
  const auto at = [](Slice slice, std::uint64_t extent) {
    const auto found = slice.resolve(extent);
    std::vector<int> indices;
    for (std::uint64_t i = 0; i < found.count; ++i) {
      indices.push_back(static_cast<int>(found.first) + static_cast<int>(i) * static_cast<int>(found.step));
    }
    return indices;
  };
  EXPECT_THAT(at({}, 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(at({-2, {}}, 5), ElementsAre(3, 4));
  EXPECT_THAT(at({{}, {}, -2}, 5), ElementsAre(4, 2, 0));
  EXPECT_THAT(at({1, 100, 3}, 8), ElementsAre(1, 4, 7));
  EXPECT_THAT(at({-100, 2}, 8), ElementsAre(0, 1));
  EXPECT_THAT(at({3, 1}, 8), ElementsAre());
  EXPECT_THAT(at({{}, {}, std::numeric_limits<std::int64_t>::min()}, 8), ElementsAre(7));
  EXPECT_THAT(at({{}, {}, std::numeric_limits<std::int64_t>::max()}, 8), ElementsAre(0));
  EXPECT_THAT(at({}, 0), ElementsAre());
}

TEST(SliceTest, AgreesWithPythonOnRandomSlices) {
  RUNRIG_NEED_PYTHON(python, "sys");
  std::mt19937 random(7);
  const auto small = [&] { return static_cast<int>(random() % 25) - 12; };
  std::string cases;
  std::string ours;
  for (int i = 0; i < 2000; ++i) {
    Slice slice;
    if (random() % 4 != 0) slice.start = small();
    if (random() % 4 != 0) slice.stop = small();
    slice.step = small();
    if (slice.step == 0) slice.step = 1;
    const std::uint64_t extent = random() % 10;
    const auto text = [](const auto& value) { return value ? std::to_string(*value) : std::string("None"); };
    cases += text(slice.start) + ' ' + text(slice.stop) + ' ' + std::to_string(slice.step) + ' ' +
             std::to_string(extent) + '\n';
    const auto found = slice.resolve(extent);
    ours += std::to_string(found.count) + ' ' + (found.count > 0 ? std::to_string(found.first) : "-") + '\n';
  }
  const auto result = test::run_command({python, "-c", R"(
import sys
for line in sys.stdin:
    start, stop, step, n = map(eval, line.split())
    r = range(n)[slice(start, stop, step)]
    print(len(r), r[0] if r else '-')
)"},
                                        cases);
  EXPECT_EQ(result.out, ours) << result.err;
}

class BindTest : public ::testing::Test {
 protected:
  BindTest() {
    handle_.shape = Shape{4, 4};
    handle_.strides = row_major_strides(handle_.shape);
    handle_.dtype = DType::int32;
    handle_.byte_offset = 64;
  }
  [[nodiscard]] std::error_code refusal() {
    return test::thrown_code([&] { (void)bind_array(handle_, segment_, Access::read_write); });
  }
  alignas(64) std::array<std::byte, 128> segment_{};
  ArrayHandle handle_;
};

TEST_F(BindTest, AHandleThatFillsItsSegmentToTheLastByteIsTaken) {
  const auto ref = bind_array(handle_, segment_, Access::read_write);
  EXPECT_EQ(ref.data, segment_.data() + 64);
  EXPECT_NO_THROW((void)NdView<std::int32_t>(ref));
  handle_.byte_offset = 68;
  EXPECT_EQ(refusal(), std::errc::invalid_argument);
}

TEST_F(BindTest, BackwardStridesReachDownToTheFirstByteAndNoFurther) {
  handle_.byte_offset = 124;
  handle_.strides = {-4, -1};
  EXPECT_NO_THROW((void)bind_array(handle_, segment_, Access::read_write));
  handle_.byte_offset = 56;
  EXPECT_EQ(refusal(), std::errc::invalid_argument);
}

TEST_F(BindTest, AHandleFromABrokenProcessIsRefusedWhateverItSays) {
  handle_.byte_offset = 66;
  EXPECT_EQ(refusal(), std::errc::invalid_argument) << "misaligned";
  handle_.byte_offset = ~0ULL - 3;
  EXPECT_EQ(refusal(), std::errc::invalid_argument);
  handle_.byte_offset = 0;
  handle_.strides = {std::numeric_limits<std::int64_t>::max(), 1};
  EXPECT_EQ(refusal(), std::errc::value_too_large);
  handle_.strides = {std::numeric_limits<std::int64_t>::min() / 16, 1};
  EXPECT_EQ(refusal(), std::errc::invalid_argument);
  handle_.strides = {};
  handle_.shape = Shape{1ULL << 62, 4};
  EXPECT_EQ(refusal(), std::errc::value_too_large) << "more elements than can be counted, all in one place";
  handle_.shape = Shape{4, 4};
  handle_.dtype = static_cast<DType>(200);
  EXPECT_EQ(refusal(), std::errc::invalid_argument);
  handle_.dtype = DType::int32;
  const std::uint64_t rank = 1ULL << 40;
  std::memcpy(static_cast<void*>(&handle_.shape), &rank, sizeof rank);
  EXPECT_EQ(refusal(), std::errc::invalid_argument) << "a rank that no Shape can have";
}

TEST_F(BindTest, RandomHandlesNeverReachOutside) {
  std::mt19937_64 random(11);
  int taken = 0;
  for (int round = 0; round < 50'000; ++round) {
    ArrayHandle handle;
    handle.dtype = static_cast<DType>(random() % dtype_count);
    handle.byte_offset = random() % 140;
    for (auto axes = random() % 4; axes > 0; --axes) {
      handle.strides[handle.shape.rank()] = static_cast<std::int64_t>(random() % 20) - 10;
      handle.shape.push_back(random() % 6);
    }
    AnyArrayRef ref;
    try {
      ref = bind_array(handle, segment_, Access::read_write);
    } catch (const Error&) {
      continue;
    }
    ++taken;
    // The corners are the elements furthest out.
    for (std::uint64_t corner = 0; corner < (1ULL << ref.shape.rank()) && ref.size() > 0; ++corner) {
      std::int64_t offset = 0;
      for (std::size_t axis = 0; axis < ref.shape.rank(); ++axis) {
        if ((corner >> axis & 1) != 0) offset += static_cast<std::int64_t>(ref.shape[axis] - 1) * ref.strides[axis];
      }
      const std::byte* const at = ref.data + offset * static_cast<std::int64_t>(item_bytes(ref.dtype));
      ASSERT_GE(at, segment_.data());
      ASSERT_LE(at + item_bytes(ref.dtype), segment_.data() + segment_.size());
    }
  }
  EXPECT_GT(taken, 1000);
}

TEST(StridesTest, AreThoseOfNumPyForBothOrders) {
  const auto c = row_major_strides(Shape{2, 3, 4});
  EXPECT_THAT(std::vector<std::int64_t>(c.begin(), c.begin() + 3), ElementsAre(12, 4, 1));
  const auto f = column_major_strides(Shape{2, 3, 4});
  EXPECT_THAT(std::vector<std::int64_t>(f.begin(), f.begin() + 3), ElementsAre(1, 2, 6));
  EXPECT_TRUE(is_row_major(Shape{1, 5, 1}, column_major_strides(Shape{1, 5, 1}))) << "one axis: both at once";
  EXPECT_TRUE(is_row_major(Shape{1ULL << 40, 0, 1ULL << 40}, row_major_strides(Shape{1ULL << 40, 0, 1ULL << 40})));
}

}  // namespace
}  // namespace runrig
