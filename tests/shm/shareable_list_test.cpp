#include "runrig/shm/shareable_list.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "runrig/sync/clock.hpp"
#include "session_support.hpp"
#include "shareable_list_support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using Item = ShareableList::Item;
using test::bytes_item;
using test::none;

class ShareableListTest : public ::testing::Test {
 protected:
  const test::SegmentName name_;
};

// Python's documentation, "ShareableList", from top to bottom.
TEST_F(ShareableListTest, TheExampleOfThePythonDocumentation) {
  const auto a = ShareableList::create({"howdy", bytes_item("HoWdY"), -273.154, 100, none, true, 42});
  EXPECT_THAT(a.to_vector(), ElementsAre(Item("howdy"), Item(bytes_item("HoWdY")), Item(-273.154), Item(100),
                                         Item(none), Item(true), Item(42)));
  EXPECT_EQ(a[2], Item(-273.154));
  a[2] = -78.5;
  EXPECT_EQ(a.get<double>(2), -78.5);
  a[2] = "dry ice";
  EXPECT_EQ(a.get<std::string>(2), "dry ice");
  EXPECT_THROW(a[2] = "larger than previously allocated storage space", std::length_error);
  EXPECT_EQ(a.get<std::string>(2), "dry ice");
  EXPECT_EQ(a.size(), 7U);
  EXPECT_EQ(a.index(42), 6U);

  const auto b = ShareableList::create({0, 1, 2, 3, 4});
  const auto c = ShareableList::attach(b.shm().name());
  c[-1] = -999;
  EXPECT_EQ(b[-1], Item(-999));
}

TEST_F(ShareableListTest, Name_IsThatOfItsSegmentWhichEndsWithUnlink) {
  auto list = ShareableList::create(name_, {1});
  EXPECT_EQ(list.name(), name_.str());
  EXPECT_EQ(list.shm().name(), name_.str());
  EXPECT_EQ(test::thrown_code([&] { (void)ShareableList::create(name_, {1}); }), std::errc::file_exists);
  list.unlink();
  EXPECT_FALSE(test::name_exists(name_));
  EXPECT_EQ(list[0], Item(1));
  list.close();
  EXPECT_THROW((void)list.get(0), std::logic_error);
  EXPECT_EQ(test::thrown_code([&] { (void)ShareableList::attach(name_); }), std::errc::no_such_file_or_directory);
}

TEST_F(ShareableListTest, Index_IsCheckedOnBothSides) {
  const auto list = ShareableList::create({1, 2});
  EXPECT_EQ(list[-2], Item(1));
  EXPECT_THROW((void)list.get(2), std::out_of_range);
  EXPECT_THROW((void)list.get(-3), std::out_of_range);
  EXPECT_THROW(list.set(2, 0), std::out_of_range);
  EXPECT_THROW((void)list.capacity(2), std::out_of_range);
  EXPECT_THROW((void)list.get<std::string>(0), std::bad_variant_access);
}

TEST_F(ShareableListTest, AnEmptyListIsAList) {
  const auto list = ShareableList::create(std::span<const Item>());
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.shm().size_bytes(), 16U);
  EXPECT_EQ(list.format(), "");
  EXPECT_EQ(ShareableList::attach(list.handle()).size(), 0U);
  EXPECT_THROW((void)list.get(0), std::out_of_range);
}

TEST_F(ShareableListTest, EveryTypeMayFollowEveryOther) {
  const std::vector<Item> items{none,
                                false,
                                true,
                                std::numeric_limits<std::int64_t>::min(),
                                -0.0,
                                std::numeric_limits<double>::infinity(),
                                "",
                                "1234567",
                                bytes_item(""),
                                bytes_item("12345678")};
  const auto list = ShareableList::create({0});
  for (const auto& from : items) {
    for (const auto& to : items) {
      list.set(0, from);
      list.set(0, to);
      ASSERT_EQ(list.get(0), to);
    }
  }
  EXPECT_TRUE(std::signbit(ShareableList::create({-0.0}).get<double>(0)));
}

TEST_F(ShareableListTest, Assignment_IsLimitedByThePlaceLaidOutAtCreation) {
  const auto list = ShareableList::create({"1234567", "12345678", 5});
  EXPECT_EQ(list.capacity(0), 8U);
  EXPECT_EQ(list.capacity(1), 16U);
  list.set(0, "abcdefgh");
  EXPECT_EQ(list.get(0), Item("abcdefgh"));
  EXPECT_THROW(list.set(0, "123456789"), std::length_error);
  EXPECT_EQ(test::thrown_text([&] { list.set(2, bytes_item("123456789")); }),
            "bytes/str item exceeds available storage: 9 bytes in a place of 8");
  EXPECT_EQ(list.get(0), Item("abcdefgh"));
  EXPECT_EQ(list.get(2), Item(5));
  EXPECT_EQ(list.get(1), Item("12345678")) << "neighbours are untouched";
  list.set(1, "x");
  EXPECT_EQ(list.get(1), Item("x")) << "nothing of a longer text is left";
}

