#include "common.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iostream>

#include "interrupt.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/hdf5/codec.hpp"

namespace runrig::cli {

void CommonOptions::add_to(CLI::App& command, bool with_files) {
  if (with_files) {
    command.add_option("files", files, "HDF5 files")->type_name("FILE");
    command.add_option("--files-from", files_from, "read more names from LIST, one a line; '-' is standard input")
        ->type_name("LIST");
  }
  command.add_option("--workers", workers, "worker processes (default: one for each usable CPU)")->type_name("N");
  command.add_option("--memory", memory, "memory for arrays, as 512M or 4G (default: a quarter of what there is)")
      ->type_name("SIZE");
  command.add_option("--progress", progress, "auto (on a terminal), always, never, or json: lines for programs")
      ->type_name("WHEN");
  if (with_files) {
    command.add_option("--report", report, "write what became of each file, as JSON, at the end")->type_name("F.json");
  }
  command.add_option("--stall", stall_seconds, "CPU seconds the HDF5 library may spin on one read (default 5)")
      ->type_name("S");
  command.add_option("--log-level", log_level, "debug, info, warn, error or off")->type_name("L");
  command.add_flag("--force-library", force_library)->group("");  // for tests: the slow path on everything
}

void CommonOptions::add_dry_run(CLI::App& command) {
  command.add_flag("--dry-run", dry_run, "tell what would be read and written, and how much; write nothing");
}

void CommonOptions::settle() {
  if (dry_run && !report.empty()) throw UsageError("--report: a dry run does nothing to report of");
  const auto level = spdlog::level::from_str(log_level);
  if (level == spdlog::level::off && log_level != "off") {
    throw UsageError("--log-level '" + log_level + "': use debug, info, warn, error or off");
  }
  auto logger = std::make_shared<spdlog::logger>("runrig", std::make_shared<spdlog::sinks::stderr_sink_st>());
  logger->set_pattern("runrig: %l: %v");
  logger->set_level(level);
  spdlog::set_default_logger(logger);

  if (!files_from.empty()) {
    std::ifstream list;
    if (files_from != "-") {
      list.open(files_from);
      if (!list) throw UsageError("--files-from '" + files_from + "': cannot read it");
    }
    std::istream& lines = files_from == "-" ? std::cin : list;
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (!line.empty()) files.push_back(line);
    }
  }
  if (files.empty()) throw UsageError("no input files; name some, or use --files-from LIST");
  if (progress != "auto" && progress != "always" && progress != "never" && progress != "json") {
    throw UsageError("--progress '" + progress + "': use auto, always or never, or json");
  }
}

batch::Options CommonOptions::engine() const {
  batch::Options options;
  if (workers < 0 || workers > 4096) throw UsageError("--workers must be between 1 and 4096");
  options.workers = workers;
  if (!memory.empty()) {
    options.memory_bytes = parse_size(memory, "--memory");
    if (options.memory_bytes < (std::size_t{16} << 20)) throw UsageError("--memory '" + memory + "': at least 16M");
  }
  if (!(stall_seconds > 0) || stall_seconds > 1e6) throw UsageError("--stall must be a positive number of seconds");
  options.cpu_stall = std::chrono::milliseconds(static_cast<long long>(std::ceil(stall_seconds * 1000)));
  options.force_library = force_library;
  options.conventions = conventions;
  options.interrupted = [] { return interrupt_count() > 0; };
  try {
    (void)kernel_level();  // here once, not in a worker for each dataset
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  SPDLOG_INFO("CPUs: {}; memory: {} MiB", explain_cpu_count(), usable_memory_bytes() >> 20);
  return options;
}

void OutputOptions::add_to(CLI::App& command, bool required) {
  command
      .add_option("-o,--output", output,
                  "a file; for several inputs a template: out/{stem}.h5 ({stem} {name} {ext} {dir})")
      ->required(required)
      ->type_name("OUT");
  command.add_flag("--overwrite", overwrite, "replace outputs that exist");
  command.add_flag("--resume", resume,
                   "leave what an earlier run made of the same; redo what is missing or has changed");
}

void OutputOptions::settle() const {
  if (output.empty() && resume) throw UsageError("--resume: name an output with -o");
}

std::size_t parse_size(std::string_view text, std::string_view option) {
  const auto fail = [&] {
    return UsageError(std::string(option) + " '" + std::string(text) +
                      "': write a number of bytes, or one with K, M, G or T");
  };
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || !std::isfinite(value) || value < 0) throw fail();
  std::string_view unit(stop, static_cast<std::size_t>(text.data() + text.size() - stop));
  static constexpr std::string_view letters = "KMGT";
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    const auto power = letters.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
    unit.remove_prefix(1);
    if (power == std::string_view::npos || !(unit.empty() || unit == "B" || unit == "iB")) throw fail();
    factor = std::ldexp(1.0, 10 * (static_cast<int>(power) + 1));
  }
  if (value * factor >= 0x1p62) throw fail();
  return static_cast<std::size_t>(value * factor);
}

