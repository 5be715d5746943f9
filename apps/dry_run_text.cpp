#include "dry_run_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include "text.hpp"

namespace runrig::cli {
namespace {

struct Totals {
  std::size_t files = 0;
  std::size_t up_to_date = 0;
  std::size_t outputs = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
};

// Sizes are what files claim.
std::uint64_t sum(std::uint64_t a, std::uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

Totals totals_of(const batch::DryRun& plan) {
  Totals totals;
  for (const auto& file : plan.files) {
    ++totals.files;
    totals.up_to_date += file.up_to_date ? 1 : 0;
    if (file.up_to_date) continue;
    totals.outputs += file.output.empty() ? 0 : 1;
    totals.file_bytes += file.file_bytes;
    for (const auto& each : file.reads) totals.read_bytes = sum(totals.read_bytes, each.bytes);
    for (const auto& each : file.writes) totals.written_bytes = sum(totals.written_bytes, each.bytes);
  }
  return totals;
}

std::string json_texts(const std::vector<std::string>& texts) {
  std::string all;
  for (const auto& each : texts) all += (all.empty() ? "" : ",") + json_string(each);
  return "[" + all + "]";
}

std::string json_dataset(const batch::PlannedDataset& each, bool written) {
  std::string text =
      fmt::format(R"({{"file":{},"dataset":{},"shape":{},"dtype":{},"bytes":{})", json_string(each.file),
                  json_string(each.dataset), json_shape(each.shape), json_string(each.dtype), each.bytes);
  if (written) {
    text += fmt::format(R"(,"chunks":{},"filters":{})", each.chunk.rank() > 0 ? json_shape(each.chunk) : "null",
                        json_texts(each.filters));
  }
  return text + "}";
}

std::string json_datasets(const std::vector<batch::PlannedDataset>& datasets, bool written) {
  std::string all;
  for (const auto& each : datasets) all += (all.empty() ? "" : ",") + json_dataset(each, written);
  return "[" + all + "]";
}

void print_json(const batch::DryRun& plan) {
  std::string files;
  for (const auto& file : plan.files) {
    files +=
        fmt::format(R"({}{{"file":{},"file_bytes":{},"up_to_date":{},"output":{},"reads":{},"writes":{},"notes":{}}})",
                    files.empty() ? "" : ",\n", json_string(file.file), file.file_bytes, file.up_to_date,
                    file.output.empty() ? "null" : json_string(file.output), json_datasets(file.reads, false),
                    json_datasets(file.writes, true), json_texts(file.notes));
  }
  const Totals totals = totals_of(plan);
  fmt::print(
      R"({{"dry_run":true,"files":[{}],"totals":{{"files":{},"up_to_date":{},"outputs":{},"file_bytes":{},"read_bytes":{},"written_bytes":{}}},"errors":{}}})"
      "\n",
      files, totals.files, totals.up_to_date, totals.outputs, totals.file_bytes, totals.read_bytes,
      totals.written_bytes, json_failures(plan.failures));
}

std::vector<std::string> row_of(std::string_view what, const batch::PlannedDataset& each, bool written) {
  std::string storage;
  if (written) {
    storage = each.chunk.rank() > 0 ? "chunks " + to_string(each.chunk) : "contiguous";
    if (!each.filters.empty()) storage += fmt::format(" {}", fmt::join(each.filters, ","));
  }
  return {"  " + std::string(what), printable(each.file) + ":" + printable(each.dataset),
          to_string(each.shape),    each.dtype,
          size_text(each.bytes),    printable(storage)};
}

void print_text(const batch::DryRun& plan) {
  for (const auto& file : plan.files) {
    if (file.up_to_date) {
      fmt::print("{}: {} is up to date\n", printable(file.file), printable(file.output));
      continue;
    }
    fmt::print("{}  {}\n", printable(file.file), size_text(file.file_bytes));
    std::vector<std::vector<std::string>> rows;
    for (const auto& each : file.reads) rows.push_back(row_of("read", each, false));
    for (const auto& each : file.writes) rows.push_back(row_of("write", each, true));
    fmt::print("{}", table(rows, {4}));
    for (const auto& note : file.notes) fmt::print("  note: {}\n", printable(note));
  }
  const Totals totals = totals_of(plan);
  fmt::print("{} files of {}, {} up to date: {} to read", totals.files, size_text(totals.file_bytes), totals.up_to_date,
             size_text(totals.read_bytes));
  if (totals.outputs > 0)
    fmt::print(", {} to write into {} files, before filters", size_text(totals.written_bytes), totals.outputs);
  fmt::print("; nothing was written\n");
}

}  // namespace

int print_dry_run(Run& run, bool json, const std::function<batch::DryRun(batch::Session&)>& plan) {
  const batch::DryRun result = run.work([&](batch::Session& session) { return plan(session); });
  json ? print_json(result) : print_text(result);
  print_failures(result.failures);
  return result.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace runrig::cli
