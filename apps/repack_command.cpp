#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "common.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

struct RepackOptions {
  CommonOptions common;
  std::vector<std::string> datasets;
  std::string output;
  std::string filter;
  std::string chunk;
  bool overwrite = false;
};

int run(RepackOptions& options) {
  batch::RepackRequest request;
  options.common.settle();
  request.files = options.common.files;
  for (const auto& each : options.datasets) {
    const auto dataset = hdf5::parse_dataset_ref(each);
    if (dataset.file || dataset.selection) {
      throw UsageError("--dataset '" + each + "': give the path of a dataset, as /group/name");
    }
    request.datasets.push_back(dataset.path);
  }
  request.output = options.output;
  request.storage = parse_storage(options.filter, options.chunk);
  if (options.overwrite) request.existing = batch::MapRequest::Existing::overwrite;
  batch::Session session(options.common.engine());
  const auto report = session.repack(request);
  for (const auto& each : report.results) {
    fmt::print("{}  {} -> {}\n", printable(each.output), size_text(each.input_bytes), size_text(each.output_bytes));
    for (const auto& note : each.notes) SPDLOG_WARN("{}: {}", printable(each.output), printable(note));
  }
  print_failures(report.failures);
  return report.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_repack(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("repack", "copy whole files, with other chunks or filters for their datasets");
  auto options = std::make_shared<RepackOptions>();
  options->common.add_to(*command);
  command
      ->add_option("-o,--output", options->output,
                   "a file; for several inputs a template: out/{stem}.h5 ({stem} {name} {ext} {dir})")
      ->required()
      ->type_name("OUT");
  add_storage_options(*command, options->filter, options->chunk);
  command->add_option("-d,--dataset", options->datasets, "only these get them; may be repeated (default: all that can)")
      ->type_name("DATASET")
      ->allow_extra_args(false);
  command->add_flag("--overwrite", options->overwrite, "replace outputs that exist");
  command->footer(
      "Groups, links, attributes, named types, dimension scales, and datasets of any type are kept.\n"
      "Example:\n  runrig repack data/month-*.h5 -o 'packed/{name}' --filter shuffle,deflate:fast");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace runrig::cli
