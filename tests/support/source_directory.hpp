// Where the sources of this build lie.
#pragma once

#include <filesystem>

namespace runrig::test {

/// The root of the checkout that this test program was built from.
[[nodiscard]] std::filesystem::path source_directory();

/// data/ of that checkout: the small files made by this project's own generator.
[[nodiscard]] std::filesystem::path data_directory();

}  // namespace runrig::test
