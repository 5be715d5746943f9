#include <exception>
#include <iostream>
#include <string_view>

#include "transfer.hpp"

// bench_transfer [SVG-FILE]: the table on stdout, the plot in the file.
int main(int argc, char** argv) {
  try {
    const auto report = runrig::bench::measure_transfer();
    runrig::bench::print_table(std::cout, report);
    if (argc > 1) runrig::bench::write_svg(argv[1], report);
  } catch (const std::exception& error) {
    std::cerr << "bench_transfer: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
