#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runrig/engine/expression.hpp"
#include "runrig/engine/launch.hpp"
#include "runrig/shm/view.hpp"
#include "state.hpp"
#include "worker.hpp"

/// What expressions are computed from: datasets and arrays, as the parent knows them and as workers are told.
namespace runrig::batch {

/// Parent: one variable. Its shape is that of its selection; NumPy's rules broadcast it to that of a result.
struct OutputVariable {
  std::string file;
  std::string dataset;
  // In place of the two above: an array in shared memory, or elements in C order in the arena, its owner's to keep.
  std::optional<ArrayHandle> array{};
  const std::byte* memory = nullptr;
  /// In place of an array that would take too much memory: called for one box of the result after the other, for an
  /// array of that box alone. The one before it is no longer used.
  std::function<ArrayHandle(const hdf5::Box& region)> produce{};
  hdf5::Selection selection{};  // of the dataset, or all of the array
  DType dtype = DType::float64;
  std::uint64_t chunk_bytes = 0;  // decoded, of the dataset
};

/// The same for workers.
struct MapVariable {
  Source source;
  DType dtype = DType::float64;
  bool in_segment = false;
  ArrayHandle array;
  Shape origin;  // of the array in the variable, if it is one box of that; set before each; no axes: all of it
  const std::byte* memory = nullptr;

  [[nodiscard]] const Shape& shape() const noexcept { return source.selection.shape; }
  /// One element for all.
  [[nodiscard]] bool scalar() const noexcept { return shape().elements() == 1; }
};
struct VariablesPlan {
  std::uint64_t id = 0;  // no other plan of the session has it: what workers keep of a plan, they keep by it
  MapVariable* items = nullptr;
  std::uint32_t count = 0;
  std::size_t data_bytes = 0;  // private memory that reading them may take, but for what is read itself
};

/// Parent: tells workers of variables.
[[nodiscard]] std::size_t told_bytes(std::span<const OutputVariable* const> variables);
[[nodiscard]] VariablesPlan add_variables(ArenaWriter& memory, const Session::State& state,
                                          std::span<const OutputVariable* const> variables);

/// The part of a variable of that shape that a box of what it is broadcast to is computed from.
[[nodiscard]] hdf5::Box broadcast_box(const Shape& variable, const hdf5::Box& box);

/// Worker: the elements of all variables for one box of what is computed: where they lie, if that is as they are
/// wanted, and else in the worker's scratch memory.
class VariableValues {
 public:
  /// All in scratch memory, each packed and aligned to 64: for who is to be given nothing that others have a hand in.
  enum class Place { anywhere, scratch };

  /// Reads them, and takes `extra_bytes` more. Throws as hdf5::Dataset::read() does.
  VariableValues(SliceContext& context, const VariablesPlan& plan, const hdf5::Box& box, std::size_t extra_bytes,
                 Place place = Place::anywhere);

  [[nodiscard]] std::size_t elements() const noexcept { return elements_; }  // of the box
  /// In the order of the plan.
  [[nodiscard]] const Operand& operator[](std::size_t variable) const { return operands_[variable]; }
  [[nodiscard]] std::span<const Operand> operands() const noexcept { return operands_; }
  /// Aligned to 64.
  [[nodiscard]] std::byte* extra() const noexcept { return extra_; }

 private:
  void add_array(const MapVariable& variable, const hdf5::Box& part, const hdf5::Box& box, const std::byte* data,
                 std::span<const std::ptrdiff_t> strides);

  std::size_t elements_;
  std::vector<Operand> operands_;
  std::vector<std::vector<OperandAxis>> axes_;
  std::vector<std::shared_ptr<const std::byte>> lying_;  // by variable, those used where they lie
  std::byte* extra_ = nullptr;
};

/// The multiple of 64 that is not less.
[[nodiscard]] constexpr std::size_t padded(std::size_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

}  // namespace runrig::batch
