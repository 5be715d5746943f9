#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace runrig::batch {

/// Attributes of an output, name and text.
using TextAttributes = std::vector<std::pair<std::string, std::string>>;

/// What says where an output comes from: the input file, its datasets, `how` it was made, and our version. Texts are
/// cut to what an attribute of the oldest file format holds.
[[nodiscard]] inline TextAttributes provenance(const std::string& file, const std::string& datasets,
                                               const TextAttributes& how) {
  constexpr std::size_t max_text_bytes = 32 << 10;  // all of an object's attributes together 64 KiB
  TextAttributes attributes{{"runrig_input", file}, {"runrig_dataset", datasets}};
  attributes.insert(attributes.end(), how.begin(), how.end());
  attributes.emplace_back("runrig_version", RUNRIG_VERSION);
  for (auto& [name, text] : attributes) text.resize(std::min(text.size(), max_text_bytes));
  return attributes;
}

}  // namespace runrig::batch
