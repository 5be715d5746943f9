#include "shuffle.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "byte_order.hpp"

namespace runrig::hdf5::detail {
namespace {

using Bytes = std::vector<std::byte>;

Bytes random_bytes(std::size_t count) {
  std::mt19937 random(static_cast<unsigned>(count));
  Bytes bytes(count);
  for (std::byte& each : bytes) each = static_cast<std::byte>(random());
  return bytes;
}

class VectorLevelTest : public ::testing::TestWithParam<VectorLevel> {
 protected:
  void SetUp() override {
    if (GetParam() > vector_level()) GTEST_SKIP() << "this processor does not have it";
  }
};

TEST_P(VectorLevelTest, ShuffleCollectsTheBytesOfEachPlace) {
  for (const std::size_t item : {1, 2, 3, 4, 5, 8, 12, 16, 24, 400}) {
    for (const std::size_t items : {1, 2, 15, 16, 17, 31, 32, 33, 64, 1000, 4099}) {
      for (const std::size_t rest : {std::size_t{0}, item - 1}) {
        const Bytes in = random_bytes(items * item + rest);
        Bytes expected = in;  // a single item, and the rest, stay as they are
        for (std::size_t i = 0; items > 1 && i < items; ++i) {
          for (std::size_t k = 0; k < item; ++k) expected[k * items + i] = in[i * item + k];
        }
        Bytes out(in.size());
        detail::shuffle(in, out, item, GetParam());
        ASSERT_TRUE(out == expected) << items << " items of " << item << " and " << rest;
        detail::unshuffle(expected, out, item, GetParam());
        ASSERT_TRUE(out == in) << items << " items of " << item << " and " << rest;
      }
    }
  }
}

TEST_P(VectorLevelTest, SwappingReversesTheBytesOfEachItem) {
  for (const std::size_t item : {1, 2, 4, 8}) {
    for (const std::size_t items : {1, 3, 7, 16, 33, 1001}) {
      const Bytes in = random_bytes(items * item + 1);  // misaligned by the byte in front
      Bytes expected(in.begin() + 1, in.end());
      for (auto at = expected.begin(); at != expected.end(); at += static_cast<std::ptrdiff_t>(item)) {
        std::reverse(at, at + static_cast<std::ptrdiff_t>(item));
      }
      Bytes out(expected.size());
      swap_bytes(std::span(in).subspan(1), out, item, GetParam());
      EXPECT_TRUE(out == expected) << items << " items of " << item;
      Bytes in_place = in;
      swap_bytes(std::span(in_place).subspan(1), item, GetParam());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), in_place.begin() + 1)) << items << " of " << item;
    }
  }
}

std::string level_name(const ::testing::TestParamInfo<VectorLevel>& each) {
  return each.param == VectorLevel::avx2 ? "avx2" : each.param == VectorLevel::sse2 ? "sse2" : "scalar";
}
INSTANTIATE_TEST_SUITE_P(Levels, VectorLevelTest,
                         ::testing::Values(VectorLevel::scalar, VectorLevel::sse2, VectorLevel::avx2), level_name);

}  // namespace
}  // namespace runrig::hdf5::detail
