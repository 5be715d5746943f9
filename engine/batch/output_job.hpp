#pragma once

#include <optional>
#include <string>
#include <vector>

#include "output_path.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/shm/view.hpp"
#include "state.hpp"

namespace runrig::batch {

/// What an output is computed from: a dataset, or an array in shared memory.
struct OutputVariable {
  std::string file;
  std::string dataset;
  std::optional<ArrayHandle> array;  // in place of the two above
  hdf5::Selection selection;         // of the dataset, or all of the array; without axes it is one element for all
  DType dtype = DType::float64;
  std::uint64_t chunk_bytes = 0;  // decoded, of the dataset
};

/// One dataset in one new file: `program` on the variables, element by element.
struct OutputRequest {
  std::vector<OutputVariable> variables;  // as the program has them
  const Program* program = nullptr;
  hdf5::OutputSpec spec;
  std::string dataset;              // its path in the output
  std::optional<std::size_t> like;  // the variable whose attributes and dimension scales it takes
  bool all_fill = false;            // nothing is to be stored: the fill value in `spec` is every element's
  std::string action;               // what a worker that dies was about, for the message: "reading /x"
};

/// Computes and writes it: workers make tiles, the writer places their chunks, or the workers fill a contiguous dataset
/// themselves. The file is published when it is complete. Returns notes on what could not be kept.
/// Throws TaskError, Error (the file system's reasons), Cancelled; nothing is left then but the pending file, which is
/// its owner's to discard.
std::vector<std::string> make_output(Session::State& state, const OutputRequest& request, PendingOutput& output);

}  // namespace runrig::batch
