#include "source_directory.hpp"

namespace runrig::test {

std::filesystem::path source_directory() { return RUNRIG_SOURCE_DIR; }

std::filesystem::path data_directory() { return source_directory() / "data"; }

}  // namespace runrig::test
