#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <complex>
#include <cstring>
#include <memory>

#include "common.hpp"
#include "dry_run_text.hpp"
#include "run.hpp"
#include "runrig/batch/reduce.hpp"
#include "runrig/shm/complex.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

constexpr std::uint64_t most_shown = 1000;       // values of an array in text
constexpr std::uint64_t most_in_json = 1 << 20;  // and in JSON

struct ReduceOptions {
  CommonOptions common;
  std::string operation;
  std::vector<std::string> datasets;
  std::string axes;
  std::string range;
  OutputOptions output;
  std::string to = "/result";
  bool skip_nan = false;
  bool no_provenance = false;
};

std::vector<std::int64_t> parse_axes(std::string_view text) {
  std::vector<std::int64_t> axes;
  const auto fail = [text] {
    return UsageError("--axis '" + std::string(text) + "': write numbers with commas between them, as 0 or -1 or 0,2");
  };
  for (std::string_view rest = text;;) {
    const std::string_view word = rest.substr(0, rest.find(','));
    std::int64_t axis = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), axis);
    if (error != std::errc{} || stop != word.data() + word.size()) throw fail();
    if (std::find(axes.begin(), axes.end(), axis) != axes.end()) {
      throw UsageError("--axis '" + std::string(text) + "': axis " + std::to_string(axis) + " is named twice");
    }
    axes.push_back(axis);
    if (word.size() == rest.size()) return axes;
    rest.remove_prefix(word.size() + 1);
  }
}

/// Shortest text that reads back as the same: of a float32 that of a float32.
template <class T>
std::string real_text(T value, bool json) {
  if (std::isnan(value)) return json ? "null" : "nan";
  if (json && std::isinf(value)) return value > 0 ? "1e999" : "-1e999";
  return fmt::format("{}", value);
}

/// Elements of an array as texts.
class Elements {
 public:
  Elements(DType dtype, std::span<const std::byte> bytes) : dtype_(dtype), bytes_(bytes) {}
  [[nodiscard]] std::size_t size() const { return bytes_.size() / item_bytes(dtype_); }

  [[nodiscard]] std::string text(std::size_t i, bool json) const {
    return visit_any_dtype(dtype_, [&]<class T>(std::type_identity<T>) -> std::string {
      T value;
      std::memcpy(&value, bytes_.data() + i * sizeof value, sizeof value);
      if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
        const std::string re = real_text(value.real(), json);
        const std::string im = real_text(value.imag(), json);
        return json ? "[" + re + "," + im + "]" : complex_text(re, im);
      } else if constexpr (std::is_same_v<T, bool>) {
        return json ? (value ? "true" : "false") : (value ? "True" : "False");
      } else if constexpr (std::is_same_v<T, half>) {
        return real_text(static_cast<float>(value), json);
      } else if constexpr (std::is_floating_point_v<T>) {
        return real_text(value, json);
      } else {
        return std::to_string(value);
      }
    });
  }

 private:
  DType dtype_;
  std::span<const std::byte> bytes_;
};

/// "[[1, 2], [3, 4]]", or one value.
std::string nested(const Elements& elements, const Shape& shape, bool json, std::string_view between,
                   std::size_t axis = 0, std::size_t first = 0) {
  if (axis == shape.rank()) return elements.text(first, json);
  std::size_t row = 1;
  for (std::size_t i = axis + 1; i < shape.rank(); ++i) row *= static_cast<std::size_t>(shape[i]);
  std::string text = "[";
  for (std::size_t i = 0; i < shape[axis]; ++i) {
    if (i > 0) text += axis + 1 < shape.rank() ? between : json ? "," : ", ";
    text += nested(elements, shape, json, between, axis + 1, first + i * row);
  }
  return text + "]";
}

