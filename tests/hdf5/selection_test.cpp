#include "runrig/hdf5/selection.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runrig/sync/error.hpp"
#include "support.hpp"

namespace runrig::hdf5 {
namespace {

std::vector<std::uint64_t> coordinates(std::string_view text, std::uint64_t extent) {
  const Selection selection = resolve(parse_selection(text), Shape{extent}, "d");
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 0; i < selection.axes[0].count; ++i) all.push_back(selection.axes[0].at(i));
  return all;
}

TEST(SelectionTest, SlicesClipAndStepAsInPython) {
  using List = std::vector<std::uint64_t>;
  EXPECT_EQ(coordinates("[:]", 3), (List{0, 1, 2}));
  EXPECT_EQ(coordinates("[1:100]", 3), (List{1, 2}));
  EXPECT_EQ(coordinates("[-100:2]", 3), (List{0, 1}));
  EXPECT_EQ(coordinates("[::-1]", 3), (List{2, 1, 0}));
  EXPECT_EQ(coordinates("[5:0:-2]", 4), (List{3, 1}));
  EXPECT_EQ(coordinates("[-1:-4:-1]", 3), (List{2, 1, 0}));
  EXPECT_EQ(coordinates("[2:1]", 3), (List{}));
  EXPECT_EQ(coordinates("[::9223372036854775807]", 3), (List{0}));
  EXPECT_EQ(coordinates("[::-9223372036854775808]", 3), (List{2}));
  EXPECT_EQ(coordinates("[-9223372036854775808:9223372036854775807]", 2), (List{0, 1}));
  EXPECT_EQ(coordinates("[-1]", 3), (List{2}));
  EXPECT_EQ(coordinates(" [ +1 : 3 : 1 , ] ", 3), (List{1, 2}));
  EXPECT_EQ(coordinates("[:]", 0), (List{}));
}

TEST(SelectionTest, IntegersDropTheirAxesAndEllipsisStandsForTheRest) {
  const Shape shape{4, 5, 6};
  EXPECT_EQ(resolve(parse_selection("[1]"), shape, "d").shape, (Shape{5, 6}));
  EXPECT_EQ(resolve(parse_selection("[..., 1]"), shape, "d").shape, (Shape{4, 5}));
  EXPECT_EQ(resolve(parse_selection("[0, ..., ::2]"), shape, "d").shape, (Shape{5, 3}));
  EXPECT_EQ(resolve(parse_selection("[...]"), shape, "d").shape, shape);
  EXPECT_EQ(resolve(parse_selection("[0, 1, 2]"), shape, "d").shape, Shape{});
  EXPECT_EQ(resolve(parse_selection("[0, ..., 1, 2]"), shape, "d").shape, Shape{});
  EXPECT_EQ(resolve(parse_selection("[...]"), Shape{}, "d").shape, Shape{});
  EXPECT_EQ(resolve(std::nullopt, shape, "d").shape, shape);
}

struct BadText {
  std::string_view text;
  std::string_view why;
};
class BadSelectionTest : public ::testing::TestWithParam<BadText> {};
TEST_P(BadSelectionTest, IsRefusedWithItsColumn) {
  EXPECT_THAT(test::thrown_text([] { (void)parse_selection(GetParam().text); }),
              ::testing::HasSubstr(std::string(GetParam().why)));
}
INSTANTIATE_TEST_SUITE_P(Texts, BadSelectionTest,
                         ::testing::Values(BadText{"", "(column 1)"}, BadText{"[]", "expected (column 2)"},
                                           BadText{"[1:2", "but it ends (column 5)"},
                                           BadText{"[::0]", "not 0 (column 4)"}, BadText{"[..., ...]", "(column 7)"},
                                           BadText{"[[1, 2]]", "lists of indices"}, BadText{"[1 2]", "(column 4)"},
                                           BadText{"[99999999999999999999]", "past 64 bits (column 2)"},
                                           BadText{"[1]x", "nothing may follow"}, BadText{"[-]", "digits expected"},
                                           BadText{"[a]", "a slice or an integer"}));

TEST(SelectionTest, WhatDoesNotFitTheShapeIsRefusedWithTheNumbers) {
  const auto text = [](std::string_view selection, const Shape& shape) {
    return test::thrown_text([&] { (void)resolve(parse_selection(selection), shape, "f.h5:/d"); });
  };
  EXPECT_THAT(text("[3]", Shape{3}),
              ::testing::HasSubstr("'f.h5:/d': index 3 is out of range for axis 0, which has 3"));
  EXPECT_THAT(text("[0, -6]", Shape{3, 5}), ::testing::HasSubstr("index -6 is out of range for axis 1"));
  EXPECT_THAT(text("[:, :]", Shape{3}), ::testing::HasSubstr("2 axes are selected, the dataset has 1"));
  EXPECT_THAT(text("[0]", Shape{}), ::testing::HasSubstr("a scalar"));
  EXPECT_EQ(test::thrown_code([] { (void)Selection::all(Shape{UINT64_MAX}); }), std::errc::value_too_large);
}

}  // namespace
}  // namespace runrig::hdf5
