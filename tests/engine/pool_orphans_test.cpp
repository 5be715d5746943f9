// Who lives on, and who goes, when the parent of a pool is killed or stopped: pitfalls O1, O3, O5, O10.

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;

class PoolOrphans : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

// One second is the promise; the rest is for a busy machine.
using test::promised;
using test::slices;

// Forks a process that makes a pool, starts it, and writes its processes' ids to a pipe.
struct ParentCase {
  std::vector<pid_t> pids;
  std::unique_ptr<test::Child> parent;
};

template <class Body>
ParentCase start_parent(int workers, const Body& body) {
  int fds[2];
  EXPECT_EQ(::pipe(fds), 0);
  ParentCase started;
  started.parent = std::make_unique<test::Child>([&] {
    ::close(fds[0]);
    Pool pool(workers);
    std::vector<pid_t> pids = pool.worker_pids();
    pids.push_back(pool.template_pid());
    const auto bytes = static_cast<ssize_t>(pids.size() * sizeof(pid_t));
    ASSERT_EQ(::write(fds[1], pids.data(), static_cast<std::size_t>(bytes)), bytes);
    body(pool);
  });
  ::close(fds[1]);
  started.pids.resize(static_cast<std::size_t>(workers) + 1);
  const auto bytes = static_cast<ssize_t>(started.pids.size() * sizeof(pid_t));
  EXPECT_EQ(::read(fds[0], started.pids.data(), static_cast<std::size_t>(bytes)), bytes);
  ::close(fds[0]);
  return started;
}

bool all_gone(const std::vector<pid_t>& pids) {
  return std::none_of(pids.begin(), pids.end(), [](pid_t pid) { return test::process_lives(pid); });
}

TEST_F(PoolOrphans, KilledParentTakesAllItsProcessesWithIt) {
  auto started = start_parent(8, [](Pool& pool) {
    auto launch = pool.launch(slices(1000), [](SliceContext&) {
      for (;;) std::this_thread::sleep_for(1s);
    });
    launch.wait();
  });
  std::this_thread::sleep_for(50ms);
  started.parent->signal(SIGKILL);
  const auto killed = Clock::now();
  EXPECT_TRUE(test::eventually([&] { return all_gone(started.pids); }, promised));
  RecordProperty("milliseconds",
                 std::to_string(std::chrono::duration<double, std::milli>(Clock::now() - killed).count()));
}

TEST_F(PoolOrphans, ParentWhoseOwnForkedChildLivesOnStillEndsItsPool) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  auto started = start_parent(3, [&](Pool&) {
    const pid_t child = ::fork();  // inherits every descriptor of the pool
    if (child == 0) {
      char byte = 0;
      ::close(fds[1]);
      ::_exit(static_cast<int>(::read(fds[0], &byte, 1)));
    }
    for (;;) std::this_thread::sleep_for(1s);
  });
  std::this_thread::sleep_for(50ms);
  started.parent->signal(SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return all_gone(started.pids); }, promised));
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST_F(PoolOrphans, WorkersOutliveTheThreadThatMadeThePool) {
  std::unique_ptr<Pool> pool;
  std::thread([&] {
    PoolOptions options;
    options.workers = 2;
    options.other_threads = OtherThreads::allow;
    pool = std::make_unique<Pool>(options);
  }).join();
  std::this_thread::sleep_for(100ms);
  pool->launch(slices(10), [](SliceContext&) {}).get();
  EXPECT_EQ(pool->workers_lost(), 0U);
}

TEST_F(PoolOrphans, StoppedParentDoesNotMakeWorkersQuit) {
  auto started = start_parent(2, [](Pool& pool) {
    for (int i = 0; i < 100; ++i) {
      pool.launch(slices(4), [](SliceContext&) {}).get();
      std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(pool.workers_lost(), 0U);
  });
  started.parent->signal(SIGSTOP);
  std::this_thread::sleep_for(1500ms);
  for (const pid_t pid : started.pids) EXPECT_TRUE(test::process_lives(pid));
  started.parent->signal(SIGCONT);
  EXPECT_EQ(started.parent->join(), 0);
}

}  // namespace
}  // namespace runrig
