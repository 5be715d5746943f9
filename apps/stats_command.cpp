#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cmath>
#include <memory>
#include <set>

#include "common.hpp"
#include "dry_run_text.hpp"
#include "histogram.hpp"
#include "run.hpp"
#include "runrig/sync/error.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

struct StatsOptions {
  CommonOptions common;
  std::vector<std::string> datasets;
  std::uint64_t bins = 20;
  std::string range;
  std::string plot;
  bool histogram = false;
};

// With a comma before it; nothing if none was asked for.
std::string json_histogram(const batch::DatasetStatistics& each) {
  if (!each.no_histogram.empty()) {
    return fmt::format(R"(,"histogram":null,"no_histogram":{})", json_string(each.no_histogram));
  }
  if (each.counts.empty()) return "";
  std::string text = R"(,"histogram":{"edges":[)";
  for (std::size_t i = 0; i < each.edges.size(); ++i) text += (i > 0 ? "," : "") + json_number(each.edges[i]);
  return text + fmt::format("],\"counts\":[{}]}}", fmt::join(each.counts, ","));
}

/// What of the statistics is of the elements' type, as texts; of complex numbers both parts, joined by `join`. `number`
/// makes a text of a Number or a double.
struct ElementTexts {
  std::string min;
  std::string max;
  std::string mean;
  std::string sum;

  template <class Text, class Join>
  ElementTexts(const Statistics& of, std::string_view none, Text number, Join join) {
    const auto text = [&](auto value) {
      return is_complex(of.dtype) ? join(number(value(Part::real)), number(value(Part::imaginary)))
                                  : number(value(Part::real));
    };
    const bool any = of.valid() > 0;
    min = any ? text([&](Part part) { return *of.min(part); }) : std::string(none);
    max = any ? text([&](Part part) { return *of.max(part); }) : std::string(none);
    mean = any ? text([&](Part part) { return of.mean(part); }) : std::string(none);
    const bool whole = !is_floating(of.dtype) && !is_complex(of.dtype);
    sum = whole ? of.sum_text() : text([&](Part part) { return of.sum(part); });
  }
};

std::string json_result(const batch::DatasetStatistics& each) {
  const Statistics& s = each.statistics;
  const ElementTexts texts(
      s, "null", [](const auto& value) { return json_number(value); },
      [](const std::string& re, const std::string& im) { return "[" + re + "," + im + "]"; });
  return fmt::format(
      R"({{"file":{},"dataset":{},"shape":{},"dtype":{},"count":{},"nan":{},"min":{},"max":{},"mean":{},"std":{},"sum":{}{}}})",
      json_string(each.file), json_string(each.dataset), json_shape(each.shape), json_string(each.dtype), s.count,
      s.nan, texts.min, texts.max, texts.mean, json_number(s.stddev()), texts.sum, json_histogram(each));
}

// A NaN has a sign, which says nothing.
std::string short_number(double value) { return std::isnan(value) ? "nan" : fmt::format("{:.7g}", value); }
std::string short_number(const Number& value) {
  if (const auto* real = std::get_if<double>(&value)) return short_number(*real);
  return number_text(value);
}

