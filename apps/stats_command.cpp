#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <memory>
#include <set>

#include "common.hpp"
#include "dry_run_text.hpp"
#include "run.hpp"
#include "runrig/sync/error.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

std::string json_optional(const std::optional<Number>& value) { return value ? json_number(*value) : "null"; }

std::string json_result(const batch::DatasetStatistics& each) {
  const Statistics& s = each.statistics;
  const std::string sum = is_floating(s.dtype) ? json_number(s.sum()) : s.sum_text();
  return fmt::format(
      R"({{"file":{},"dataset":{},"shape":{},"dtype":{},"count":{},"nan":{},"min":{},"max":{},"mean":{},"std":{},"sum":{}}})",
      json_string(each.file), json_string(each.dataset), json_shape(each.shape), json_string(each.dtype), s.count,
      s.nan, json_optional(s.min()), json_optional(s.max()), json_number(s.mean()), json_number(s.stddev()), sum);
}

// A NaN has a sign, which says nothing.
std::string short_number(double value) { return std::isnan(value) ? "nan" : fmt::format("{:.7g}", value); }
std::string short_number(const std::optional<Number>& value) {
  if (!value) return "-";
  if (const auto* real = std::get_if<double>(&*value)) return short_number(*real);
  return number_text(*value);
}

void print_results(const std::vector<batch::DatasetStatistics>& results, bool one_file) {
  if (results.empty()) return;
  std::vector<std::vector<std::string>> rows{
      {"file", "dataset", "shape", "dtype", "count", "nan", "min", "max", "mean", "std", "sum"}};
  for (const auto& each : results) {
    const Statistics& s = each.statistics;
    const bool any = s.valid() > 0;
    rows.push_back({printable(each.file), printable(each.dataset), to_string(each.shape), each.dtype,
                    std::to_string(s.count), std::to_string(s.nan), short_number(s.min()), short_number(s.max()),
                    any ? short_number(s.mean()) : "-", any ? short_number(s.stddev()) : "-",
                    is_floating(s.dtype) ? short_number(s.sum()) : s.sum_text()});
  }
  if (one_file) {
    for (auto& row : rows) row.erase(row.begin());
    fmt::print("{}", table(rows, {3, 4, 5, 6, 7, 8, 9}));
  } else {
    fmt::print("{}", table(rows, {4, 5, 6, 7, 8, 9, 10}));
  }
}

// A file that is sound but holds no numbers is no failure; still it should not go without a word.
void warn_of_nothing(const std::vector<std::string>& files, const batch::StatsReport& report) {
  std::set<std::string_view> told;
  for (const auto& each : report.results) told.insert(each.file);
  for (const auto& each : report.failures) told.insert(each.file);
  for (const auto& each : files) {
    if (told.insert(each).second) SPDLOG_WARN("{}: no numeric datasets", printable(each));
  }
}

int run(CommonOptions& common, const std::vector<std::string>& names, Run& run) {
  common.settle();
  batch::StatsRequest request;
  request.files = common.files;
  for (const auto& each : names) {
    request.datasets.push_back(hdf5::parse_dataset_ref(each));
    if (request.datasets.back().file) throw UsageError("-d '" + each + "': name the file as an argument of its own");
  }
  if (common.dry_run) {
    return print_dry_run(run, common.json, [&](batch::Session& session) { return session.plan(request); });
  }
  const auto report = run.work([&](batch::Session& session) { return session.stats(request); });
  if (common.json) {
    std::string results;
    for (const auto& each : report.results) results += (results.empty() ? "" : ",\n") + json_result(each);
    fmt::print("{{\"results\":[{}],\"errors\":{}}}\n", results, json_failures(report.failures));
  } else {
    print_results(report.results, common.files.size() == 1);
  }
  warn_of_nothing(common.files, report);
  print_failures(report.failures);
  return report.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_stats(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("stats", "count, nan, min, max, mean, std and sum of datasets");
  auto common = std::make_shared<CommonOptions>();
  auto names = std::make_shared<std::vector<std::string>>();
  common->add_to(*command);
  common->add_dry_run(*command);
  command->add_option("-d,--dataset", *names, "a dataset, with an optional selection; may be repeated (default: all)")
      ->type_name("DATASET[SEL]")
      ->allow_extra_args(false);
  command->add_flag("--json", common->json, "print JSON, numbers with all their digits");
  command->footer(
      "SEL is NumPy's basic slicing: [0:100, :, ::2], negative indices, \"...\". Quote ':' and '[' in names: "
      "\"'a[0]'[1:2]\".\n"
      "NaNs are counted and left out of the rest; std is of the population. count has the NaNs in it.\n"
      "Example:\n  runrig stats data/month-1.h5 -d '/wind/u[0:10, :, ::2]'");
  command->callback([common, names, &exit_code] {
    exit_code = Run::of("stats", *common, [&](Run& each) { return run(*common, *names, each); });
  });
}

}  // namespace runrig::cli
