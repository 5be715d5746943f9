#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "runrig/batch/session.hpp"
#include "support.hpp"

namespace runrig {
namespace {

// Two datasets, and in the second file the object header of one of them broken.
constexpr const char* two_files = R"(
import h5py, sys
for path in sys.argv[1:]:
  with h5py.File(path, 'w', libver='latest') as f:
    for name in 'ab': f[name] = [1.0, 2.0]
with open(sys.argv[2], 'r+b') as f:
  data = bytearray(f.read())
  places = [i for i in range(len(data)) if data[i:i + 4] == b'OHDR']
  assert len(places) == 3   # the group's own, and the datasets'
  data[places[-1] + 20] ^= 0x10
  f.seek(0)
  f.write(data)
)";

TEST(DamagedObjectTest, TheProcessThatMetOneInAListOfObjectsIsReplaced) {
  RUNRIG_NEED_PYTHON(python, "h5py");
  const test::TemporaryDirectory directory;
  const std::string good = (directory / "good.h5").string();
  const std::string damaged = (directory / "damaged.h5").string();
  const auto made = test::run_python(python, two_files, {good, damaged});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  batch::Options options;
  options.workers = 1;
  batch::Session session(options);
  const auto before = session.pool().worker_pids();
  ASSERT_EQ(session.stats({{good}, {}}).results.size(), 2U);
  EXPECT_EQ(session.pool().worker_pids(), before);
  const auto report = session.stats({{damaged}, {}});
  EXPECT_EQ(report.results.size(), 1U);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].file, damaged);
  EXPECT_TRUE(test::eventually([&] {
    const auto now = session.pool().worker_pids();
    return now.size() == 1 && now != before;
  })) << "the library may be in any state";
  EXPECT_EQ(session.pool().workers_lost(), 0U);
  EXPECT_EQ(session.stats({{good}, {}}).results.size(), 2U);
}

}  // namespace
}  // namespace runrig
