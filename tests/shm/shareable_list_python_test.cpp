// The same list in a real Python, both ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "runrig/shm/shareable_list.hpp"
#include "session_support.hpp"
#include "shareable_list_support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using Item = ShareableList::Item;
using test::bytes_item;
using test::none;

class ShareableListPythonTest : public ::testing::Test {
 protected:
  /// `attach()` and `make(items)` are there; neither ends with the interpreter (which up to 3.12 would unlink both).
  [[nodiscard]] std::string run(const std::string& python, const std::string& program) const {
    const auto result = test::run_python(python, R"(
import sys
from multiprocessing import shared_memory, resource_tracker
def keep(items):
    resource_tracker.unregister(items.shm._name, "shared_memory")
    return items
def attach(): return keep(shared_memory.ShareableList(name=sys.argv[1]))
def make(items): return keep(shared_memory.ShareableList(items, name=sys.argv[1]))
)" + program,
                                         {name_});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  const test::SegmentName name_;
};

TEST_F(ShareableListPythonTest, PythonReadsAndChangesWhatIsMadeHere) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  const auto list =
      ShareableList::create(name_, {"howdy", bytes_item("HoWdY"), -273.154, 100, none, true, "ééééééé€𝄞",
                                    bytes_item(std::string_view("a\0", 2)), -9223372036854775807 - 1, ""});
  EXPECT_EQ(
      run(python, R"(
a = attach()
print(ascii(list(a)), len(a), a.index(100), a.count(None), a.format)
a[0] = 'HOWDY'; a[1] = None; a[2] = 'dry ice'; a[3] = False; a[4] = b'\x00\xff'; a[5] = 2.5; a[6] = '𝄞€é' * 2
a[7] = 'b'; a[-2] = 7
try: a[-1] = 'too long for it'
except ValueError: print('refused')
)"),
      "['howdy', b'HoWdY', -273.154, 100, None, True, '\\xe9\\xe9\\xe9\\xe9\\xe9\\xe9\\xe9\\u20ac\\U0001d11e', b'a', "
      "-9223372036854775808, ''] 10 3 1 8s8sdqxxxxxx?xxxxxxxx?24s2s0xq8s\nrefused\n");
  EXPECT_THAT(list.to_vector(), ElementsAre(Item("HOWDY"), Item(none), Item("dry ice"), Item(false),
                                            Item(bytes_item(std::string_view("\0\xff", 2))), Item(2.5), Item("𝄞€é𝄞€é"),
                                            Item("b"), Item(7), Item("")));
}

TEST_F(ShareableListPythonTest, WhatPythonMakesIsReadAndChangedHere) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  (void)run(python, "make(['text', b'\\x00bytes', 1.5, -1, None, True, False, '', 2**63 - 1, '1234567', 'é'])");
  const auto list = ShareableList::attach(name_);
  EXPECT_THAT(list.to_vector(),
              ElementsAre(Item("text"), Item(bytes_item(std::string_view("\0bytes", 6))), Item(1.5), Item(-1),
                          Item(none), Item(true), Item(false), Item(""), Item(std::numeric_limits<std::int64_t>::max()),
                          Item("1234567"), Item("é")));
  list[0] = none;
  list[1] = "€";
  list[2] = bytes_item(std::string_view("x\0\0", 3));
  list[3] = true;
  list[4] = 0.25;
  list[5] = "12345678";
  list[-1] = "éé";
  EXPECT_THROW(list[9] = "123456789", std::length_error);
  EXPECT_EQ(run(python, "a = attach(); print(ascii(list(a))); a[2] = b'12345678'; a[9] = 'abcdefgh'"),
            "[None, '\\u20ac', b'x', True, 0.25, '12345678', False, '', 9223372036854775807, '1234567', "
            "'\\xe9\\xe9']\n");
  EXPECT_EQ(list.get(2), Item(bytes_item("12345678"))) << "written by Python over an item that ended with NULs";
  EXPECT_EQ(list.get(9), Item("abcdefgh"));
}

// Python's documentation says so: NULs at the end are lost there, and texts with more bytes than characters are cut.
TEST_F(ShareableListPythonTest, WhatPythonItselfLosesIsReadAsPythonReadsIt) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  (void)run(python, "make([b'a\\x00', 'ééééééé', 'a' + 'é' * 6])");
  const auto list = ShareableList::attach(name_);
  EXPECT_EQ(list.get(0), Item(bytes_item("a")));
  EXPECT_EQ(list.get(1), Item("éééé"));
  EXPECT_EQ(test::thrown_code([&] { (void)list.get(2); }), ErrorKind::format) << "cut in the middle of a character";
  list.set(2, "ok");
  EXPECT_EQ(list.get(2), Item("ok"));
}

// Random lists of what both can hold: the same bytes to the last one.
TEST_F(ShareableListPythonTest, TheBytesAreThoseThatPythonWrites) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  std::mt19937 random(3);
  std::string lists;
  std::string ours;
  const auto letters = [&] {
    std::string text(random() % 30, ' ');
    for (char& each : text) each = static_cast<char>('a' + random() % 26);
    return text;
  };
  for (int round = 0; round < 60; ++round) {
    std::vector<Item> items(random() % 12);
    lists += "[";
    for (auto& each : items) {
      const auto kind = random() % 6;
      const auto number = static_cast<int>(random());
      const std::string text = letters();
      if (kind == 0) each = none;
      if (kind == 1) each = random() % 2 == 0;
      if (kind == 2) each = number;
      if (kind == 3) each = number / 1024.0;
      if (kind == 4) each = text;
      if (kind == 5) each = bytes_item(text);
      if (kind == 0) lists += "None,";
      if (kind == 1) lists += std::get<bool>(each) ? "True," : "False,";
      if (kind == 2) lists += std::to_string(number) + ",";
      if (kind == 3) lists += std::to_string(number) + "/1024,";
      if (kind == 4) lists += "'" + text + "',";
      if (kind == 5) lists += "b'" + text + "',";
    }
    lists += "],\n";
    auto list = ShareableList::create(items);
    for (const std::byte each : list.shm().bytes()) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", std::to_integer<unsigned>(each));
      ours += digits;
    }
    ours += "\n";
    list.unlink();
  }
  EXPECT_EQ(run(python, "for items in [" + lists + R"(]:
    made = shared_memory.ShareableList(items)
    print(made.shm.buf.hex())
    made.shm.close()
    made.shm.unlink()
)"),
            ours);
}

}  // namespace
}  // namespace runrig