std::string json_result(const batch::ReduceResult& each, const std::string& operation) {
  std::string text =
      fmt::format(R"({{"file":{},"dataset":{},"shape":{},"dtype":{},"operation":{})", json_string(each.file),
                  json_string(each.dataset), json_shape(each.shape), json_string(each.dtype), json_string(operation));
  text += fmt::format(R"(,"result_shape":{},"result_dtype":{})", json_shape(each.result_shape),
                      json_string(dtype_string(each.result_dtype)));
  if (!each.output.empty()) return text + fmt::format(R"(,"output":{}}})", json_string(each.output));
  if (!each.edges.empty()) {
    text += ",\"edges\":[";
    for (std::size_t i = 0; i < each.edges.size(); ++i) text += (i > 0 ? "," : "") + json_number(each.edges[i]);
    text += "]";
  }
  return text + ",\"result\":" + nested({each.result_dtype, each.values}, each.result_shape, true, ",") + "}";
}

void print_scalars(const std::vector<batch::ReduceResult>& results, const std::string& operation, bool one_file) {
  std::vector<std::vector<std::string>> rows{{"file", "dataset", "shape", "dtype", operation}};
  for (const auto& each : results) {
    rows.push_back({printable(each.file), printable(each.dataset), to_string(each.shape), each.dtype,
                    Elements(each.result_dtype, each.values).text(0, false)});
  }
  if (one_file) {
    for (auto& row : rows) row.erase(row.begin());
  }
  fmt::print("{}", table(rows, {one_file ? 3U : 4U}));
}

void print_arrays(const std::vector<batch::ReduceResult>& results, const std::string& operation, bool one_file) {
  for (const auto& each : results) {
    const std::string name = (one_file ? "" : printable(each.file) + ":") + printable(each.dataset);
    fmt::print("{}  {} {}  {} {} {}\n", name, to_string(each.shape), each.dtype, operation,
               to_string(each.result_shape), dtype_string(each.result_dtype));
    fmt::print("{}\n", nested({each.result_dtype, each.values}, each.result_shape, false, ",\n "));
  }
}

void print_histograms(const std::vector<batch::ReduceResult>& results, bool one_file) {
  for (const auto& each : results) {
    const Elements counts(each.result_dtype, each.values);
    std::vector<std::vector<std::string>> rows{{"from", "to", "count"}};
    for (std::size_t i = 0; i < counts.size(); ++i) {
      rows.push_back(
          {fmt::format("{:.7g}", each.edges[i]), fmt::format("{:.7g}", each.edges[i + 1]), counts.text(i, false)});
    }
    const std::string name = (one_file ? "" : printable(each.file) + ":") + printable(each.dataset);
    fmt::print("{}  {} {}\n{}", name, to_string(each.shape), each.dtype, table(rows, {0, 1, 2}));
  }
}

void print_results(const std::vector<batch::ReduceResult>& results, const ReduceOptions& options, const Run& run) {
  const bool one_file = options.common.files.size() == 1;
  if (!options.output.output.empty()) {
    run.print_skipped();
    for (const auto& each : results) {
      fmt::print("{}:{}  {} {}  {}\n", printable(each.output), printable(options.to), to_string(each.result_shape),
                 dtype_string(each.result_dtype), size_text(each.output_bytes));
      for (const auto& note : each.notes) SPDLOG_WARN("{}: {}", printable(each.output), printable(note));
    }
  } else if (!results.empty() && !results.front().edges.empty()) {
    print_histograms(results, one_file);
  } else if (options.axes.empty()) {
    if (!results.empty()) print_scalars(results, options.operation, one_file);
  } else {
    print_arrays(results, options.operation, one_file);
  }
}

