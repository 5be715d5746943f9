#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "corruption.hpp"
#include "runrig/sync/error.hpp"

namespace {

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw runrig::Error(std::errc::no_such_file_or_directory, "read", path.string());
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  std::vector<std::byte> bytes(text.size());
  std::transform(text.begin(), text.end(), bytes.begin(), [](char each) { return static_cast<std::byte>(each); });
  return bytes;
}

void write_file(const std::filesystem::path& path, const std::vector<std::byte>& bytes) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) throw runrig::Error(std::errc::io_error, "write", path.string());
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("Damages a copy of an HDF5 file, the same way for the same seed, and says what it did.",
               "runrig_corrupt");
  std::filesystem::path input, output;
  std::uint64_t seed = 0;
  std::string mode;
  app.add_option("INPUT", input)->required()->check(CLI::ExistingFile);
  app.add_option("OUTPUT", output, "replaced if it exists")->required();
  app.add_option("--seed", seed)->required();
  app.add_option("--mode", mode,
                 "truncate, flip-bits, rewrite-bytes, zero-run, splice or overwrite-field; by seed if not given");
  CLI11_PARSE(app, argc, argv);
  std::optional<runrig::data::Damage> damage;
  if (!mode.empty()) {
    damage = runrig::data::damage_named(mode);
    if (!damage) {
      std::fprintf(stderr, "runrig_corrupt: there is no mode '%s'; see --help\n", mode.c_str());
      return 2;
    }
  }
  const auto result = runrig::data::corrupt(read_file(input), seed, damage);
  write_file(output, result.bytes);
  std::printf("%s\n", result.description.c_str());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "runrig_corrupt: %s\n", error.what());
  return 1;
}
