#pragma once

#include <string>
#include <string_view>

namespace runrig::hdf5::detail {

/// Appends `text` as a JSON string: quoted, escaped, and bytes that are no UTF-8 as U+FFFD.
void append_json_string(std::string& out, std::string_view text);
/// The shortest text that reads back as the same number; NaN is null, infinities are strings.
void append_json_number(std::string& out, double value);

}  // namespace runrig::hdf5::detail
