#include "utf8.hpp"

#include <cstddef>
#include <cstdint>

namespace runrig::detail {
namespace {

// What may follow a first byte: how many bytes, and the range of the first of them, which is where overlong forms,
// surrogates and too large values show.
struct Sequence {
  std::size_t length;
  std::uint8_t lowest_second;
  std::uint8_t highest_second;
};

constexpr Sequence sequence_of(std::uint8_t first) noexcept {
  if (first < 0x80) return {1, 0, 0};
  if (first >= 0xc2 && first <= 0xdf) return {2, 0x80, 0xbf};
  if (first == 0xe0) return {3, 0xa0, 0xbf};
  if (first == 0xed) return {3, 0x80, 0x9f};
  if (first >= 0xe1 && first <= 0xef) return {3, 0x80, 0xbf};
  if (first == 0xf0) return {4, 0x90, 0xbf};
  if (first >= 0xf1 && first <= 0xf3) return {4, 0x80, 0xbf};
  if (first == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  for (std::size_t at = 0; at < text.size();) {
    const Sequence sequence = sequence_of(byte(at));
    if (sequence.length == 0 || sequence.length > text.size() - at) return false;
    for (std::size_t i = 1; i < sequence.length; ++i) {
      const bool second = i == 1;
      if (byte(at + i) < (second ? sequence.lowest_second : 0x80) ||
          byte(at + i) > (second ? sequence.highest_second : 0xbf)) {
        return false;
      }
    }
    at += sequence.length;
  }
  return true;
}

}  // namespace runrig::detail
