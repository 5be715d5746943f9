#pragma once

#include <string>
#include <string_view>

#include "runrig/channel/object.hpp"

namespace runrig::pickle::detail {

/// The text forms of protocols 0 and 1, without their newline. Each throws Refused for what Python does not write.
[[nodiscard]] Object parse_integer_line(std::string_view line);       // INT: "12", and "00" and "01" for bools
[[nodiscard]] Object parse_long_line(std::string_view line);          // LONG: "12L"
[[nodiscard]] double parse_real_line(std::string_view line);          // FLOAT: as repr() writes it
[[nodiscard]] std::string parse_unicode_line(std::string_view line);  // UNICODE: "raw-unicode-escape" to UTF-8
[[nodiscard]] std::string parse_string_line(std::string_view line);   // STRING: as repr() of Python 2 writes it
[[nodiscard]] std::size_t parse_index_line(std::string_view line);    // GET, PUT

}  // namespace runrig::pickle::detail