TEST_F(ShareableListTest, TextsHaveRoomForTheirBytesAndNotTheirCharactersOnly) {
  const std::string text = "ééééééé€𝄞";  // 21 bytes, 9 characters: Python would cut it after 16
  const auto list = ShareableList::create({text, "é"});
  EXPECT_EQ(list.get(0), Item(text));
  EXPECT_EQ(list.capacity(0), 24U);
  list.set(1, "éééé");
  EXPECT_EQ(list.get(1), Item("éééé"));
  EXPECT_THROW(list.set(1, "ééééé"), std::length_error);
}

TEST_F(ShareableListTest, NulsAtTheEndAreKept) {
  const std::string text("text\0\0", 6);
  const auto list =
      ShareableList::create({text, bytes_item(std::string_view("\0\0\0", 3)), bytes_item("a"), "12345678"});
  EXPECT_EQ(list.get(0), Item(text));
  EXPECT_EQ(list.get(1), Item(bytes_item(std::string_view("\0\0\0", 3))));
  EXPECT_EQ(list.format(), "6s0x3s0x8s16s");
  list.set(2, bytes_item(std::string_view("1234567\0", 8)));
  EXPECT_EQ(list.get(2), Item(bytes_item(std::string_view("1234567\0", 8))));
  list.set(2, bytes_item("b"));
  EXPECT_EQ(list.get(2), Item(bytes_item("b")));
  EXPECT_EQ(list.format(), "6s0x3s0x8s16s");
  EXPECT_EQ(ShareableList::attach(list.handle()).get(0), Item(text));
}

