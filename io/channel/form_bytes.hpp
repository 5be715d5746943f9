#pragma once

#include <cstddef>
#include <vector>

#include "forms.hpp"
#include "framed_bytes.hpp"
#include "runrig/channel/pickle.hpp"

namespace runrig::pickle::detail {

/// What Forms write, for a Decoder to compare with, so that the two cannot drift apart:
///
///     static const auto head = form([](auto forms) { forms.global("datetime", "date"); });
template <class Write>
[[nodiscard]] std::vector<std::byte> form(const Write& write) {
  std::vector<std::byte> bytes;
  bytes.reserve(256);  // enough for each; without it GCC 12 takes the growing for an overrun
  FramedBytes sink(bytes, default_protocol, false);
  write(Forms<FramedBytes>(sink));
  return bytes;
}

}  // namespace runrig::pickle::detail
