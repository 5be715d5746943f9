#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "common.hpp"
#include "runrig/engine/expression.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

struct MapOptions {
  CommonOptions common;
  std::vector<std::string> inputs;
  std::string expression;
  std::string output;
  std::string to = "/result";
  bool overwrite = false;
};

int run(MapOptions& options) {
  batch::MapRequest request;
  // The first positional word is the expression; the rest are files.
  request.expression = options.expression;
  options.common.settle();
  request.files = options.common.files;
  for (const auto& each : options.inputs) {
    auto named = hdf5::parse_named_dataset_ref(each);
    request.inputs.push_back({std::move(named.name), std::move(named.dataset)});
  }
  request.output = options.output;
  const auto to = hdf5::parse_dataset_ref(options.to);
  if (to.file || to.selection)
    throw UsageError("--to '" + options.to + "': give the path of a dataset, as /group/name");
  request.to = to.path;
  if (options.overwrite) request.existing = batch::MapRequest::Existing::overwrite;
  batch::Session session(options.common.engine());
  const auto report = session.map(request);
  for (const auto& each : report.results) {
    fmt::print("{}:{}  {} {}  {}\n", printable(each.output), printable(each.dataset), to_string(each.shape), each.dtype,
               size_text(each.output_bytes));
    for (const auto& note : each.notes) SPDLOG_WARN("{}: {}", printable(each.output), printable(note));
  }
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
  command
      ->add_option("-o,--output", options->output,
                   "a file; for several inputs a template: out/{stem}.h5 ({stem} {name} {ext} {dir})")
      ->required()
      ->type_name("OUT");
  command->add_option("--to", options->to, "the dataset to write (default /result)")->type_name("DATASET");
  command->add_flag("--overwrite", options->overwrite, "replace outputs that exist");
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
      "Operators, tightest first: ** | + - ~ ! (unary) | * / // % | + - | & ^ | comparisons | && ||; and pi, nan, "
      "inf.\n" +
      functions +
      "\nTypes are NumPy 2's: float32 stays float32. The output keeps chunking, filters, attributes and scales.\n"
      "Example:\n  runrig map 'sqrt(u*u + v*v)' data/month-1.h5 -i u=/wind/u -i v=/wind/v -o speed.h5 --to /speed");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace runrig::cli
