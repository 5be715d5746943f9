// Python's long example of a pool, as far as it speaks of errors: one call fails, and its neighbours don't mind.
#include <cstdio>
#include <ranges>
#include <stdexcept>

#include "example.hpp"

double reciprocal_of_distance_to_3(int x) {
  if (x == 3) throw std::domain_error("division by zero");
  return 1.0 / (x - 3.0);
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  runrig::Pool pool(4);
  try {
    (void)pool.apply(reciprocal_of_distance_to_3, 3);
  } catch (const std::domain_error&) {
    std::printf("apply: a domain_error, as it was thrown\n");
  }
  try {
    (void)pool.map(reciprocal_of_distance_to_3, std::views::iota(0, 10));
  } catch (const std::domain_error&) {
    std::printf("map: the same\n");
  }
  auto results = pool.imap(reciprocal_of_distance_to_3, std::views::iota(0, 6));
  for (int i = 0; i < 6; ++i) {
    try {
      std::printf("imap: %.3f\n", results.next().value());
    } catch (const std::domain_error&) {
      std::printf("imap: an error in its place\n");
    }
  }
}
// prints: apply: a domain_error, as it was thrown
// prints: map: the same
// prints: imap: -0.333
// prints: imap: -0.500
// prints: imap: -1.000
// prints: imap: an error in its place
// prints: imap: 1.000
// prints: imap: 0.500
