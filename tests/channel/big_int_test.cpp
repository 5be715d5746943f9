#include "runrig/channel/big_int.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace runrig::pickle {
namespace {

TEST(BigIntTest, DecimalTextSurvivesTheWayThroughBytes) {
  for (const char* text : {"0", "1", "-1", "127", "128", "-128", "-129", "255", "256", "1000000000", "999999999",
                           "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551615",
                           "18446744073709551616", "-18446744073709551616", "170141183460469231731687303715884105727",
                           "-1000000000000000000000000000000000000000"}) {
    const auto value = BigInt::from_decimal(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(value->to_decimal(), text);
    EXPECT_EQ(BigInt::from_bytes(value->bytes()), *value);
  }
}

TEST(BigIntTest, BytesAreAsFewAsHoldTheValue) {
  EXPECT_EQ(BigInt(0).bytes().size(), 0U);
  EXPECT_EQ(BigInt(127).bytes().size(), 1U);
  EXPECT_EQ(BigInt(128).bytes().size(), 2U);
  EXPECT_EQ(BigInt(-128).bytes().size(), 1U);
  EXPECT_EQ(BigInt(-129).bytes().size(), 2U);
  EXPECT_EQ(BigInt::from_unsigned(std::numeric_limits<std::uint64_t>::max()).bytes().size(), 9U);
}

TEST(BigIntTest, WhatDoesNotFitIsNoMachineInteger) {
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(BigInt(least).to_int64(), least);
  EXPECT_EQ(BigInt(least).to_uint64(), std::nullopt);
  EXPECT_EQ(BigInt::from_unsigned(most).to_uint64(), most);
  EXPECT_EQ(BigInt::from_unsigned(most).to_int64(), std::nullopt);
  EXPECT_EQ(BigInt::from_decimal("18446744073709551616")->to_uint64(), std::nullopt);
  EXPECT_EQ(BigInt::from_decimal("-9223372036854775809")->to_int64(), std::nullopt);
}

TEST(BigIntTest, TextThatIsNoIntegerIsRefused) {
  for (const char* text : {"", "-", "+", "1.0", " 1", "1 ", "0x10", "1_000", "--1"}) {
    EXPECT_FALSE(BigInt::from_decimal(text)) << text;
  }
  EXPECT_TRUE(BigInt::from_decimal(std::string(BigInt::max_decimal_digits, '9')));
  EXPECT_FALSE(BigInt::from_decimal(std::string(BigInt::max_decimal_digits + 1, '9')));
}

TEST(BigIntTest, DoublesLoseOnlyTheirFraction) {
  EXPECT_EQ(BigInt::from_double(0.75).to_decimal(), "0");
  EXPECT_EQ(BigInt::from_double(-1.5).to_decimal(), "-1");
  EXPECT_EQ(BigInt::from_double(2251799813685249.5).to_decimal(), "2251799813685249");
  EXPECT_EQ(BigInt::from_double(1e22).to_decimal(), "10000000000000000000000");
  EXPECT_EQ(BigInt::from_double(-1e22).to_decimal(), "-10000000000000000000000");
  EXPECT_EQ(BigInt::from_double(std::ldexp(1.0, 96)).to_decimal(), "79228162514264337593543950336");
  EXPECT_EQ(BigInt::from_double(std::ldexp(5.0, 31)).to_decimal(), "10737418240");
}

}  // namespace
}  // namespace runrig::pickle
