#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runrig/batch/session.hpp"
#include "runrig/channel/object.hpp"
#include "summary.hpp"

/// The histograms of `stats`: of what is not NaN, in bins from the smallest to the largest element.
namespace runrig::batch {

/// What is asked for, told to workers.
struct HistogramPlan {
  std::uint64_t bins = 0;  // 0: none
  bool has_range = false;
  HistogramRange range;

  /// Why there can be none of what these statistics are of; empty if there can.
  [[nodiscard]] std::string objection(const Statistics& statistics) const;
  [[nodiscard]] std::vector<double> edges(const Statistics& statistics) const;
};

/// Worker: adds the histogram of elements that are in memory; `times` as many as there are.
void add_histogram(pickle::Object& record, const HistogramPlan& plan, const Statistics& statistics,
                   const std::byte* values, std::size_t elements, std::uint64_t times = 1);

/// Parent: what the worker added. Throws FormatError if that is not what it adds.
void take_histogram(const pickle::Object& record, const HistogramPlan& plan, DatasetStatistics& result);
/// Parent: counts a large dataset, whose statistics are known, in another pass.
void count_large(Session::State& state, const LargeDataset& dataset, const HistogramPlan& plan,
                 DatasetStatistics& result);

}  // namespace runrig::batch