void add_conventions_option(CLI::App& command, CommonOptions& options) {
  command.add_flag("--cf", options.conventions,
                   "netCDF's conventions: missing values are NaN, scale_factor and add_offset applied (docs/cf.md)");
}

void add_storage_options(CLI::App& command, std::string& filter, std::string& chunk) {
  command
      .add_option(
          "--filter", filter,
          "none, or some of shuffle, deflate:1 to deflate:9, deflate:fast, lzf, fletcher32 (default: as before)")
      ->type_name("F,...");
  command.add_option("--chunk", chunk, "elements along each axis, as 64x64, or auto (default: as before)")
      ->type_name("NxN");
}

hdf5::StorageOptions parse_storage(const std::string& filter, const std::string& chunk) {
  hdf5::StorageOptions storage;
  if (!filter.empty()) storage.filters = hdf5::parse_filters(filter);
  if (chunk.empty()) return storage;
  if (chunk == "auto") {
    storage.chunks = hdf5::StorageOptions::Chunks::automatic;
    return storage;
  }
  storage.chunks = hdf5::StorageOptions::Chunks::given;
  const char* at = chunk.data();
  const char* const end = at + chunk.size();
  for (;;) {
    std::uint64_t extent = 0;
    const auto [stop, error] = std::from_chars(at, end, extent);
    const bool separated = stop == end || *stop == 'x' || *stop == ',';
    if (error != std::errc{} || extent == 0 || extent > UINT32_MAX || !separated || storage.chunk.rank() == max_rank) {
      throw UsageError("--chunk '" + chunk + "': write the elements along each axis, as 64x64, or auto");
    }
    storage.chunk.push_back(extent);
    if (stop == end) return storage;
    at = stop + 1;
  }
}

batch::HistogramRange parse_range(const std::string& text) {
  batch::HistogramRange range;
  const char* const end = text.data() + text.size();
  const auto low = std::from_chars(text.data(), end, range.low);
  if (low.ec == std::errc{} && low.ptr != end && *low.ptr == ',') {
    const auto high = std::from_chars(low.ptr + 1, end, range.high);
    const bool finite = std::isfinite(range.low) && std::isfinite(range.high) && range.low <= range.high;
    if (high.ec == std::errc{} && high.ptr == end && finite) return range;
  }
  throw UsageError("--range '" + text + "': write two numbers, the smaller one first, as 0,1.5");
}

DType dtype_option(std::string_view text) {
  for (const std::string_view order : {"", "<", "|"}) {  // f4 is <f4, b1 is |b1
    if (const auto dtype = parse_dtype(std::string(order) + std::string(text))) return *dtype;
  }
  throw UsageError("--dtype '" + std::string(text) + "': use bool, int8 to uint64, float16, float32 or float64");
}

}  // namespace runrig::cli
