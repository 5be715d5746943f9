#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/batch/session.hpp"
#include "runrig/engine/reduction.hpp"

/// Reductions of datasets in HDF5 files, of all elements or along axes, by all workers of a session.
namespace runrig::batch {

/// What is made of the elements.
struct ReduceOperation {
  enum class Kind : std::uint8_t { reduction, quantile, histogram };
  Kind kind = Kind::reduction;
  Reduction reduction = Reduction::sum;
  double quantile = 0.5;                // from 0 to 1, by NumPy's method 'linear'
  std::uint64_t bins = 10;              // of equal width, as numpy.histogram makes them
  std::optional<HistogramRange> range;  // none: from the smallest element to the largest

  /// "sum" and the other names of reductions, "median", "quantile:0.9", "histogram:64". Throws FormatError.
  [[nodiscard]] static ReduceOperation parse(std::string_view text);
  [[nodiscard]] std::string name() const;  // as parse() takes it
};

struct ReduceRequest {
  ReduceOperation operation;
  NanPolicy nan = NanPolicy::propagate;
  std::vector<std::string> files;
  std::vector<hdf5::DatasetRef> datasets;         // empty: all numeric ones
  std::optional<std::vector<std::int64_t>> axes;  // none: all of them, as histograms need
  /// Results with more elements are a failure of their dataset, unless they go to a file.
  std::uint64_t max_elements = std::uint64_t{1} << 20;
  /// A file, or a template as MapRequest has it; empty: results are returned. With it `datasets` names one.
  std::string output;
  std::string to = "/result";
  bool provenance = true;  // attributes say what the output was made of, as MapRequest has it
  MapRequest::Existing existing = MapRequest::Existing::refuse;
  bool resume = false;  // as MapRequest has it
};

struct ReduceResult {
  std::string file;
  std::string dataset;  // with the selection as it was asked for
  Shape shape;          // of the selection
  std::string dtype;    // NumPy's notation of what the file holds
  DType result_dtype = DType::float64;
  Shape result_shape;
  std::vector<std::byte> values;  // C order, the machine's byte order; empty if they went to a file
  std::vector<double> edges;      // of a histogram, whose values are counts; written beside them, as TO_edges
  std::string output;             // that file
  std::uint64_t output_bytes = 0;
  std::vector<std::string> notes;  // what could not be kept there, in words
};
struct ReduceReport {
  std::vector<ReduceResult> results;  // by file as asked, then in the file's own order
  std::vector<Failure> failures;
};

/// The results are NumPy's in names, types and shapes; sums of floats are accumulated in double the precision of
/// float64 and rounded once. They have the same bits for any number of workers, any memory limit, and any chunks; those
/// of all elements are the ones that Session::stats() tells. Wrong use (an output that is an input or exists) throws
/// Error before any work; what fails for one file or dataset is a Failure: an axis that is not there, a minimum of no
/// elements, a histogram of NaNs, a result that goes to no file and takes more than a quarter of the session's memory.
/// Throws Cancelled.
/// Quantiles are exact: sequences that do not fit a worker's memory are read several times.
[[nodiscard]] ReduceReport reduce(Session& session, const ReduceRequest& request);

/// What that would read and write, as Session::plan() has it for others. What only the elements tell is not found out.
[[nodiscard]] DryRun plan_reduce(Session& session, const ReduceRequest& request);

}  // namespace runrig::batch
