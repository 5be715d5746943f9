#pragma once

#include <string>
#include <string_view>

namespace runrig::batch {

/// SHA-256 (FIPS 180-4) of a text, as 64 hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::string_view text);

}  // namespace runrig::batch
