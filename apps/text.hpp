#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/batch/session.hpp"

namespace runrig::cli {

/// "512 B", "3.8 MiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

/// A JSON string with its quotes. What is not UTF-8 is replaced.
[[nodiscard]] std::string json_string(std::string_view text);
/// A JSON number with all its digits. NaN is null; infinities are 1e999 and -1e999, which is valid JSON and which
/// readers take for infinity.
[[nodiscard]] std::string json_number(double value);
[[nodiscard]] std::string json_number(const Number& value);
/// "1+2j" of the texts of its parts.
[[nodiscard]] std::string complex_text(const std::string& real, const std::string& imaginary);
/// A JSON array of integers.
[[nodiscard]] std::string json_shape(const Shape& shape);
[[nodiscard]] std::string json_failures(const std::vector<batch::Failure>& failures);

/// Text from a file, safe for a terminal: control bytes and what is not UTF-8 are shown as escapes, so that one line
/// stays one line.
[[nodiscard]] std::string printable(std::string_view text);

/// Rows of cells as a table with aligned columns; the columns named in `right` (by number) are flush right.
[[nodiscard]] std::string table(const std::vector<std::vector<std::string>>& rows,
                                const std::vector<std::size_t>& right);

/// Columns of the terminal behind a descriptor; 80 if there is none.
[[nodiscard]] std::size_t terminal_columns(int fd);

/// The failures, one line each, on stderr, and a last line that counts them if there are several.
void print_failures(const std::vector<batch::Failure>& failures);

}  // namespace runrig::cli
