#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "runrig/hdf5/dataset.hpp"

namespace runrig::hdf5 {
namespace {

DatasetInfo chunked(const Shape& shape, const Shape& chunk) {
  DatasetInfo info;
  info.type.dtype = DType::float32;
  info.shape = shape;
  info.layout = chunk.rank() == 0 ? Layout::contiguous : Layout::chunked;
  info.chunk = chunk;
  return info;
}

TEST(BoxPlanTest, CoversEveryElementOnceAndNoChunkTwice) {
  std::mt19937 random(11);
  const std::vector<std::string> texts{"[...]", "[::2, ::-3]", "[1:, :-1]", "[:, 3]", "[::-1, ::-1]", "[5:6, 2:19:7]"};
  for (int round = 0; round < 400; ++round) {
    const Shape shape{1 + random() % 30, 20};
    const DatasetInfo info = chunked(shape, {1 + random() % 8, 1 + random() % 25});
    const Selection selection = resolve(parse_selection(texts[random() % texts.size()]), shape, "d");
    const std::uint64_t target = 4 * (1 + random() % 200);
    const BoxPlan plan(info, selection, target);
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> owner;  // of chunks
    std::uint64_t covered = 0;
    for (std::uint64_t i = 0; i < plan.size(); ++i) {
      const Box box = plan[i];
      covered += box.count.elements();
      const std::uint64_t columns = selection.axes[1].keep ? box.count[1] : 1;
      for (std::uint64_t r = 0; r < box.count[0]; ++r) {
        for (std::uint64_t c = 0; c < columns; ++c) {
          const std::uint64_t row = selection.axes[0].at(box.start[0] + r);
          const std::uint64_t column = selection.axes[1].at(selection.axes[1].keep ? box.start[1] + c : 0);
          const auto [at, added] = owner.try_emplace({row / info.chunk[0], column / info.chunk[1]}, i);
          ASSERT_EQ(at->second, i) << "a chunk belongs to two boxes";
        }
      }
    }
    ASSERT_EQ(covered, selection.shape.elements());
  }
}

TEST(BoxPlanTest, BoxesAreAboutAsLargeAsAskedFor) {
  const Shape shape{1000, 1000};
  for (const Shape& chunk : {Shape{}, Shape{10, 10}, Shape{1, 1000}, Shape{1000, 1}}) {
    const auto boxes = aligned_boxes(chunked(shape, chunk), Selection::all(shape), 400'000);
    EXPECT_GE(boxes.size(), 10U) << to_string(chunk);
    EXPECT_LE(boxes.size(), 25U) << to_string(chunk);
    for (const Box& box : boxes) EXPECT_LE(box.count.elements() * 4, 400'000U);
  }
}

TEST(BoxPlanTest, ScalarsAreOneBoxAndNothingIsNone) {
  EXPECT_EQ(aligned_boxes(chunked({}, {}), Selection::all(Shape{}), 100).size(), 1U);
  EXPECT_TRUE(aligned_boxes(chunked({3, 0}, {}), Selection::all(Shape{3, 0}), 100).empty());
  EXPECT_THROW((void)BoxPlan(chunked({3}, {}), Selection::all(Shape{3}), 100)[1], std::logic_error);
}

}  // namespace
}  // namespace runrig::hdf5
