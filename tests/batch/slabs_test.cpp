#include "slabs.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "dataset_support.hpp"

namespace runrig::batch {
namespace {

using test_samples::dataset;

// The first element's number in C order, if the box is a range of them.
std::uint64_t flat(const Shape& shape, const Shape& start) {
  std::uint64_t element = 0;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) element = element * shape[axis] + start[axis];
  return element;
}

TEST(SlabsTest, FollowOneAnotherInCOrderAndCoverTheResultForAnyShapeAndSize) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    Shape shape;
    Shape chunk;
    const std::size_t rank = random() % 5;
    for (std::size_t i = 0; i < rank; ++i) {
      shape.push_back(random() % 9 + 1);
      chunk.push_back(random() % 6 + 1);
    }
    const auto info = dataset(shape, random() % 2 == 0 ? chunk : Shape{});
    const auto all = hdf5::Selection::all(shape);
    const std::uint64_t max_bytes = random() % 400 + 1;
    Slabs slabs(info, all, max_bytes);
    std::uint64_t next = 0;
    while (const auto slab = slabs.next()) {
      EXPECT_EQ(flat(shape, slab->start), next);
      const std::uint64_t elements = slab->count.elements();
      EXPECT_GT(elements, 0U);
      EXPECT_LE(elements * 4, std::max<std::uint64_t>(max_bytes, 4));
      // Contiguous: below the first axis that is not cut to one element, everything.
      std::size_t axis = 0;
      while (axis < rank && slab->count[axis] == 1) ++axis;
      for (++axis; axis < rank; ++axis) EXPECT_EQ(slab->count[axis], shape[axis]);
      next += elements;
    }
    EXPECT_EQ(next, shape.elements());
  }
}

TEST(SlabsTest, CutAtTheBordersOfChunksWhereARowOfChunksFits) {
  const auto info = dataset({100, 10}, {7, 5});
  Slabs slabs(info, hdf5::Selection::all(info.shape), 20 * 10 * 4);
  for (auto slab = slabs.next(); slab; slab = slabs.next()) EXPECT_EQ(slab->start[0] % 7, 0U);
}

TEST(SlabsTest, TellWhetherTheyCutChunksForAnyShapeAndSize) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 500; ++round) {
    Shape shape;
    Shape chunk;
    for (std::size_t i = 0; i < random() % 4 + 1; ++i) {
      shape.push_back(random() % 9 + 1);
      chunk.push_back(random() % 6 + 1);
    }
    const auto info = dataset(shape, chunk);
    Slabs slabs(info, hdf5::Selection::all(shape), random() % 400 + 1);
    // Which slab each chunk was first seen in.
    std::map<std::vector<std::uint64_t>, int> seen;
    bool cut = false;
    for (int number = 0; const auto slab = slabs.next(); ++number) {
      for (std::uint64_t i = 0; i < slab->count.elements(); ++i) {
        std::vector<std::uint64_t> at(shape.rank());
        std::uint64_t rest = i;
        for (std::size_t axis = shape.rank(); axis-- > 0; rest /= slab->count[axis]) {
          at[axis] = (slab->start[axis] + rest % slab->count[axis]) / chunk[axis];
        }
        cut = cut || seen.emplace(at, number).first->second != number;
      }
    }
    // It may be said where shape and chunk hide it, but never not be said.
    EXPECT_TRUE(!cut || slabs.cut_chunks()) << to_string(shape) << to_string(chunk);
    EXPECT_FALSE(chunk.elements() == 1 && slabs.cut_chunks());
  }
  // A row of chunks fits, or does not.
  const auto info = dataset({100, 10}, {7, 5});
  EXPECT_FALSE(Slabs(info, hdf5::Selection::all(info.shape), 7 * 10 * 4).cut_chunks());
  EXPECT_TRUE(Slabs(info, hdf5::Selection::all(info.shape), 6 * 10 * 4).cut_chunks());
}

TEST(SlabsTest, AnEmptyResultHasNone) {
  const auto info = dataset({0, 5}, {});
  EXPECT_FALSE(Slabs(info, hdf5::Selection::all(info.shape), 100).next());
}

TEST(SlabsTest, AnAxisOfTwoToTheFortyIsCutWithoutVisitingIt) {
  const auto info = dataset({std::uint64_t{1} << 40}, {1000});
  Slabs slabs(info, hdf5::Selection::all(info.shape), 1 << 20);
  EXPECT_EQ(slabs.next()->count[0], 262000U);
}

TEST(PartOfTest, SelectsTheSameElementsAsTheBoxDoes) {
  const Shape shape{20, 30, 40};
  const auto selection = hdf5::resolve(hdf5::parse_selection("[18:2:-3, 4, 5::2]"), shape, "t");
  const hdf5::Box box{Shape{1, 3}, Shape{4, 10}};
  const auto part = part_of(selection, box);
  EXPECT_EQ(part.shape, (Shape{4, 10}));
  for (std::uint64_t i = 0; i < 4; ++i) EXPECT_EQ(part.axes[0].at(i), selection.axes[0].at(i + 1));
  EXPECT_EQ(part.axes[1].start, 4U);
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(part.axes[2].at(i), selection.axes[2].at(i + 3));
}

}  // namespace
}  // namespace runrig::batch
