// Python's first example of a pool: a function of many arguments, in worker processes.
#include <cstdio>
#include <vector>

#include "example.hpp"

int square(int x) { return x * x; }

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  runrig::Pool pool(5);
  for (const int each : pool.map(square, std::vector{1, 2, 3})) std::printf("%d\n", each);
}
// prints: 1
// prints: 4
// prints: 9
