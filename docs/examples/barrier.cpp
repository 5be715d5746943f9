// Workers that begin their second step only when all are done with the first; one of them says so.
#include <cstdio>
#include <vector>

#include "example.hpp"

void work(const runrig::Shared<runrig::Barrier>& barrier, const runrig::Array<int>& steps, int number) {
  steps.set(static_cast<std::size_t>(number), 1);
  barrier->wait([&] {
    int done = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) done += steps.get(i);
    std::printf("first step done by %d\n", done);
    std::fflush(stdout);
  });
  steps.set(static_cast<std::size_t>(number), 2);
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  constexpr int parties = 4;
  const runrig::Shared<runrig::Barrier> barrier(std::in_place, parties);
  const runrig::Array<int> steps(static_cast<std::size_t>(parties));
  std::vector<runrig::Process> processes;
  for (int number = 0; number < parties; ++number) processes.emplace_back(work, barrier, steps, number).start();
  for (auto& each : processes) each.join();
  int done = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) done += steps.get(i);
  std::printf("all steps: %d\n", done);
}
// prints: first step done by 4
// prints: all steps: 8
