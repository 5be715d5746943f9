#include "runrig/shm/array.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <ranges>
#include <string>
#include <vector>

#include "runrig/shm/value.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

static_assert(std::is_copy_constructible_v<Array<int>> && std::is_copy_constructible_v<Array<char>>);
static_assert(!std::is_constructible_v<Array<int>, const char*> && std::is_constructible_v<Array<char>, const char*>);

TEST(ArrayTest, IsZeroOrAsGivenAndChecksItsIndices) {
  const Array<std::int16_t> zero(4);
  EXPECT_EQ(zero.size(), 4U);
  EXPECT_THAT(zero.get_obj().span(), ElementsAre(0, 0, 0, 0));
  const Array<double> given({1.0, 2.5});
  given.set(1, 3.5);
  EXPECT_THAT(given.get_obj().span(), ElementsAre(1.0, 3.5));
  EXPECT_THROW((void)given.get(2), std::out_of_range);
  EXPECT_THROW(given.set(2, 0), std::out_of_range);
  EXPECT_EQ(RawArray<int>(std::size_t{0}).size(), 0U);
  EXPECT_EQ(test::thrown_code([] { (void)RawArray<double>(~std::size_t{0} / 4); }), std::errc::not_enough_memory);
}

TEST(ArrayTest, SizeOrInitializer_ASizeIsZeroedAlsoWhereThereWasSomethingBefore) {
  const RawArray<int> keeps_the_heap(1);
  for (int round = 0; round < 50; ++round) {
    const RawArray<std::uint8_t> array(1000);
    ASSERT_THAT(array.span(), ::testing::Each(0));
    std::ranges::fill(array, std::uint8_t{0xff});
  }
}

