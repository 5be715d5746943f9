#include "sparse_runs.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "dataset_support.hpp"
#include "support.hpp"

namespace runrig::batch {
namespace {

using test_samples::dataset;

// The coordinates of a dataset, all in C order.
void next_coordinates(Shape& at, const Shape& shape) {
  for (std::size_t axis = shape.rank(); axis-- > 0;) {
    if (++at[axis] < shape[axis]) return;
    at[axis] = 0;
  }
}

hdf5::AxisSelection random_axis(std::mt19937_64& random, std::uint64_t extent) {
  hdf5::AxisSelection axis{random() % extent, static_cast<std::int64_t>(random() % 3 + 1), 1, random() % 8 != 0};
  if (!axis.keep) return axis;
  if (random() % 2 == 0) axis.step = -axis.step;
  const auto step = static_cast<std::uint64_t>(axis.step > 0 ? axis.step : -axis.step);
  const std::uint64_t most = (axis.step > 0 ? extent - 1 - axis.start : axis.start) / step + 1;
  axis.count = random() % most + 1;
  if (random() % 2 == 0) axis = {0, 1, extent, true};
  return axis;
}

bool is_stored(const hdf5::DatasetInfo& info, const std::vector<Shape>& stored, const Shape& at) {
  return std::any_of(stored.begin(), stored.end(), [&](const Shape& start) {
    for (std::size_t axis = 0; axis < at.rank(); ++axis) {
      if (at[axis] < start[axis] || at[axis] - start[axis] >= info.chunk[axis]) return false;
    }
    return true;
  });
}

// The element of the dataset that an element of the result is.
Shape coordinates(const hdf5::Selection& selection, const Shape& of_result) {
  Shape at;
  std::size_t kept = 0;
  for (std::size_t axis = 0; axis < selection.rank; ++axis) {
    const auto& each = selection.axes[axis];
    at.push_back(each.keep ? each.at(of_result[kept++]) : each.start);
  }
  return at;
}

TEST(SparseRunsTest, FollowOneAnotherInCOrderAndLeaveNoStoredElementOut) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 2000; ++round) {
    Shape shape;
    Shape chunk;
    hdf5::Selection selection;
    selection.rank = random() % 4 + 1;
    for (std::size_t i = 0; i < selection.rank; ++i) {
      shape.push_back(random() % 12 + 1);
      chunk.push_back(random() % 5 + 1);
      selection.axes[i] = random_axis(random, shape[i]);
      if (selection.axes[i].keep) selection.shape.push_back(selection.axes[i].count);
    }
    const auto info = dataset(shape, chunk);
    std::vector<Shape> stored;
    for (std::uint64_t i = random() % 4; i > 0; --i) {
      Shape start;
      for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
        start.push_back(random() % shape[axis] / chunk[axis] * chunk[axis]);
      }
      stored.push_back(start);
    }
    const std::uint64_t max_bytes = random() % 300 + 4;
    std::uint64_t next = 0;
    Shape at;
    for (std::size_t i = 0; i < selection.shape.rank(); ++i) at.push_back(0);
    const auto slab = [&](const hdf5::Box& box) {
      ASSERT_LE(box.count.elements() * 4, std::max<std::uint64_t>(max_bytes, 4));
      ASSERT_EQ(box.start, at);
      for (std::uint64_t i = box.count.elements(); i > 0; --i, ++next) next_coordinates(at, selection.shape);
    };
    const auto fill = [&](std::uint64_t elements) {
      ASSERT_GT(elements, 0U);
      for (; elements > 0; --elements, ++next) {
        ASSERT_FALSE(is_stored(info, stored, coordinates(selection, at))) << to_string(at);
        next_coordinates(at, selection.shape);
      }
    };
    for_each_run(info, selection, stored, max_bytes, {slab, fill});
    ASSERT_EQ(next, selection.shape.elements()) << "round " << round;
    if (HasFatalFailure()) return;
  }
}

TEST(SparseRunsTest, AnAxisWithNothingInItIsOneRunHoweverLongItIs) {
  const std::uint64_t vast = std::uint64_t{1} << 40;
  const auto info = dataset({30, vast}, {10, 100});
  std::uint64_t slabs = 0;
  std::uint64_t slab_elements = 0;
  std::uint64_t fill_elements = 0;
  const std::vector<Shape> stored{{0, 0}, {20, vast / 100 * 50}};
  for_each_run(info, hdf5::Selection::all(info.shape), stored, 1 << 20,
               {[&](const hdf5::Box& box) {
                  ++slabs;
                  slab_elements += box.count.elements();
                },
                [&](std::uint64_t elements) { fill_elements += elements; }});
  EXPECT_EQ(slabs, 20U);  // one in each row that has a chunk
  EXPECT_EQ(slab_elements, 2000U);
  EXPECT_EQ(fill_elements, 30 * vast - 2000);
}

TEST(SparseRunsTest, NeighboursAreReadTogether) {
  const auto info = dataset({1 << 20}, {1000});
  std::vector<hdf5::Box> slabs;
  for_each_run(info, hdf5::Selection::all(info.shape), std::vector<Shape>{{4000}, {2000}, {900000}}, 1 << 22,
               {[&](const hdf5::Box& box) { slabs.push_back(box); }, [](std::uint64_t) {}});
  ASSERT_EQ(slabs.size(), 2U);
  EXPECT_EQ(slabs[0], (hdf5::Box{Shape{2000}, Shape{3000}}));
  EXPECT_EQ(slabs[1], (hdf5::Box{Shape{900000}, Shape{1000}}));
}

TEST(SparseRunsTest, MoreElementsThanCanBeCountedAreAnError) {
  const std::uint64_t vast = std::uint64_t{1} << 40;
  const auto info = dataset({vast, vast}, {10, 100});
  const auto call = [&] { for_each_run(info, hdf5::Selection::all(info.shape), {}, 100, {}); };
  EXPECT_EQ(test::thrown_code(call), std::errc::value_too_large);
}

}  // namespace
}  // namespace runrig::batch
