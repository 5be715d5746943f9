#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "runrig/channel/transfer.hpp"
#include "support.hpp"

/// What the tests of typed pickles share.
namespace runrig::pickle::test_samples {

template <class T>
[[nodiscard]] std::vector<std::byte> encoded(const T& value, const Encoding& encoding = {}) {
  std::vector<std::byte> bytes;
  encode(bytes, value, encoding);
  return bytes;
}

/// What the error says with which `bytes` are refused, where a T is expected.
template <class T>
[[nodiscard]] std::string refusal(std::span<const std::byte> bytes, const Limits& limits = {}) {
  EXPECT_EQ(test::thrown_code([&] { (void)decode<T>(bytes, limits); }), ErrorKind::format);
  return test::thrown_text([&] { (void)decode<T>(bytes, limits); });
}

}  // namespace runrig::pickle::test_samples
