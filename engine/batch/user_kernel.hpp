#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "map_plan.hpp"
#include "runrig/engine/expression.hpp"
#include "state.hpp"

/// Functions of the user's own, as runrig/kernel.h has them. Their libraries are loaded in workers only.
namespace runrig::batch {

/// What a kernel takes and makes; none for `any`.
struct KernelSignature {
  std::vector<std::optional<DType>> inputs;
  std::vector<std::optional<DType>> outputs;

  /// "float64 any -> float32". Throws FormatError; `name` is whose it is.
  [[nodiscard]] static KernelSignature parse(std::string_view text, const std::string& name);

  /// The types of the outputs for inputs of these types. `asked`: in place of what NumPy would find for `any`. Throws
  /// ExpressionError where NumPy finds none.
  [[nodiscard]] std::vector<DType> results(std::span<const DType> given, std::optional<DType> asked) const;
};

/// "/path/libmine.so:function"
[[nodiscard]] std::string kernel_name(std::string_view library, std::string_view function);

/// Loads the kernel in a reader and asks what it is; `kernel.library` becomes the path of the file. Throws FormatError
/// with the reason: no such library or function, another version, a library that crashes when it is loaded.
[[nodiscard]] KernelSignature load_kernel(Session::State& state, MapKernel& kernel);

/// Whether elements can be given to a kernel that wants another type: as numpy.can_cast(..., 'same_kind').
[[nodiscard]] bool can_convert(DType from, DType to) noexcept;

struct KernelInput {
  std::uint32_t variable = 0;  // of the plan
  const char* name = nullptr;
  DType given = DType::float64;
  DType wanted = DType::float64;
};
/// In the arena.
struct KernelPlan {
  const char* library = nullptr;
  const char* function = nullptr;
  const char* parameter = nullptr;
  std::span<const KernelInput> inputs;
  std::span<const DType> outputs;
  Shape shape;  // of the result

  /// Memory for converted inputs, outputs and the message, for a block of so many elements.
  [[nodiscard]] std::size_t room_bytes(std::size_t elements) const;
};

/// Worker: calls the kernel for one block; `variables` are the plan's, packed and aligned. Returns where the outputs
/// are, in `room`. Throws FormatError that names the kernel.
[[nodiscard]] std::vector<std::byte*> run_kernel(const KernelPlan& plan, std::span<const Operand> variables,
                                                 const hdf5::Box& block, std::byte* room);

/// Why a tile was not computed, if that was by a kernel's doing; else as failure_text() says.
[[nodiscard]] std::string tile_failure_text(const SliceOutcome& outcome, const KernelPlan* kernel, const MapTile& tile,
                                            std::string_view action);

}  // namespace runrig::batch
