#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "sample_files.hpp"

/// Writes the sample files. With the default seed they are those in data/, byte for byte (with HDF5 1.10.8 and zlib
/// 1.2.13, which Debian 12 has).
int main(int argc, char** argv) try {
  CLI::App app("Writes the HDF5 files of Runrig's sample into a directory.", "runrig_generate_data");
  std::filesystem::path directory;
  std::uint64_t seed = 2001;
  app.add_option("DIRECTORY", directory, "where to; files there are replaced")
      ->required()
      ->check(CLI::ExistingDirectory);
  app.add_option("--seed", seed, "other numbers, same structure")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  for (int month = 1; month <= 3; ++month) {
    runrig::data::write_month(directory / ("month-" + std::to_string(month) + ".h5"), seed, month);
  }
  runrig::data::write_series(directory / "series.h5", seed);
  runrig::data::write_frames(directory / "frames.h5", seed);
  runrig::data::write_survey(directory / "survey.h5", seed);
  runrig::data::write_types(directory / "types.h5");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "runrig_generate_data: %s\n", error.what());
  return 1;
}
