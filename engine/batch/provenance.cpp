#include "provenance.hpp"

#include <algorithm>

namespace runrig::batch {

TextAttributes provenance(const std::string& file, const std::string& datasets, const TextAttributes& how) {
  constexpr std::size_t max_text_bytes = 32 << 10;  // all of an object's attributes together 64 KiB
  TextAttributes attributes{{"runrig_input", file}, {"runrig_dataset", datasets}};
  attributes.insert(attributes.end(), how.begin(), how.end());
  attributes.emplace_back("runrig_version", RUNRIG_VERSION);
  for (auto& [name, text] : attributes) text.resize(std::min(text.size(), max_text_bytes));
  return attributes;
}

}  // namespace runrig::batch