TEST(ArrayTest, SizeOrInitializer_ASequenceSetsElementsAndLength) {
  EXPECT_THAT(Array<int>(std::views::iota(0, 5)).get(), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(Array<double>(std::vector<int>{1, 2}).get(), ElementsAre(1.0, 2.0));
  EXPECT_THAT(RawArray<double>(std::vector<double>{1, 2}).get(), ElementsAre(1.0, 2.0));
  EXPECT_THAT(RawArray<char>(std::array{'a', '\0'}).get(), ElementsAre('a', '\0'));
  EXPECT_THAT(Array<int>(std::vector<int>{}).get(), IsEmpty());
}

TEST(ArrayTest, Lock_AGivenLockGuardsItHoweverItWasMade) {
  const Shared<Lock> lock;
  const Array<int, Lock> zero(3, lock);
  const Array<int, Lock> listed({1, 2}, lock);
  const Array<int, Lock> sequence(std::views::iota(0, 4), lock);
  const Array<char, Lock> text("hello", lock);
  EXPECT_EQ(zero.size() + listed.size() + sequence.size() + text.size(), 14U);
  const std::lock_guard guard(zero);  // a lock itself
  EXPECT_FALSE(listed.try_lock());
  EXPECT_FALSE(sequence.acquire(std::chrono::milliseconds(0)));
  EXPECT_EQ(&text.get_lock(), lock.get());
}

TEST(ArrayTest, SlicesAreReadAndWrittenInOneStepWithPythonsMeaning) {
  const Array<int> array(std::views::iota(0, 6));
  EXPECT_THAT(array.get(), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(array.get({1, 3}), ElementsAre(1, 2));
  EXPECT_THAT(array.get({-2, {}}), ElementsAre(4, 5));
  EXPECT_THAT(array.get({{}, {}, -2}), ElementsAre(5, 3, 1));
  EXPECT_THAT(array.get({4, 1}), IsEmpty());
  array.set({{}, {}, -3}, {50, 20});
  array.set({0, 2}, std::vector<int>{-1, -2});
  EXPECT_THAT(array.get(), ElementsAre(-1, -2, 20, 3, 4, 50));
  EXPECT_THROW(array.set({0, 2}, {1}), std::invalid_argument) << "as many as are selected";
  EXPECT_THAT(array.get(), ElementsAre(-1, -2, 20, 3, 4, 50));
  EXPECT_THROW((void)array.get({0, 1, 0}), std::invalid_argument);
}

TEST(ArrayTest, IterationTakesTheLockForEachElement) {
  const Array<int, Lock> array({1, 2, 3});
  int sum = 0;
  for (const int each : array) {
    ASSERT_TRUE(array.try_lock()) << "not held between elements";
    array.unlock();
    sum += each;
  }
  EXPECT_EQ(sum, 6);
  for (int& each : array.get_obj()) each *= 2;
  EXPECT_THAT(array.get(), ElementsAre(2, 4, 6));
}

template <class A>
class CharArrayTest : public ::testing::Test {};
using CharArrays = ::testing::Types<RawArray<char>, Array<char>, Array<char, Lock>>;
TYPED_TEST_SUITE(CharArrayTest, CharArrays);

TYPED_TEST(CharArrayTest, ATextIsNotFollowedByANul) {
  EXPECT_EQ(TypeParam("hello world").size(), 11U);
  EXPECT_EQ(TypeParam(std::string("a\0b", 3)).raw(), std::string("a\0b", 3));
  EXPECT_EQ(TypeParam(std::string_view()).size(), 0U);
  EXPECT_EQ(TypeParam(std::string_view()).value(), "");
}

TYPED_TEST(CharArrayTest, Value_EndsBeforeTheFirstNulAndIsWrittenWithOneIfThereIsRoom) {
  const TypeParam array("hello world");
  EXPECT_EQ(array.value(), "hello world");
  array.set_value("HELLO");
  EXPECT_EQ(array.value(), "HELLO");
  EXPECT_EQ(array.raw(), std::string("HELLO\0world", 11)) << "what follows stays, as with ctypes";
  array.set_value("eleven char");
  EXPECT_EQ(array.value(), "eleven char");
  EXPECT_THROW(array.set_value("twelve chars"), std::length_error);
  EXPECT_EQ(array.value(), "eleven char");
  array.set_value("");
  EXPECT_EQ(array.value(), "");
}

TYPED_TEST(CharArrayTest, Raw_IsAllBytes) {
  const TypeParam array(std::size_t{4});
  EXPECT_EQ(array.raw(), std::string(4, '\0'));
  array.set_raw(std::string("a\0c", 3));
  EXPECT_EQ(array.raw(), std::string("a\0c\0", 4));
  EXPECT_EQ(array.value(), "a");
  array.set_raw("12");
  EXPECT_EQ(array.raw(), std::string("12c\0", 4));
  EXPECT_THROW(array.set_raw("12345"), std::length_error);
}

TEST(CharArrayPythonTest, CtypesSaysTheSame) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.sharedctypes");
  const auto result = test::run_python(python, R"(
from multiprocessing.sharedctypes import RawArray
a = RawArray('c', b'hello world')
def show(): print(len(a), a.value, a.raw)
def refused(**attribute):
    try: [setattr(a, name, value) for name, value in attribute.items()]
    except ValueError: print('refused')
show(); a.value = b'HELLO'; show(); a.raw = b'xy'; show(); refused(value=b'twelve chars'); refused(raw=b'twelve chars')
a.value = b'eleven char'; show(); a.value = b''; show()
)");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::string ours;
  const RawArray<char> a("hello world");
  const auto bytes = [](const std::string& text) {
    std::string shown = "b'";
    for (const char each : text) shown += each == '\0' ? "\\x00" : std::string(1, each);
    return shown + "'";
  };
  const auto show = [&] { ours += std::to_string(a.size()) + " " + bytes(a.value()) + " " + bytes(a.raw()) + "\n"; };
  const auto refused = [&](auto set) {
    try {
      set();
    } catch (const std::length_error&) {
      ours += "refused\n";
    }
  };
  show();
  a.set_value("HELLO");
  show();
  a.set_raw("xy");
  show();
  refused([&] { a.set_value("twelve chars"); });
  refused([&] { a.set_raw("twelve chars"); });
  a.set_value("eleven char");
  show();
  a.set_value("");
  show();
  EXPECT_EQ(ours, result.out);
}

TEST(ArrayTest, ProcessesFillTheirPartsOfALargeOne) {
  constexpr std::size_t count = 100'000;  // in a memfd of its own
  const RawArray<std::uint32_t> array(count);
  for (std::size_t part = 0; part < 4; ++part) {
    ASSERT_EQ(test::run_in_child([&] {
                for (std::size_t i = part; i < count; i += 4) array[i] = static_cast<std::uint32_t>(i * i);
              }),
              0);
  }
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(array[i], static_cast<std::uint32_t>(i * i));
}

}  // namespace
}  // namespace runrig
