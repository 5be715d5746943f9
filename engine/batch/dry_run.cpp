#include "dry_run.hpp"

#include <algorithm>
#include <filesystem>

namespace runrig::batch {

void DryRunner::begin(std::size_t number) {
  PlannedFile planned;
  planned.file = files_[number];
  std::error_code failed;
  const auto bytes = std::filesystem::file_size(planned.file, failed);
  if (!failed) planned.file_bytes = bytes;
  planned_.emplace_back(number, std::move(planned));
}

std::vector<PlannedFile> DryRunner::take() {
  std::ranges::stable_sort(planned_, {}, [](const auto& each) { return each.first; });
  std::vector<PlannedFile> all;
  for (auto& [number, planned] : planned_) all.push_back(std::move(planned));
  return all;
}

PlannedDataset describe(const hdf5::OutputSpec& spec, const std::string& output, const std::string& dataset) {
  PlannedDataset planned;
  planned.file = output;
  planned.dataset = dataset;
  planned.shape = spec.shape;
  planned.dtype = std::string(dtype_string(spec.dtype));
  if (spec.big_endian && planned.dtype[0] == '<') planned.dtype[0] = '>';
  if (!spec.null_space) planned.bytes = spec.shape.checked_bytes(item_bytes(spec.dtype)).value_or(UINT64_MAX);
  planned.chunk = spec.chunk;
  for (const hdf5::FilterInfo& each : spec.filters) planned.filters.push_back(each.name);
  return planned;
}

void tell_writes(const OutputRequest& request, const PendingOutput& output, PlannedFile& planned) {
  check_space(request, output);
  planned.output = output.final_path();
  for (const OutputPart& each : request.parts) {
    planned.writes.push_back(describe(each.spec, planned.output, each.dataset));
  }
}

}  // namespace runrig::batch
