#pragma once

#include <string>
#include <utility>
#include <vector>

namespace runrig::batch {

/// Attributes of an output, name and text.
using TextAttributes = std::vector<std::pair<std::string, std::string>>;

/// What says where an output comes from: the input file, its datasets, `how` it was made, and our version. Texts are
/// cut to what an attribute of the oldest file format holds.
[[nodiscard]] TextAttributes provenance(const std::string& file, const std::string& datasets,
                                        const TextAttributes& how);

}  // namespace runrig::batch
