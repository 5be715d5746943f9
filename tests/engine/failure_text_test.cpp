#include "process/failure_text.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <stdexcept>

namespace runrig::detail {
namespace {

struct Utf8Case {
  const char* label;
  std::string_view text;
  const char* valid;
};
void PrintTo(const Utf8Case& each, std::ostream* out) { *out << each.label; }

class Utf8 : public ::testing::TestWithParam<Utf8Case> {};

TEST_P(Utf8, BytesThatAreNoTextBecomeQuestionMarks) { EXPECT_EQ(valid_utf8(GetParam().text), GetParam().valid); }

INSTANTIATE_TEST_SUITE_P(
    Texts, Utf8,
    ::testing::Values(Utf8Case{"plain", "a b\tc\n", "a b\tc\n"}, Utf8Case{"two_three_four", "ä€😀", "ä€😀"},
                      Utf8Case{"control", "\x1b[31m\x7f", "?[31m?"}, Utf8Case{"cut", "x\xe2\x82", "x??"},
                      Utf8Case{"overlong", "\xc0\xaf\xe0\x80\xaf", "?????"},
                      Utf8Case{"surrogate", "\xed\xa0\x80", "???"},
                      Utf8Case{"past_the_end", "\xf4\x90\x80\x80", "????"},
                      Utf8Case{"nul", std::string_view("a\0b", 3), "a?b"}, Utf8Case{"empty", "", ""}),
    [](const auto& each) { return std::string(each.param.label); });

ExceptionText described(const auto& thrown) {
  try {
    throw thrown;
  } catch (...) {
    return describe_current_exception();
  }
}

TEST(FailureText, ExceptionsAreNamed) {
  EXPECT_EQ(described(std::out_of_range("far")).type, "std::out_of_range");
  EXPECT_EQ(described(std::out_of_range("far")).text, "far");
  EXPECT_EQ(described(7).type, "int");
  struct Own {};
  EXPECT_NE(described(Own{}).type.find("Own"), std::string::npos);
  EXPECT_TRUE(described(std::bad_alloc()).out_of_memory);
}

TEST(FailureText, NestedExceptionsAreChained) {
  try {
    try {
      throw std::runtime_error("inner");
    } catch (...) {
      std::throw_with_nested(std::runtime_error("outer"));
    }
  } catch (...) {
    EXPECT_EQ(describe_current_exception().text, "outer: inner");
  }
}

TEST(FailureText, SignalsHaveNames) {
  EXPECT_EQ(signal_name(SIGSEGV), "SIGSEGV");
  EXPECT_EQ(signal_name(63), "signal 63");
}

}  // namespace
}  // namespace runrig::detail
