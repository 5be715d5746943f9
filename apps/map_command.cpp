#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

#include "common.hpp"
#include "dry_run_text.hpp"
#include "run.hpp"
#include "runrig/engine/expression.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

struct MapOptions {
  CommonOptions common;
  std::vector<std::string> inputs;
  std::string expression;
  OutputOptions output;
  std::vector<std::string> to;
  std::string dtype;
  std::string filter;
  std::string chunk;
  std::string kernel;
  std::string parameter;
  bool no_provenance = false;
};

// The first "=" that is not quoted, as names of datasets may be.
std::size_t find_equals(std::string_view text) {
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && quote != '\'') {
      ++i;
    } else if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if (text[i] == '"' || text[i] == '\'') {
      quote = text[i];
    } else if (text[i] == '=') {
      return i;
    }
  }
  return std::string_view::npos;
}

std::string output_path(std::string_view text) {
  const auto to = hdf5::parse_dataset_ref(text);
  if (to.file || to.selection) {
    throw UsageError("--to '" + std::string(text) + "': give the path of a dataset, as /group/name");
  }
  return to.path;
}

// --kernel LIBRARY:FUNCTION and --to DATASET for each of its outputs, but no EXPR: the first word is a file as well.
void set_kernel(MapOptions& options, batch::MapRequest& request) {
  request.kernel = batch::MapKernel::parse(options.kernel);
  request.kernel->parameter = options.parameter;
  options.common.files.insert(options.common.files.begin(), options.expression);
  if (options.to.empty()) options.to.emplace_back("/result");
  for (const std::string& each : options.to) {
    if (find_equals(each) != std::string_view::npos) {
      throw UsageError("--to '" + each + "': a kernel makes the outputs, not an expression");
    }
    request.outputs.push_back({"", output_path(each)});
  }
}

// EXPR [--to DATASET], or no EXPR and --to DATASET=EXPR for each output: then the first word is a file as well.
void set_outputs(MapOptions& options, batch::MapRequest& request) {
  const auto named =
      std::ranges::count_if(options.to, [](const auto& each) { return find_equals(each) != std::string_view::npos; });
  if (named == 0) {
    if (options.to.size() > 1) {
      throw UsageError("--to: one output has one name; for several write --to NAME=EXPR for each, and no other EXPR");
    }
    request.outputs = {{options.expression, options.to.empty() ? "/result" : output_path(options.to[0])}};
    return;
  }
  if (static_cast<std::size_t>(named) != options.to.size()) {
    throw UsageError("--to: write NAME=EXPR for each of several outputs");
  }
  options.common.files.insert(options.common.files.begin(), options.expression);
  for (const std::string& each : options.to) {
    const std::size_t equals = find_equals(each);
    request.outputs.push_back({each.substr(equals + 1), output_path(std::string_view(each).substr(0, equals))});
  }
}

int run(MapOptions& options, Run& run) {
  batch::MapRequest request;
  if (!options.parameter.empty() && options.kernel.empty()) throw UsageError("--parameter: it is for a --kernel");
  options.kernel.empty() ? set_outputs(options, request) : set_kernel(options, request);
  options.common.settle();
  request.files = options.common.files;
  for (const auto& each : options.inputs) {
    auto named = hdf5::parse_named_dataset_ref(each);
    request.inputs.push_back({std::move(named.name), std::move(named.dataset)});
  }
  options.output.apply(request);
  if (!options.dtype.empty()) request.dtype = dtype_option(options.dtype);
  request.storage = parse_storage(options.filter, options.chunk);
  request.provenance = !options.no_provenance;
  if (options.common.dry_run) {
    return print_dry_run(run, options.common.json, [&](batch::Session& session) { return session.plan(request); });
  }
  const auto report = run.work([&](batch::Session& session) { return session.map(request); });
  if (!options.common.json) run.print_skipped();
  std::string results;
  for (const auto& each : report.results) {
    if (options.common.json) {
      results +=
          fmt::format(R"({}{{"file":{},"output":{},"dataset":{},"shape":{},"dtype":{},"output_bytes":{}}})",
                      results.empty() ? "" : ",\n", json_string(each.file), json_string(each.output),
                      json_string(each.dataset), json_shape(each.shape), json_string(each.dtype), each.output_bytes);
    } else {
      fmt::print("{}:{}  {} {}  {}\n", printable(each.output), printable(each.dataset), to_string(each.shape),
                 each.dtype, size_text(each.output_bytes));
    }
    for (const auto& note : each.notes) SPDLOG_WARN("{}: {}", printable(each.output), printable(note));
  }
  if (options.common.json) run.print_json(results, report.failures);
  print_failures(report.failures);
  return report.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_map(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("map", "compute an expression on datasets, element by element, into a file");
  auto options = std::make_shared<MapOptions>();
  command->add_option("expression", options->expression, "with NumPy's names and types, as 'sqrt(u*u + v*v)'")
      ->required()
      ->type_name("EXPR");
  options->common.add_to(*command);
  command
      ->add_option("-i,--input", options->inputs,
                   "a variable; from another file as NAME=FILE:/DATASET; may be repeated")
      ->required()
      ->type_name("NAME=DATASET[SEL]")
      ->allow_extra_args(false);
  options->output.add_to(*command, true);
  options->common.add_dry_run(*command);
  command->add_flag("--json", options->common.json, "print JSON");
  command
      ->add_option(
          "--to", options->to,
          "the dataset to write (default /result); or, repeated and in place of the first EXPR, an output each")
      ->type_name("DATASET[=EXPR]")
      ->allow_extra_args(false);
  command
      ->add_option("--kernel", options->kernel,
                   "in place of EXPR, a function of a shared library; see docs/kernels.md and runrig/kernel.h")
      ->type_name("LIBRARY:FUNCTION");
  command->add_option("--parameter", options->parameter, "a text for the kernel")->type_name("TEXT");
  command->add_option("--dtype", options->dtype, "the outputs' type, as float32 or i2 (default: the expression's)")
      ->type_name("T");
  add_conventions_option(*command, options->common);
  add_storage_options(*command, options->filter, options->chunk);
  command->add_flag("--no-provenance", options->no_provenance, "without attributes that say what it was made of");
  std::string functions = "Functions:";
  std::size_t column = functions.size();
  for (const auto name : Expression::function_names()) {
    if (column + name.size() > 98) {
      functions += "\n ";
      column = 1;
    }
    functions += " " + std::string(name);
    column += name.size() + 1;
  }
  command->footer(
      "Operators, tightest first: **, + - ~ ! of one value, * / // %, + -, << >>, &, ^, |, comparisons, &&, ||;\n"
      "and pi, e, nan, inf, True, False. All is explained in docs/expressions.md.\n" +
      functions +
      "\nTypes are NumPy 2's: float32 stays float32. The output keeps chunking, filters, attributes and scales.\n"
      "Example:\n  runrig map 'sqrt(u*u + v*v)' data/month-1.h5 -i u=/wind/u -i v=/wind/v -o speed.h5 --to /speed");
  command->callback([options, &exit_code] {
    exit_code = Run::of("map", options->common, [&](Run& each) { return run(*options, each); });
  });
}

}  // namespace runrig::cli
