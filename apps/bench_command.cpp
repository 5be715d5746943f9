#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "common.hpp"
#include "interrupt.hpp"
#include "transfer.hpp"

namespace runrig::cli {
namespace {

struct BenchOptions {
  bool json = false;
  std::string max_size = "512M";
  std::string plot;
  std::string python;
};

int run(const BenchOptions& options) {
  bench::TransferOptions transfer;
  transfer.max_bytes = parse_size(options.max_size, "--max-size");
  transfer.python = options.python;
  transfer.cancelled = [] { return interrupt_count() > 0; };
  const auto report = bench::measure_transfer(transfer);
  if (options.json) {
    fmt::print("{}\n", bench::to_json(report));
  } else {
    bench::print_table(std::cout, report);
    std::cout.flush();
  }
  if (!options.plot.empty()) bench::write_svg(options.plot, report);
  return exit_ok;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("bench", "measure this machine");
  command->require_subcommand(1);
  auto options = std::make_shared<BenchOptions>();
  auto* transfer = command->add_subcommand("transfer", "shared arrays against arrays sent through pipes");
  transfer->add_flag("--json", options->json, "print JSON");
  transfer->add_option("--max-size", options->max_size, "leave larger arrays out (default 512M)")->type_name("SIZE");
  transfer->add_option("--plot", options->plot, "draw the figures as SVG")->type_name("F.svg");
  transfer->add_option("--python", options->python, "the interpreter to compare with")->type_name("PYTHON");
  command->footer("Example:\n  runrig bench transfer --max-size 64M --plot transfer.svg");
  transfer->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace runrig::cli
