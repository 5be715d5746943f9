#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runrig/hdf5/selection.hpp"
#include "runrig/sync/error.hpp"
#include "support.hpp"

namespace runrig::hdf5 {
namespace {

struct Parts {
  std::string_view text, file, path, selection;
};
class DatasetRefTest : public ::testing::TestWithParam<Parts> {};
TEST_P(DatasetRefTest, IsTakenApart) {
  const DatasetRef ref = parse_dataset_ref(GetParam().text);
  EXPECT_EQ(ref.file.value_or("-"), GetParam().file);
  EXPECT_EQ(ref.path, GetParam().path);
  EXPECT_EQ(ref.selection ? ref.selection->text : "-", GetParam().selection);
}
INSTANTIATE_TEST_SUITE_P(
    Texts, DatasetRefTest,
    ::testing::Values(Parts{"/a/b", "-", "/a/b", "-"}, Parts{"a", "-", "/a", "-"},
                      Parts{"a[1:2, :]", "-", "/a", "[1:2, :]"}, Parts{"x.h5:/a[0]", "x.h5", "/a", "[0]"},
                      Parts{"dir/x.h5:/g/a", "dir/x.h5", "/g/a", "-"}, Parts{"time:12", "-", "/time:12", "-"},
                      Parts{"\"10:/x.h5\":/y", "10:/x.h5", "/y", "-"}, Parts{"10\\:/x.h5:/y", "10:/x.h5", "/y", "-"},
                      Parts{"'a[0]'[1]", "-", "/a[0]", "[1]"}, Parts{"a\\[0\\]", "-", "/a[0]", "-"},
                      Parts{"'a\\b'", "-", "/a\\b", "-"}, Parts{"\"a\\\"b\"", "-", "/a\"b", "-"}));

TEST(DatasetRefTest, BadNamesAreRefusedInWords) {
  const auto text = [](std::string_view name) { return test::thrown_text([&] { (void)parse_dataset_ref(name); }); };
  EXPECT_THAT(text(""), ::testing::HasSubstr("the name is empty"));
  EXPECT_THAT(text("[1]"), ::testing::HasSubstr("the name is empty"));
  EXPECT_THAT(text(":/a"), ::testing::HasSubstr("file's name"));
  EXPECT_THAT(text("'a"), ::testing::HasSubstr("not closed"));
  EXPECT_THAT(text("a\\"), ::testing::HasSubstr("backslash"));
  EXPECT_THAT(text("a[1"), ::testing::HasSubstr("but it ends"));
  EXPECT_THAT(text("a[1]b"), ::testing::HasSubstr("nothing may follow"));
}

TEST(DatasetRefTest, NamesOfVariablesAreGivenOrTakenFromThePath) {
  EXPECT_EQ(parse_named_dataset_ref("u=x.h5:/wind/u10[0]").name, "u");
  EXPECT_EQ(parse_named_dataset_ref("u=x.h5:/wind/u10[0]").dataset.path, "/wind/u10");
  EXPECT_EQ(parse_named_dataset_ref("/wind/u10[0]").name, "u10");
  EXPECT_EQ(parse_named_dataset_ref("'a=b'/c").dataset.path, "/a=b/c");
  EXPECT_THAT(test::thrown_text([] { (void)parse_named_dataset_ref("/wind/10u"); }),
              ::testing::HasSubstr("write NAME=/wind/10u"));
}

}  // namespace
}  // namespace runrig::hdf5