batch::ReduceRequest request_of(const ReduceOptions& options) {
  batch::ReduceRequest request;
  request.operation = batch::ReduceOperation::parse(options.operation);
  const bool histogram = request.operation.kind == batch::ReduceOperation::Kind::histogram;
  if (!options.range.empty()) {
    if (!histogram) throw UsageError("--range '" + options.range + "': it is for histograms");
    request.operation.range = parse_range(options.range);
  }
  request.nan = options.skip_nan ? NanPolicy::skip : NanPolicy::propagate;
  request.files = options.common.files;
  for (const auto& each : options.datasets) {
    request.datasets.push_back(hdf5::parse_dataset_ref(each));
    if (request.datasets.back().file) throw UsageError("-d '" + each + "': name the file as an argument of its own");
  }
  if (!options.axes.empty()) request.axes = parse_axes(options.axes);
  const bool place = options.operation == "argmin" || options.operation == "argmax";
  if (place && request.axes && request.axes->size() > 1) {
    throw UsageError("--axis '" + options.axes + "': " + options.operation + " takes one axis, or none for all");
  }
  if (histogram && request.axes) throw UsageError("--axis '" + options.axes + "': a histogram is of all elements");
  request.max_elements = options.common.json ? most_in_json : most_shown;
  if (options.output.output.empty()) return request;
  options.output.apply(request);
  if (request.datasets.size() != 1) throw UsageError("-o '" + options.output.output + "': name one dataset with -d");
  const auto to = hdf5::parse_dataset_ref(options.to);
  if (to.file || to.selection) {
    throw UsageError("--to '" + options.to + "': give the path of a dataset, as /group/name");
  }
  request.to = to.path;
  request.provenance = !options.no_provenance;
  return request;
}

int run(ReduceOptions& options, Run& run) {
  options.common.settle();
  options.output.settle();
  const batch::ReduceRequest request = request_of(options);
  if (options.common.dry_run) {
    return print_dry_run(run, options.common.json,
                         [&](batch::Session& session) { return batch::plan_reduce(session, request); });
  }
  const auto reduce = [&](batch::Session& session) { return batch::reduce(session, request); };
  const auto report = request.output.empty() ? run.look(reduce) : run.work(reduce);
  if (options.common.json) {
    std::string results;
    for (const auto& each : report.results) {
      results += (results.empty() ? "" : ",\n") + json_result(each, options.operation);
    }
    fmt::print("{{\"results\":[{}],\"errors\":{}}}\n", results, json_failures(report.failures));
  } else {
    print_results(report.results, options, run);
  }
  if (report.results.empty() && report.failures.empty() && run.skipped() == 0) SPDLOG_WARN("no numeric datasets");
  print_failures(report.failures);
  return report.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_reduce(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("reduce", "sums, means and their kind of datasets, of all or along axes");
  auto options = std::make_shared<ReduceOptions>();
  command
      ->add_option("operation", options->operation,
                   "sum prod mean var std min max argmin argmax count any all median quantile:Q histogram:BINS")
      ->required()
      ->type_name("OP");
  options->common.add_to(*command);
  command
      ->add_option("-d,--dataset", options->datasets,
                   "a dataset, with an optional selection; may be repeated (default: all)")
      ->type_name("DATASET[SEL]")
      ->allow_extra_args(false);
  command->add_option("--axis", options->axes, "the axes to reduce, as 0 or -1 or 0,2 (default: all)")
      ->type_name("A,B");
  command->add_option("--range", options->range, "where a histogram begins and ends (default: at min and max)")
      ->type_name("A,B");
  add_conventions_option(*command, options->common);
  command->add_flag("--skip-nan", options->skip_nan, "leave NaNs out (default: a NaN makes the result NaN)");
  options->output.add_to(*command, false);
  options->common.add_dry_run(*command);
  command->add_option("--to", options->to, "the dataset to write (default /result)")->type_name("DATASET");
  command->add_flag("--no-provenance", options->no_provenance, "without attributes that say what it was made of");
  command->add_flag("--json", options->common.json, "print JSON, numbers with all their digits");
  command->footer(
      "Names, types and shapes of results are NumPy's; count is of elements that are not NaN. The same bits for any\n"
      "number of workers. An output keeps chunks, filters, attributes and scales of the axes that are left.\n"
      "Example:\n  runrig reduce mean data/month-1.h5 -d /wind/u --axis 0 -o mean.h5 --to /wind/u");
  command->callback([options, &exit_code] {
    exit_code = Run::of("reduce", options->common, [&](Run& each) { return run(*options, each); });
  });
}

}  // namespace runrig::cli
