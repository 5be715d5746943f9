#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runrig/channel/pickle.hpp"

namespace runrig::pickle::test_samples {

/// A value of some C++ type, without the type.
struct TypedSample {
  std::string python;  ///< an expression for what it is there
  std::vector<std::byte> encoded{};
  /// The same in an older protocol.
  std::function<std::vector<std::byte>(int protocol)> encode_in{};
  /// Expects the pickle in `bytes`, whoever made it, to be read as this value.
  std::function<void(std::span<const std::byte> bytes, const std::string& what)> expect_decoded{};
  /// Reads a value of the same type and writes it.
  std::function<std::vector<std::byte>(std::span<const std::byte> bytes, const Limits& limits)> encode_again{};
};

/// One or more of each sort of type that travels, without those in shared memory.
[[nodiscard]] std::vector<TypedSample> typed_samples();

}  // namespace runrig::pickle::test_samples
