#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "common.hpp"
#include "dry_run_text.hpp"
#include "run.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

struct RepackOptions {
  CommonOptions common;
  std::vector<std::string> datasets;
  OutputOptions output;
  std::string filter;
  std::string chunk;
};

int run(RepackOptions& options, Run& run) {
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
  options.output.apply(request);
  request.storage = parse_storage(options.filter, options.chunk);
  if (options.common.dry_run) {
    return print_dry_run(run, options.common.json, [&](batch::Session& session) { return session.plan(request); });
  }
  const auto report = run.work([&](batch::Session& session) { return session.repack(request); });
  if (!options.common.json) run.print_skipped();
  std::string results;
  for (const auto& each : report.results) {
    if (options.common.json) {
      results +=
          fmt::format(R"({}{{"file":{},"output":{},"input_bytes":{},"output_bytes":{}}})", results.empty() ? "" : ",\n",
                      json_string(each.file), json_string(each.output), each.input_bytes, each.output_bytes);
    } else {
      fmt::print("{}  {} -> {}\n", printable(each.output), size_text(each.input_bytes), size_text(each.output_bytes));
    }
    for (const auto& note : each.notes) SPDLOG_WARN("{}: {}", printable(each.output), printable(note));
  }
  if (options.common.json) run.print_json(results, report.failures);
  print_failures(report.failures);
  return report.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_repack(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("repack", "copy whole files, with other chunks or filters for their datasets");
  auto options = std::make_shared<RepackOptions>();
  options->common.add_to(*command);
  options->output.add_to(*command, true);
  options->common.add_dry_run(*command);
  command->add_flag("--json", options->common.json, "print JSON");
  add_storage_options(*command, options->filter, options->chunk);
  command->add_option("-d,--dataset", options->datasets, "only these get them; may be repeated (default: all that can)")
      ->type_name("DATASET")
      ->allow_extra_args(false);
  command->footer(
      "Groups, links, attributes, named types, dimension scales, and datasets of any type are kept.\n"
      "Example:\n  runrig repack data/month-*.h5 -o 'packed/{name}' --filter shuffle,deflate:fast");
  command->callback([options, &exit_code] {
    exit_code = Run::of("repack", options->common, [&](Run& each) { return run(*options, each); });
  });
}

}  // namespace runrig::cli
