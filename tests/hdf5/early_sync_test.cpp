#include "early_sync.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig::hdf5::detail {
namespace {

TEST(EarlySyncTest, FinishesWhateverWasBegunAndMayBeginAgain) {
  const test::TemporaryDirectory folder;
  const std::string path = folder / "file";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd);
  EarlySync sync;
  EXPECT_EQ(sync.finish(), 0);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(::write(fd.get(), "bytes", 5), 5);
      sync.begin(fd.get());
    }
    EXPECT_EQ(sync.finish(), 0);
  }
}

TEST(EarlySyncTest, FinishGivesTheReasonOfASyncThatFailed) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const UniqueFd reader(pipe[0]);
  const UniqueFd writer(pipe[1]);
  EarlySync sync;
  sync.begin(writer.get());  // a pipe cannot be synced
  EXPECT_EQ(sync.finish(), EINVAL);
  EXPECT_EQ(sync.finish(), EINVAL) << "the reason was forgotten";
}

TEST(EarlySyncTest, EndsItsThreadWhenItIsDestroyed) {
  const test::TemporaryDirectory folder;
  const std::string path = folder / "file";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd);
  for (int i = 0; i < 100; ++i) {
    EarlySync sync;
    sync.begin(fd.get());
  }  // a thread left over would terminate the program
}

}  // namespace
}  // namespace runrig::hdf5::detail
