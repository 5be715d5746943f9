#pragma once

#include <span>
#include <string_view>
#include <variant>

#include "runrig/shm/shareable_list.hpp"

/// What the tests of ShareableList share.
namespace runrig::test {

inline constexpr std::monostate none;

[[nodiscard]] inline ShareableList::Bytes bytes_item(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace runrig::test
