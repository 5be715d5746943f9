#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace runrig::test {

/// Makes an HDF5 file with /x, float32 of `rows` times 1024 in chunks of 16 rows, shuffled and deflated: 4 KiB a row.
/// The values depend on the place alone. Runs in a child: the library never starts in the test itself.
void make_big_file(const std::filesystem::path& path, std::uint64_t rows);

/// Whether `output`:/result is `2 * /x + 1` of such a file, every bit. Runs in a child.
[[nodiscard]] bool is_right_result(const std::filesystem::path& output, std::uint64_t rows);

}  // namespace runrig::test
