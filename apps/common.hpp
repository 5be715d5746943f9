#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "runrig/batch/session.hpp"

namespace runrig::cli {

/// The exit codes of the command, as README.md promises them.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;  // some input failed; the others are done
inline constexpr int exit_usage = 2;
inline constexpr int exit_interrupted = 130;

/// The command line asks for something that cannot be: reported in one line, exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What every command that reads files understands.
struct CommonOptions {
  int workers = 0;
  std::string memory;
  std::string progress = "auto";
  std::string log_level = "warn";
  std::string files_from;
  std::string report;
  bool dry_run = false;
  bool json = false;  // standard output is JSON and nothing else
  double stall_seconds = 5;
  bool force_library = false;
  bool conventions = false;
  std::vector<std::string> files;

  /// Adds these options, and FILE..., to a command.
  void add_to(CLI::App& command, bool with_files = true);
  /// Adds --dry-run.
  void add_dry_run(CLI::App& command);
  /// Sets the log level; reads --files-from and adds its lines to `files`. Throws UsageError: unknown words, no
  /// files.
  void settle();
  /// For the engine; throws UsageError for sizes and numbers that make no sense.
  [[nodiscard]] batch::Options engine() const;
};

/// What every command that writes a file for each input understands.
struct OutputOptions {
  std::string output;
  bool overwrite = false;
  bool resume = false;

  void add_to(CLI::App& command, bool required);
  /// Throws UsageError for options that make no sense without an output.
  void settle() const;
  /// Fills in what each request has of them.
  template <class Request>
  void apply(Request& request) const {
    request.output = output;
    if (overwrite) request.existing = batch::MapRequest::Existing::overwrite;
    request.resume = resume;
  }
};

/// "512M", "1.5GiB", "100000": bytes, with K, M, G, T as powers of 1024. Throws UsageError that names
/// `option`.
[[nodiscard]] std::size_t parse_size(std::string_view text, std::string_view option);

/// --cf, for commands that read elements.
void add_conventions_option(CLI::App& command, CommonOptions& options);

/// --filter and --chunk, for commands that write datasets.
void add_storage_options(CLI::App& command, std::string& filter, std::string& chunk);
/// What they say; empty texts for what was not given. Throws UsageError.
[[nodiscard]] hdf5::StorageOptions parse_storage(const std::string& filter, const std::string& chunk);
/// --range: "0,1.5". Throws UsageError.
[[nodiscard]] batch::HistogramRange parse_range(const std::string& text);
/// "float32", "f4", "<i2", "bool". Throws UsageError.
[[nodiscard]] DType dtype_option(std::string_view text);

void add_info(CLI::App& app, int& exit_code);
void add_stats(CLI::App& app, int& exit_code);
void add_map(CLI::App& app, int& exit_code);
void add_reduce(CLI::App& app, int& exit_code);
void add_repack(CLI::App& app, int& exit_code);
void add_serve(CLI::App& app, int& exit_code);
void add_shm(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);

}  // namespace runrig::cli
