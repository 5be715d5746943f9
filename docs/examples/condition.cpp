// Two processes that wait at a condition until a third is ready.
#include <cstdio>
#include <mutex>
#include <vector>

#include "example.hpp"

using SharedCondition = runrig::Shared<runrig::Condition<runrig::RLock>>;

void stage_1(const SharedCondition& condition, const runrig::RawValue<int>& ready) {
  const std::lock_guard guard(*condition);
  std::printf("stage 1 done, stage 2 may begin\n");
  std::fflush(stdout);
  ready.value() = 1;
  condition->notify_all();
}

void stage_2(const SharedCondition& condition, const runrig::RawValue<int>& ready) {
  const std::lock_guard guard(*condition);
  condition->wait_for([&] { return ready.value() == 1; });
  std::printf("stage 2 running\n");
  std::fflush(stdout);
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  const SharedCondition condition;
  const runrig::RawValue<int> ready(0);
  std::vector<runrig::Process> processes;
  for (int i = 0; i < 2; ++i) processes.emplace_back(stage_2, condition, ready).start();
  processes.emplace_back(stage_1, condition, ready).start();
  for (auto& each : processes) each.join();
}
// prints: stage 1 done, stage 2 may begin
// prints: stage 2 running
// prints: stage 2 running
