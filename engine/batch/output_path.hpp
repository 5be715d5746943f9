#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runrig/batch/pending_output.hpp"

namespace runrig::batch {

/// The output of `input` by the template: {stem} (file name without its last extension), {name} (file name), {ext}
/// (extension with its dot), {dir} (the input's directory, "." if none). Throws Error for an unknown or unclosed
/// field. Braces are written {{ and }}.
[[nodiscard]] std::string expand_output(std::string_view pattern, std::string_view input);

/// One output path for each input. Throws Error when two inputs would have one output, or an output is one of
/// `all_inputs` (compared as files, not as texts).
[[nodiscard]] std::vector<std::string> plan_outputs(std::string_view pattern, const std::vector<std::string>& inputs,
                                                    const std::vector<std::string>& all_inputs);

/// Whether two paths lead to one file, also if it is not there yet.
[[nodiscard]] bool is_same_file(const std::string& a, const std::string& b);

/// The directory of a path, "." if it names none.
[[nodiscard]] std::string directory_of(const std::string& path);

}  // namespace runrig::batch
