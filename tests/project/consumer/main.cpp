// Uses something of each room through the installed headers, so that each library and all it needs is linked, and fails
// if it does not work. The argument is series.h5 of Runrig's sample.
#include <cstdio>
#include <exception>
#include <mutex>

#include "runrig/batch/session.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/sync/lock.hpp"

namespace {

/// Workers fill an array, one element for each slice.
bool kernels_work() {
  auto array = runrig::NdArray<double>::create_anonymous(runrig::Shape{8});
  runrig::Pool pool(2);
  auto launch = pool.launch({.slices = 8}, [handle = array.handle()](runrig::SliceContext& slice) {
    runrig::NdArray<double>::attach(handle)(slice.slice()) = 0.5 * slice.slice();
  });
  launch.get();
  return array(7) == 3.5;
}

bool values_travel() {
  const auto bytes = runrig::pickle::dumps("rig");
  return runrig::pickle::loads(bytes) == runrig::pickle::Object("rig");
}

bool files_are_read(const char* path) {
  runrig::batch::Session session({.workers = 1});
  const auto report = session.stats({.files = {path}});
  for (const auto& each : report.failures) std::fprintf(stderr, "%s: %s\n", each.file.c_str(), each.error.c_str());
  return report.failures.empty() && report.results.size() == 3;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    runrig::Lock lock;
    const std::lock_guard guard(lock);
    if (argc != 2 || !kernels_work() || !values_travel() || !files_are_read(argv[1])) return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "consumer: %s\n", error.what());
    return 1;
  }
  std::puts("the installed package works");
  return 0;
}
