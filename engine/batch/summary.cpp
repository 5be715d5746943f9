#include "summary.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace runrig::batch {
Statistics summarize_values(DType dtype, const std::byte* values, std::uint64_t elements) {
  StatisticsTree tree(dtype);
  for (std::uint64_t first = 0; first < elements; first += statistics_block_elements) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(statistics_block_elements, elements - first));
    tree.add(summarize_block(dtype, values + first * item_bytes(dtype), count));
  }
  return tree.result();
}

Statistics summarize_small(SliceContext& context, hdf5::Dataset& dataset, const hdf5::Selection& selection) {
  const DType dtype = dataset.info().type.dtype;
  const std::uint64_t elements = selection.shape.elements();
  if (elements == 0) return summarize_values(dtype, nullptr, 0);
  std::byte* values = context.scratch(static_cast<std::size_t>(elements) * item_bytes(dtype));
  dataset.read(selection, hdf5::Box::all(selection.shape), values);
  return summarize_values(dtype, values, elements);
}

Statistics summarize_constant(DType dtype, std::span<const std::byte> element, std::uint64_t elements) {
  StatisticsTree tree(dtype);
  const std::uint64_t whole = elements / statistics_block_elements;
  const auto rest = static_cast<std::size_t>(elements % statistics_block_elements);
  std::vector<std::byte> block((whole > 0 ? statistics_block_elements : rest) * element.size());
  for (std::size_t i = 0; i < block.size(); i += element.size()) {
    std::memcpy(block.data() + i, element.data(), element.size());
  }
  if (whole > 0) tree.add_repeated(summarize_block(dtype, block.data(), statistics_block_elements), whole);
  if (rest > 0) tree.add(summarize_block(dtype, block.data(), rest));
  return tree.result();
}

}  // namespace runrig::batch