TEST_F(ShareableListTest, WhatTheLayoutCannotHoldIsRefused) {
  EXPECT_THROW((void)ShareableList::create({"\xc3"}), std::invalid_argument) << "no UTF-8";
  EXPECT_THROW((void)ShareableList::create({"\xed\xa0\x80"}), std::invalid_argument) << "a surrogate";
  const auto list = ShareableList::create({"12345678"});
  EXPECT_THROW(list.set(0, "\xff"), std::invalid_argument);
  EXPECT_EQ(list.get(0), Item("12345678"));
  EXPECT_EQ(ShareableList::create({std::string(9'999'991, 'x')}).get<std::string>(0).size(), 9'999'991U);
  EXPECT_THROW((void)ShareableList::create({std::string(9'999'992, 'x')}), std::length_error);
  EXPECT_EQ(ShareableList::create({std::string(99'999, '\0')}).get<std::string>(0).size(), 99'999U);
  EXPECT_THROW((void)ShareableList::create({std::string(100'000, '\0')}), std::length_error);
}

TEST_F(ShareableListTest, Format_IsThatOfAllItems) {
  const auto list = ShareableList::create({1, 2.0, true, none, "12345678", bytes_item("")});
  EXPECT_EQ(list.format(), "qdxxxxxxx?xxxxxx?x16s8s");
  list.set(0, "a");
  list.set(4, 0.5);
  EXPECT_EQ(list.format(), "8sdxxxxxxx?xxxxxx?xd8s");
  list.set(4, "a");
  EXPECT_EQ(list.format(), "8sdxxxxxxx?xxxxxx?x16s8s");
}

TEST_F(ShareableListTest, CountAndIndex_KnowPythonsEquality) {
  const auto list = ShareableList::create(
      {1, 1.0, true, "1", bytes_item("1"), none, 0, false, -0.0, std::numeric_limits<double>::quiet_NaN(), 0.5});
  EXPECT_EQ(list.count(1), 3U);
  EXPECT_EQ(list.count(true), 3U);
  EXPECT_EQ(list.count(1.0), 3U);
  EXPECT_EQ(list.count(0.0), 3U);
  EXPECT_EQ(list.count("1"), 1U);
  EXPECT_EQ(list.count(none), 1U);
  EXPECT_EQ(list.count(std::numeric_limits<double>::quiet_NaN()), 0U);
  EXPECT_EQ(list.count("nowhere"), 0U);
  EXPECT_EQ(list.index(bytes_item("1")), 4U);
  EXPECT_EQ(list.index(0), 6U);
  EXPECT_EQ(list.find(none), 5U);
  EXPECT_EQ(list.find(7), std::nullopt);
  EXPECT_THROW((void)list.index(7), std::invalid_argument);
  // Where rounding would make them equal: 2^63 - 1 and 2^63, 2^53 + 1 and 2^53.
  EXPECT_FALSE(equal_items(std::numeric_limits<std::int64_t>::max(), 9223372036854775808.0));
  EXPECT_FALSE(equal_items(9007199254740993, 9007199254740992.0));
  EXPECT_TRUE(equal_items(std::numeric_limits<std::int64_t>::min(), -9223372036854775808.0));
  EXPECT_FALSE(equal_items(0, std::numeric_limits<double>::quiet_NaN()));
  EXPECT_FALSE(equal_items(0, std::numeric_limits<double>::infinity()));
}

TEST_F(ShareableListTest, TravelsByHandleAndCanBeAttachedReadOnly) {
  auto list = ShareableList::create({1, "two"});
  const SegmentHandle handle = list.handle();
  list.unlink();
  EXPECT_EQ(test::run_in_child([&] { ShareableList::attach(handle)[1] = "zwei"; }), 0);
  EXPECT_EQ(list.get(1), Item("zwei"));
  const auto reader = ShareableList::attach(handle, Access::read_only);
  EXPECT_EQ(reader.get(0), Item(1));
  EXPECT_THROW(reader.set(0, 2), std::logic_error);
}

TEST_F(ShareableListTest, CanBeMoved) {
  auto list = ShareableList::create({1, 2});
  auto moved = std::move(list);
  EXPECT_EQ(moved.get(1), Item(2));
  EXPECT_EQ(list.size(), 0U);  // NOLINT(bugprone-use-after-move): what is promised of it is tested
  EXPECT_THROW((void)list.get(0), std::out_of_range);
  list = std::move(moved);
  EXPECT_EQ(list.get(0), Item(1));
}

/// Bytes of a list that uses all there is, and a segment that holds what is made of them.
class ShareableListBytesTest : public ShareableListTest {
 protected:
  ShareableListBytesTest() {
    const auto list = ShareableList::create(
        {1, -2.5, true, none, "text", bytes_item("bytes and more"), "é", std::string("nul\0", 4)});
    const auto bytes = list.shm().bytes();
    good_.assign(bytes.begin(), bytes.end());
  }

  /// Attaches and uses everything; true if all was well. An error must be one of format, and nothing worse.
  static bool use(const SegmentHandle& handle) {
    try {
      const auto list = ShareableList::attach(handle);
      (void)list.format();
      (void)list.count("nowhere");
      for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(list.size()); ++i) {
        list.set(i, "12345678");
        if (list.get(i) != Item("12345678")) ADD_FAILURE() << "item " << i << " is not what was just written";
      }
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorKind::format) << error.what();
      return false;
    }
  }
  [[nodiscard]] std::uint64_t word(std::size_t at) const {
    std::uint64_t value = 0;
    std::memcpy(&value, good_.data() + at, sizeof value);
    return value;
  }
  /// The text of the error for the good bytes with one word changed; empty if there is none.
  [[nodiscard]] std::string refusal(std::size_t at, std::uint64_t value) const {
    auto bytes = good_;
    std::memcpy(bytes.data() + at, &value, sizeof value);
    const auto segment = hold(bytes);
    return test::thrown_text([&] { (void)ShareableList::attach(segment.handle()); });
  }
  [[nodiscard]] static SharedMemory hold(std::span<const std::byte> bytes) {
    auto segment = SharedMemory::create(
        bytes.size(), [&](std::span<std::byte> target) { std::copy(bytes.begin(), bytes.end(), target.begin()); });
    segment.unlink();
    return segment;
  }

  static constexpr std::size_t items_ = 8;
  static constexpr std::size_t data_ = 8 * (items_ + 2);
  std::vector<std::byte> good_;
};

TEST_F(ShareableListBytesTest, TruncatedAtAnyByteTheyAreRefused) {
  for (std::size_t length = 1; length < good_.size(); ++length) {
    const auto segment = hold(std::span(good_).first(length));
    ASSERT_FALSE(use(segment.handle())) << length << " of " << good_.size() << " bytes";
  }
  EXPECT_TRUE(use(hold(good_).handle()));
  good_.resize(good_.size() + 4096);  // some systems round segments up to pages
  EXPECT_TRUE(use(hold(good_).handle()));
}

TEST_F(ShareableListBytesTest, LengthsAndOffsetsThatDoNotFitAreNamed) {
  using ::testing::HasSubstr;
  constexpr auto huge = std::numeric_limits<std::uint64_t>::max();
  EXPECT_THAT(refusal(0, huge), HasSubstr("it says it has -1 items"));
  EXPECT_THAT(refusal(0, huge >> 1U), HasSubstr("it says it has 9223372036854775807 items"));
  EXPECT_THAT(refusal(0, huge / 25), HasSubstr("items"));
  EXPECT_THAT(refusal(0, items_ + 1), HasSubstr("it says it has 9 items"));
  EXPECT_THAT(refusal(8, 8), HasSubstr("its first offset is 8"));
  EXPECT_THAT(refusal(16, 0), HasSubstr("item 0 reaches from offset 0 to 0"));
  EXPECT_THAT(refusal(24, 8), HasSubstr("item 1 reaches from offset 8 to 8"));
  EXPECT_THAT(refusal(24, 17), HasSubstr("item 1 reaches")) << "between words";
  EXPECT_THAT(refusal(8 * (items_ + 1), word(8 * (items_ + 1)) + 8), HasSubstr("item 7 reaches"));
  EXPECT_THAT(refusal(8 * (items_ + 1), huge - 7), HasSubstr("item 7 reaches"));
  EXPECT_EQ(refusal(8, 0), "");
}

TEST_F(ShareableListBytesTest, FormatsAndCodesThatContradictAreRefusedWhenTheItemIsRead) {
  const std::size_t formats = data_ + word(8 * (items_ + 1));
  const std::size_t codes = formats + 8 * items_;
  const auto item_after = [&](std::size_t at, std::string_view change, std::ptrdiff_t item) {
    auto bytes = good_;
    std::memcpy(bytes.data() + at, change.data(), change.size());
    const auto segment = hold(bytes);
    const auto list = ShareableList::attach(segment.handle());
    return test::thrown_code([&] { (void)list.get(item); });
  };
  const std::error_code fine;
  EXPECT_EQ(item_after(formats, "d", 0), fine) << "the same bytes as a float";
  for (const char* bad : {"Q", "x", "9s", "99999999", "-1s", "+8s", "s", "s0x", "9s0x", "8s1x", "8x", "8sx",
                          "18446744s", "\xff\xff", "qq", " q"}) {
    EXPECT_EQ(item_after(formats, bad, 0), ErrorKind::format) << bad;
  }
  EXPECT_EQ(item_after(formats, "8s", 0), ErrorKind::format) << "a text with the code of a number";
  for (const char* bad : {"\1", "\2", "\3", "\4", "\x80"}) EXPECT_EQ(item_after(codes, bad, 0), ErrorKind::format);
  EXPECT_EQ(item_after(codes + 3, std::string_view("\0", 1), 3), ErrorKind::format) << "None with another's code";
  EXPECT_EQ(item_after(codes + 4, "\2", 4), fine) << "a text as bytes";
  EXPECT_EQ(item_after(data_ + word(8 + 8 * 4), "\xff", 4), ErrorKind::format) << "no UTF-8";
  EXPECT_EQ(item_after(data_ + word(8 + 8 * 5), "\xff", 5), fine) << "bytes may be anything";
}

TEST_F(ShareableListBytesTest, RandomChangesLeadToAnErrorOrToItems) {
  auto segment = hold(good_);
  const auto bytes = segment.writable_bytes();
  std::mt19937 random(20261128);
  int read = 0;
  const int rounds = 20'000;
  for (int round = 0; round < rounds; ++round) {
    std::copy(good_.begin(), good_.end(), bytes.begin());
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      std::byte& target = bytes[random() % bytes.size()];
      target = random() % 2 == 0 ? target ^ std::byte(1U << random() % 8) : std::byte(random() % 256);
    }
    read += use(segment.handle()) ? 1 : 0;
  }
  EXPECT_GT(read, rounds / 20);
  EXPECT_LT(read, rounds - rounds / 20);
}

TEST_F(ShareableListBytesTest, AWriterBesideUsCannotLeadUsOutside) {
  auto segment = hold(good_);
  const auto list = ShareableList::attach(segment.handle());
  test::Child writer([&] {
    std::mt19937 random(1);
    const auto bytes = segment.writable_bytes();
    for (;;) bytes[random() % bytes.size()] = std::byte(random() % 256);
  });
  const auto end = Deadline::after(std::chrono::milliseconds(300));
  while (!end.passed()) {
    for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(list.size()); ++i) {
      try {
        (void)list.get(i);
        list.set(i, 1);
      } catch (const FormatError&) {
      }
    }
  }
  EXPECT_EQ(list.size(), items_) << "the length was read once";
}

}  // namespace
}  // namespace runrig
