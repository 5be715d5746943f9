#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "output_path.hpp"
#include "provenance.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/hdf5/output.hpp"
#include "small_outputs.hpp"
#include "state.hpp"
#include "variables.hpp"

namespace runrig::batch {

/// A function of the user's that makes all parts of a request, from all of its variables in their order.
struct OutputKernel {
  MapKernel kernel;
  std::vector<std::string> names;  // of the variables
  std::vector<DType> inputs;       // what it wants them to be
  std::vector<DType> outputs;
};

/// One dataset of the new file: `program` on the variables, element by element.
struct OutputPart {
  const Program* program = nullptr;   // none if there is a kernel, which makes
  std::uint32_t kernel_output = 0;    // this one
  std::vector<std::uint32_t> inputs;  // indices of the request's variables, in the program's order
  hdf5::OutputSpec spec;
  std::string dataset;                // its path in the output
  std::optional<std::uint32_t> like;  // the variable whose attributes and scales it takes
  bool all_fill = false;              // nothing is to be stored: `spec.fill` is everywhere
  TextAttributes attributes{};        // further ones
};

struct OutputRequest {
  std::vector<OutputVariable> variables;
  std::vector<OutputPart> parts;
  std::optional<OutputKernel> kernel{};
  std::uint64_t region_bytes = 0;  // of the boxes for OutputVariable::produce; more only where one chunk is larger
  std::string action;              // what a worker that dies was about, for the message: "reading /x"
};

/// Throws TaskError for results too large to be, Error no_space_on_device where what is stored as it is does not fit.
void check_space(const OutputRequest& request, const PendingOutput& output);

/// Computes and writes it: workers make tiles, the writer places their chunks, or the workers fill contiguous datasets
/// themselves. Parts of one shape and chunking are made in one pass over their variables. The file is published when it
/// is complete. Returns notes on what could not be kept.
/// Throws TaskError, Error (the file system's reasons), Cancelled; nothing is left then but the pending file, which is
/// its owner's to discard.
std::vector<std::string> make_output(Session::State& state, const OutputRequest& request, PendingOutput& output);

/// Bytes of the arrays that a request makes, as Progress counts them.
[[nodiscard]] std::uint64_t array_bytes(const OutputRequest& request);

/// Adds it to `small` if it is small enough; false if it is not. Both have to live as long as `small`. Throws TaskError
/// and Error for what cannot be made at all.
bool add_small(Session::State& state, SmallOutputs& small, const OutputRequest& request, PendingOutput& output);

}  // namespace runrig::batch
