// Uses something of each room through the installed headers, and fails if it does not work.
#include <cstdio>
#include <mutex>

#include "runrig/channel/pickle.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/sync/lock.hpp"

int main() {
  auto array = runrig::NdArray<float>::create_anonymous(runrig::Shape{3, 4});
  array(2, 3) = 1.5F;
  const auto same = runrig::NdArray<float>::attach(array.handle());
  runrig::Lock lock;
  const std::lock_guard guard(lock);
  if (same(2, 3) != 1.5F || runrig::usable_cpu_count() < 1) return 1;
  std::puts("the installed package works");
  return 0;
}
