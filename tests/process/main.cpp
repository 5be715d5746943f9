#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "runrig/engine/init.hpp"
#include "scenes.hpp"

namespace {

// See pool_methods_test.cpp.
void occupy_address_if_told() {
  const char* const told = std::getenv("RUNRIG_TEST_OCCUPY");
  if (told == nullptr) return;
  char* path = nullptr;
  const std::uintptr_t address = std::strtoul(told, &path, 10);
  struct stat status {};
  ++path;
  // One byte less each time.
  if (::stat(path, &status) != 0 || status.st_size == 0 || ::truncate(path, status.st_size - 1) != 0) return;
  (void)::mmap(reinterpret_cast<void*>(address), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
               0);
}

}  // namespace

int main(int argc, char** argv) {
  // A program whose author forgot the next line.
  const bool forgets = argc > 1 && std::string_view(argv[1]) == "scene" && std::string_view(argv[2]) == "without_init";
  occupy_address_if_told();
  if (!forgets) runrig::init(argc, argv);
  if (argc > 2 && std::string_view(argv[1]) == "scene") {
    return runrig::test::run_scene(argv[2], {argv + 3, argv + argc});
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