void print_results(const std::vector<batch::DatasetStatistics>& results, bool one_file) {
  if (results.empty()) return;
  std::vector<std::vector<std::string>> rows{
      {"file", "dataset", "shape", "dtype", "count", "nan", "min", "max", "mean", "std", "sum"}};
  for (const auto& each : results) {
    const Statistics& s = each.statistics;
    const ElementTexts texts(
        s, "-", [](const auto& value) { return short_number(value); }, complex_text);
    rows.push_back({printable(each.file), printable(each.dataset), to_string(each.shape), each.dtype,
                    std::to_string(s.count), std::to_string(s.nan), texts.min, texts.max, texts.mean,
                    s.valid() > 0 ? short_number(s.stddev()) : "-", texts.sum});
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

void print_histograms(const std::vector<batch::DatasetStatistics>& results, bool one_file) {
  for (const auto& each : results) {
    const std::string name = (one_file ? "" : printable(each.file) + ":") + printable(each.dataset);
    if (!each.no_histogram.empty()) {
      fmt::print("\n{}  no histogram: {}\n", name, each.no_histogram);
    } else if (!each.counts.empty()) {
      fmt::print("\n{}\n{}", name, histogram_text(each.edges, each.counts, terminal_columns(STDOUT_FILENO)));
    }
  }
}

batch::StatsRequest request_of(const StatsOptions& options, bool bins_given) {
  batch::StatsRequest request;
  request.files = options.common.files;
  for (const auto& each : options.datasets) {
    request.datasets.push_back(hdf5::parse_dataset_ref(each));
    if (request.datasets.back().file) throw UsageError("-d '" + each + "': name the file as an argument of its own");
  }
  const bool counts = options.histogram || !options.plot.empty();
  if (!counts && (bins_given || !options.range.empty())) {
    throw UsageError("--bins and --range are for --histogram and --plot");
  }
  if (options.bins == 0) throw UsageError("--bins: at least 1");
  if (!counts) return request;
  if (!options.plot.empty()) check_plot_path(options.plot, options.common.files);
  constexpr std::uint64_t bins_of_plot = 60;  // where nobody reads them line by line
  request.histogram_bins = options.histogram || bins_given ? options.bins : bins_of_plot;
  if (!options.range.empty()) request.histogram_range = parse_range(options.range);
  return request;
}

int run(StatsOptions& options, bool bins_given, Run& run) {
  CommonOptions& common = options.common;
  common.settle();
  const batch::StatsRequest request = request_of(options, bins_given);
  if (common.dry_run) {
    return print_dry_run(run, common.json, [&](batch::Session& session) { return session.plan(request); });
  }
  const auto report = run.look([&](batch::Session& session) { return session.stats(request); });
  const bool one_file = common.files.size() == 1;
  if (common.json) {
    std::string results;
    for (const auto& each : report.results) results += (results.empty() ? "" : ",\n") + json_result(each);
    fmt::print("{{\"results\":[{}],\"errors\":{}}}\n", results, json_failures(report.failures));
  } else {
    print_results(report.results, one_file);
    if (options.histogram) print_histograms(report.results, one_file);
  }
  warn_of_nothing(common.files, report);
  print_failures(report.failures);
  if (!options.plot.empty()) write_plot(options.plot, report.results);
  return report.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_stats(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("stats", "count, nan, min, max, mean, std and sum of datasets");
  auto options = std::make_shared<StatsOptions>();
  options->common.add_to(*command);
  options->common.add_dry_run(*command);
  command
      ->add_option("-d,--dataset", options->datasets,
                   "a dataset, with an optional selection; may be repeated (default: all)")
      ->type_name("DATASET[SEL]")
      ->allow_extra_args(false);
  add_conventions_option(*command, options->common);
  command->add_flag("--histogram", options->histogram, "show how the values are distributed");
  auto* bins = command->add_option("--bins", options->bins, "bins of equal width (default 20; for a plot alone 60)")
                   ->type_name("N");
  command->add_option("--range", options->range, "where the bins begin and end (default: at min and max)")
      ->type_name("A,B");
  command->add_option("--plot", options->plot, "draw it into this file, which is replaced")->type_name("F.png|F.svg");
  command->add_flag("--json", options->common.json, "print JSON, numbers with all their digits");
  command->footer(
      "SEL is NumPy's basic slicing: [0:100, :, ::2], negative indices, \"...\". Quote ':' and '[' in names: "
      "\"'a[0]'[1:2]\".\n"
      "NaNs are counted and left out of the rest; std is of the population. count has the NaNs in it.\n"
      "Example:\n  runrig stats data/month-1.h5 -d '/wind/u[0:10, :, ::2]' --histogram");
  command->callback([options, bins, &exit_code] {
    const bool given = bins->count() > 0;
    exit_code = Run::of("stats", options->common, [&](Run& each) { return run(*options, given, each); });
  });
}

}  // namespace runrig::cli
