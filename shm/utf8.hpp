#pragma once

#include <string_view>

namespace runrig::detail {

/// Whether the bytes are UTF-8 as Python decodes it: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

}  // namespace runrig::detail
