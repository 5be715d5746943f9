#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "output_path.hpp"
#include "provenance.hpp"
#include "state.hpp"

namespace runrig::batch {

/// Writes a histogram as two datasets of a new file, counts at `to` and edges at `to` + "_edges", by the session's
/// writer, and publishes the file. `counts` are int64, `edges` doubles, one more, written as `edge_dtype`; both get the
/// attributes. Throws TaskError, Error, Cancelled; then the pending file is its owner's to discard.
void write_histogram(Session::State& state, std::span<const std::byte> counts, std::span<const double> edges,
                     DType edge_dtype, const std::string& to, const TextAttributes& attributes, PendingOutput& output);

}  // namespace runrig::batch
