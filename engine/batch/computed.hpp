#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "summary.hpp"
#include "variables.hpp"

/// The elements of a slab: read from a dataset, or computed from several.
namespace runrig::batch {

/// Parent: elements that a program computes from variables, in its order, broadcast to one shape.
struct Computed {
  const Program* program = nullptr;
  std::vector<OutputVariable> variables;
};

/// Workers: the same.
struct ComputedPlan {
  VariablesPlan variables;
  std::span<const std::byte> code;
  std::size_t program_scratch = 0;
  DType dtype = DType::float64;
};

/// Workers: a slab of a LargeDataset. Boxes count from its start.
struct SlabSource {
  Source source;                           // whose selection is the slab
  const ComputedPlan* computed = nullptr;  // if not null, in place of the source
  Shape start;                             // of the slab in what is computed

  /// Into memory that begins with the slab's first element and has so many bytes between neighbours. Throws as
  /// hdf5::Dataset::read() does; Error argument_out_of_domain as run_program().
  void read(SliceContext& context, const hdf5::Box& box, std::byte* target,
            std::span<const std::ptrdiff_t> strides) const;
};

/// Parent: the memory that add_slab_source() takes.
[[nodiscard]] std::size_t told_bytes(const LargeDataset& dataset);
[[nodiscard]] SlabSource* add_slab_source(ArenaWriter& memory, const Session::State& state, const LargeDataset& dataset,
                                          const hdf5::Box& slab, std::size_t cache_bytes);
/// Parent: private memory that a worker may use to compute a box of so many elements.
[[nodiscard]] std::size_t data_bytes(const LargeDataset& dataset, const Session::State& state,
                                     std::uint64_t box_elements);

}  // namespace runrig::batch
