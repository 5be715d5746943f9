#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

/// Who may include whom. The rooms stand on each other, sync <- shm <- io <- engine <- batch <- apps, and an include
/// runs downwards or stays in its room. The two rooms of io do not know each other, and engine, except for batch, does
/// not know HDF5.
namespace runrig::test {

struct LayeringReport {
  std::vector<std::string> violations;                  ///< "shm/x.cpp:3 includes runrig/engine/pool.hpp: ..."
  std::map<std::string, std::size_t> files_of_room;     ///< how many files were read; a room with none is suspicious
  std::map<std::string, std::size_t> includes_of_room;  ///< how many of their includes name something of ours
};

/// Reads the #include lines of each .cpp and .hpp in the rooms below `root`.
[[nodiscard]] LayeringReport check_layering(const std::filesystem::path& root);

}  // namespace runrig::test
