#include <gtest/gtest.h>

#include "runrig/engine/init.hpp"

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
