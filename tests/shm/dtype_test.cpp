#include "runrig/shm/complex.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "support.hpp"

namespace runrig {
namespace {

TEST(DTypeTest, NamesAndCodesAreNumPysAndParseBack) {
  for (std::size_t i = 0; i < dtype_count; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(dtype_name(dtype)), dtype);
    EXPECT_EQ(parse_dtype(dtype_string(dtype)), dtype);
    EXPECT_EQ(visit_any_dtype(dtype, [](auto type) { return sizeof(typename decltype(type)::type); }),
              item_bytes(dtype));
  }
  EXPECT_EQ(parse_dtype(">f4"), std::nullopt) << "the other byte order";
  EXPECT_EQ(parse_dtype("<c32"), std::nullopt);
  EXPECT_EQ(parse_dtype(""), std::nullopt);
}

TEST(DTypeTest, ComplexNumbersAreTwoRealOnes) {
  static_assert(dtype_of<std::complex<float>> == DType::complex64 &&
                dtype_of<std::complex<double>> == DType::complex128);
  for (std::size_t i = 0; i < dtype_count; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(is_complex(dtype), i >= real_dtype_count);
    EXPECT_FALSE(is_complex(part_dtype(dtype)));
    EXPECT_EQ(item_bytes(dtype), (is_complex(dtype) ? 2 : 1) * item_bytes(part_dtype(dtype)));
  }
  EXPECT_FALSE(is_floating(DType::complex64));
  EXPECT_THROW(visit_dtype(DType::complex128, [](auto) {}), std::logic_error);
}

TEST(HalfTest, AllValuesSurviveTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    half value;
    value.bits = static_cast<std::uint16_t>(bits);
    const auto wide = static_cast<float>(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(half(wide))));
    } else {
      ASSERT_EQ(half(wide).bits, value.bits) << bits;
    }
  }
}

TEST(HalfTest, RoundsToNearestWithTiesToEvenAsNumPyDoes) {
  EXPECT_EQ(half(1.0F + 0x1p-11F).bits, 0x3C00);      // halfway, down to even
  EXPECT_EQ(half(1.0F + 3 * 0x1p-11F).bits, 0x3C02);  // halfway, up to even
  EXPECT_EQ(half(65519.0F).bits, 0x7BFF);             // the last that is not infinity
  EXPECT_EQ(half(65520.0F).bits, 0x7C00);
  EXPECT_EQ(half(0x1p-25F).bits, 0x0000);  // ties to zero
  EXPECT_EQ(half(std::nextafter(0x1p-25F, 1.0F)).bits, 0x0001);
  EXPECT_EQ(half(-0.0F).bits, 0x8000);
}

}  // namespace
}  // namespace runrig
