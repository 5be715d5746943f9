#include "runrig/shm/shape.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support.hpp"

namespace runrig {
namespace {

TEST(ShapeTest, PrintsAsPythonPrintsATuple) {
  EXPECT_EQ(to_string(Shape{}), "()");
  EXPECT_EQ(to_string(Shape{3}), "(3,)");
  EXPECT_EQ(to_string(Shape{2, 3}), "(2, 3)");
}

TEST(ShapeTest, AScalarHasOneElementAndAnEmptyAxisNone) {
  EXPECT_EQ(Shape{}.elements(), 1U);
  EXPECT_EQ((Shape{0, 3}).elements(), 0U);
  EXPECT_EQ((Shape{1ULL << 40, 1ULL << 40, 0}).elements(), 0U);
}

TEST(ShapeTest, AProductThatDoesNotFitIsAnErrorAndNeverWraps) {
  const Shape huge{1ULL << 32, 1ULL << 32};
  EXPECT_EQ(huge.checked_elements(), std::nullopt);
  EXPECT_EQ(test::thrown_code([&] { (void)huge.elements(); }), std::errc::value_too_large);
  EXPECT_EQ((Shape{1ULL << 61}).checked_bytes(8), std::nullopt);
  EXPECT_EQ((Shape{1ULL << 20}).checked_bytes(8), std::size_t{1} << 23);
}

TEST(ShapeTest, MoreAxesThanThirtyTwoAreRefused) {
  const std::vector<std::uint64_t> extents(33, 1);
  EXPECT_EQ(test::thrown_code([&] { (void)Shape(extents); }), std::errc::value_too_large);
}

}  // namespace
}  // namespace runrig
