#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace runrig::pickle::detail {

/// One character of UTF-8 (surrogates allowed) at the start of `text`: its code point and length; length 0 if there
/// is none.
struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;
};
[[nodiscard]] Character first_character(std::string_view text) noexcept;

/// True if `text` is UTF-8 without surrogates: what escape_text() leaves as it is.
[[nodiscard]] bool is_plain_text(std::string_view text) noexcept;

/// Appends the UTF-8 of a code point up to U+10FFFF.
void append_character(std::string& out, std::uint32_t code);

/// For error messages: printable ASCII stays, the rest is escaped, and long text is cut.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace runrig::pickle::detail
