#include <gtest/gtest.h>

#include <string_view>

#include "runrig/engine/init.hpp"
#include "scenes.hpp"

int main(int argc, char** argv) {
  // A program whose author forgot the next line.
  const bool forgets = argc > 1 && std::string_view(argv[1]) == "scene" && std::string_view(argv[2]) == "without_init";
  if (!forgets) runrig::init(argc, argv);
  if (argc > 2 && std::string_view(argv[1]) == "scene") {
    return runrig::test::run_scene(argv[2], {argv + 3, argv + argc});
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
