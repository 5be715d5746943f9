#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runrig/hdf5/dataset.hpp"

namespace runrig::test {

/// A line of what expected.py writes.
struct Expectation {
  std::string file;
  std::string dataset;
  std::string selection;  ///< "-" for everything
  std::string dtype;      ///< NumPy's, native order
  std::string shape;      ///< "2,3"; "-" for a scalar
  std::uint32_t crc = 0;  ///< of the elements in C order
};
[[nodiscard]] std::vector<Expectation> read_manifest(const std::filesystem::path& path);

/// Runs one of the Python programs of this folder; fails the test if it fails.
void run_program(const std::string& python, const std::string& program, const std::vector<std::string>& arguments);

/// All of a selection, put together from boxes of about `box_bytes`.
[[nodiscard]] std::vector<std::byte> read_in_boxes(hdf5::Dataset& dataset, const hdf5::Selection& selection,
                                                   std::uint64_t box_bytes);
[[nodiscard]] std::uint32_t crc32(const std::vector<std::byte>& bytes);

/// Reads every line's dataset by both paths, in boxes of several sizes, and compares.
void check_manifest(const std::filesystem::path& folder, const std::filesystem::path& manifest);

}  // namespace runrig::test
