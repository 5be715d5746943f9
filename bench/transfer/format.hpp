#pragma once

#include <cstddef>
#include <string>

namespace runrig::bench {

/// "8 KiB"; exact where it is a whole number of the unit.
[[nodiscard]] std::string format_size(std::size_t bytes);
/// "44 µs", "3.75 ms": three digits, UTF-8.
[[nodiscard]] std::string format_seconds(double seconds);
/// "3.1x", "120x".
[[nodiscard]] std::string format_ratio(double ratio);

}  // namespace runrig::bench
