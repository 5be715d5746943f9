#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "runrig/batch/reduce.hpp"
#include "targets.hpp"

/// What a worker does of the reductions of one file.
namespace runrig::batch {

/// What is asked for, told to workers.
struct ReduceArgument {
  Targets targets;
  ReduceOperation operation;
  NanPolicy nan = NanPolicy::propagate;
  bool all_axes = true;
  std::size_t axis_count = 0;
  std::array<std::int64_t, max_rank> axes{};
  std::uint64_t max_elements = 0;  // of a result
  bool to_file = false;            // any size will do, then, but for a histogram
  bool force_library = false;
  bool describe_only = false;  // nothing is reduced
  bool conventions = false;
  std::size_t memory_bytes = 0;
  std::size_t kept_files = 0;  // open, for their outputs; see OpenFiles::keep()
  std::atomic<std::uint64_t>* bytes_done = nullptr;

  [[nodiscard]] bool is_quantile() const { return operation.kind == ReduceOperation::Kind::quantile; }
  [[nodiscard]] bool is_histogram() const { return operation.kind == ReduceOperation::Kind::histogram; }
  /// The axes for a dataset. Throws Error for one that is not there.
  [[nodiscard]] ReductionAxes resolve(const Shape& shape) const;
  /// What reduces it; for a quantile or a histogram one of the same dtypes, which does not.
  [[nodiscard]] Reducer reducer(DType dtype) const;
  /// Throws FormatError for results that cannot be: too large, or of nothing.
  void check(const ReductionAxes& axes, const Reducer& reducer, const std::string& name) const;
  /// Whether it is among what statistics tell, if of all elements; then its bits are theirs.
  [[nodiscard]] bool is_told_by_statistics(const ReductionAxes& axes, DType elements) const;
};
static_assert(std::is_trivially_copyable_v<ReduceArgument>);

/// The result that statistics tell.
[[nodiscard]] std::vector<std::byte> result_of(const Statistics& statistics, const Reducer& reducer);

/// The edges of a histogram of what these statistics are of. Throws FormatError where the range is not finite.
[[nodiscard]] std::vector<double> edges_of(const ReduceArgument& argument, const Statistics& statistics,
                                           const std::string& name);

/// Worker: the body of for_each_file(). A record has "dtype", "shape", what describe_large() tells, and if it was small
/// enough "result": bytes, of all results or, with "constant", of one that all are equal to; and "edges".
void reduce_file(SliceContext& context, const FileTask& task, const std::byte* argument);

}  // namespace runrig::batch
