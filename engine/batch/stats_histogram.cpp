#include "stats_histogram.hpp"

#include <cmath>
#include <cstring>
#include <span>

#include "encoding.hpp"
#include "reduce_scan.hpp"
#include "runrig/engine/quantile.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

double real(const Number& number) {
  return std::visit([](auto each) { return static_cast<double>(each); }, number);
}

template <class T>
std::vector<T> numbers_of(const Object& object, std::size_t count) {
  const auto bytes = object.as_bytes();
  if (bytes.size() != count * sizeof(T)) {
    throw FormatError("read the report of", "a worker", "a histogram of another size");
  }
  std::vector<T> numbers(count);
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

}  // namespace

std::string HistogramPlan::objection(const Statistics& statistics) const {
  if (is_complex(statistics.dtype))
    return "complex numbers are in no bins: make real ones of them first (abs, real, imag)";
  if (statistics.valid() == 0) return statistics.count == 0 ? "there are no elements" : "all elements are NaN";
  if (has_range) return "";
  const bool finite = std::isfinite(real(*statistics.min())) && std::isfinite(real(*statistics.max()));
  return finite ? "" : "there are infinities: give the range of the histogram";
}

std::vector<double> HistogramPlan::edges(const Statistics& statistics) const {
  if (has_range) return histogram_edges(range.low, range.high, bins, statistics.dtype);
  return histogram_edges(real(*statistics.min()), real(*statistics.max()), bins, statistics.dtype);
}

void add_histogram(Object& record, const HistogramPlan& plan, const Statistics& statistics, const std::byte* values,
                   std::size_t elements, std::uint64_t times) {
  if (plan.bins == 0 || !plan.objection(statistics).empty()) return;
  const auto edges = plan.edges(statistics);
  std::vector<std::uint64_t> counts(edges.size() - 1);
  count_in_bins(statistics.dtype, values, elements, edges, counts.data());
  for (std::uint64_t& each : counts) each *= times;
  record.insert_or_assign("edges", Object::bytes(std::as_bytes(std::span(edges))));
  record.insert_or_assign("counts", Object::bytes(std::as_bytes(std::span(counts))));
}

void take_histogram(const Object& record, const HistogramPlan& plan, DatasetStatistics& result) {
  if (plan.bins == 0) return;
  result.no_histogram = plan.objection(result.statistics);
  if (!result.no_histogram.empty()) return;
  const auto bins = static_cast<std::size_t>(plan.bins);
  result.edges = numbers_of<double>(record.at("edges"), bins + 1);
  result.counts = numbers_of<std::uint64_t>(record.at("counts"), bins);
}

void count_large(Session::State& state, const LargeDataset& dataset, const HistogramPlan& plan,
                 DatasetStatistics& result) {
  if (plan.bins == 0) return;
  result.no_histogram = plan.objection(result.statistics);
  if (!result.no_histogram.empty()) return;
  ScanBody body;
  body.dtype = result.statistics.dtype;
  result.edges = plan.edges(result.statistics);
  body.edges = result.edges;
  result.counts = scan(state, dataset, body);
}

}  // namespace runrig::batch
