// A number and an array in shared memory, changed by a child.
#include <cstdio>
#include <ranges>

#include "example.hpp"

void change(const runrig::Value<double>& number, const runrig::Array<int>& array) {
  number.set(3.1415927);
  for (std::size_t i = 0; i < array.size(); ++i) array.set(i, -array.get(i));
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  const runrig::Value<double> number(0.0);
  const runrig::Array<int> array(std::views::iota(0, 10));
  runrig::Process process(change, number, array);
  process.start();
  process.join();

  std::printf("%.7f\n", number.get());
  for (std::size_t i = 0; i < array.size(); ++i) std::printf("%d%s", array.get(i), i + 1 < array.size() ? " " : "\n");
}
// prints: 3.1415927
// prints: 0 -1 -2 -3 -4 -5 -6 -7 -8 -9
