#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "common.hpp"
#include "errors.hpp"
#include "interrupt.hpp"
#include "run_report.hpp"
#include "runrig/sync/error.hpp"
#include "version.hpp"

namespace runrig::cli {
namespace {

void add_commands(CLI::App& app, int& exit_code) {
  app.set_version_flag("--version", "runrig " RUNRIG_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  add_info(app, exit_code);
  add_stats(app, exit_code);
  add_map(app, exit_code);
  add_reduce(app, exit_code);
  add_repack(app, exit_code);
  add_serve(app, exit_code);
  add_shm(app, exit_code);
  add_bench(app, exit_code);
  app.footer(
      "Examples:\n"
      "  runrig info  data/month-1.h5\n"
      "  runrig stats data/month-*.h5 -d /wind/u\n"
      "  runrig map   'sqrt(u*u + v*v)' data/month-*.h5 -i u=/wind/u -i v=/wind/v -o 'speed-{stem}.h5'\n"
      "  runrig reduce mean data/month-*.h5 -d /wind/u --axis 0 -o 'mean-{stem}.h5'\n"
      "  runrig repack data/month-1.h5 -o small.h5 --filter shuffle,deflate:9\n"
      "  runrig serve --address localhost:50000 --authkey-file key --queue tasks\n"
      "  runrig shm   ls\n"
      "  runrig bench transfer --max-size 64M\n"
      "Each command has its own help: runrig map --help. Exit codes: 0 done; 1 some input failed;\n"
      "2 wrong usage; 130 interrupted.");
}

int run(int argc, char** argv) {
  int exit_code = exit_ok;
  CLI::App app("runrig: HDF5 arrays through all cores of this machine\n", "runrig");
  add_commands(app, exit_code);
  try {
    // CLI11 would only say that a command is missing.
    const auto is_named = [&](const CLI::App* command) { return argc > 1 && command->get_name() == argv[1]; };
    if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_named).empty()) {
      throw UsageError("there is no command '" + std::string(argv[1]) + "' (runrig --help lists them)");
    }
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    throw UsageError(std::string(error.what()) + " (runrig --help shows how)");
  }
  std::fflush(stdout);
  if (std::ferror(stdout) != 0) throw Error(std::errc::io_error, "write to", "standard output");
  return exit_code;
}

}  // namespace
}  // namespace runrig::cli

int main(int argc, char** argv) {
  using namespace runrig::cli;
  keep_arguments(argc, argv);
  watch_interrupts();
  // A reader that closed our output early ends us as it would any tool, with the pipe's error, not a signal.
  ::signal(SIGPIPE, SIG_IGN);
  const End end = run_guarded([&] { return run(argc, argv); });
  if (!end.error.empty()) print_error(end.error);
  return end.exit_code;
}
