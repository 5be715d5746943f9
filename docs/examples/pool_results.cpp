// Results that are waited for, for a while or for ever, and a map that is computed while it is read.
#include <chrono>
#include <cstdio>
#include <ranges>
#include <thread>

#include "example.hpp"

using namespace std::chrono_literals;

int square(int x) { return x * x; }
void sleep_for(int seconds) { std::this_thread::sleep_for(std::chrono::seconds(seconds)); }

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  runrig::Pool pool(4);
  auto result = pool.apply_async(square, 10);
  std::printf("%d\n", result.get(60s));

  for (const int each : pool.map(square, std::views::iota(0, 10))) std::printf("%d;", each);
  std::printf("\n");

  auto squares = pool.imap(square, std::views::iota(0, 10));
  std::printf("%d\n", squares.next().value());
  std::printf("%d\n", squares.next().value());
  std::printf("%d\n", squares.next(60s).value());

  auto asleep = pool.apply_async(sleep_for, 1000);
  try {
    asleep.get(100ms);
  } catch (const runrig::TimeoutError&) {
    std::printf("not yet\n");
  }
  pool.terminate();  // or the end of the scope would wait for a moment first
}
// prints: 100
// prints: 0;1;4;9;16;25;36;49;64;81;
// prints: 0
// prints: 1
// prints: 4
// prints: not yet
