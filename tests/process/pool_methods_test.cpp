// Pools whose template is made by each of the start methods.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../engine/pool_test_support.hpp"
#include "../shm/session_support.hpp"
#include "process/fork_server.hpp"
#include "process_support.hpp"
#include "processes.hpp"
#include "runrig/engine/context.hpp"
#include "runrig/engine/parallel.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/statistics.hpp"
#include "runrig/shm/nd_array.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class PoolMethodsTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
  static bool is_forked() { return GetParam() == StartMethod::fork; }
  static PoolOptions options(int workers = 2) {
    PoolOptions given;
    given.workers = workers;
    given.start_method = GetParam();
    return given;
  }
};

LaunchOptions slices(std::uint32_t count) {
  LaunchOptions given;
  given.slices = count;
  return given;
}

int twice(int x) { return 2 * x; }

TEST_P(PoolMethodsTest, KernelsRunInWorkersAndSeeTheArena) {
  Pool pool(options());
  const ArenaArray<int> pids(pool.arena(), 64);
  const ArenaArray<double> values(pool.arena(), 64);
  int* const pid = pids.data();
  double* const value = values.data();
  pool.launch(slices(64),
              [pid, value](SliceContext& context) {
                pid[context.slice()] = ::getpid();
                value[context.slice()] = std::sqrt(context.slice());
              })
      .get();
  const auto workers = pool.worker_pids();
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_NE(std::find(workers.begin(), workers.end(), pids[i]), workers.end()) << i;
    EXPECT_EQ(values[i], std::sqrt(static_cast<double>(i)));
  }
}

TEST_P(PoolMethodsTest, TasksAreCalledWithTheirArguments) {
  Pool pool(options());
  const int base = 40;
  EXPECT_EQ(pool.apply([base](int x) { return base + x; }, 2), 42);
  EXPECT_EQ(pool.apply(&twice, 21), 42);
  EXPECT_EQ(pool.apply([](const std::string& a, const std::string& b) { return a + b; }, std::string("a "), "text"),
            "a text");
  EXPECT_EQ(pool.apply([](const std::string& text) { return text.size(); }, std::string(1 << 20, 'x')), 1U << 20);
  std::vector<int> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), 0);
  const auto doubled = pool.map(&twice, numbers);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(doubled[static_cast<std::size_t>(i)], 2 * i);
  EXPECT_THROW((void)pool.apply([](int x) -> int { throw std::out_of_range(std::to_string(x)); }, 7),
               std::out_of_range);
}

TEST_P(PoolMethodsTest, GetContext_MakesPoolsOfItsMethod) {
  PoolOptions given;
  given.workers = 1;
  Pool pool = get_context(GetParam()).pool(given);
  const std::string name = pool.apply([] { return current_process().name(); });
  const std::string wanted = is_forked()                        ? "ForkPoolWorker-1"
                             : GetParam() == StartMethod::spawn ? "SpawnPoolWorker-1"
                                                                : "ForkServerPoolWorker-1";
  EXPECT_EQ(name, wanted);
}

TEST_P(PoolMethodsTest, ParallelCallsGiveTheSameBitsAsAForkedPool) {
  auto numbers = NdArray<double>::create(test::unique_segment_name(), {100'003});
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(-1e6, 1e6);
  for (double& each : numbers.span()) each = uniform(random);
  auto squares = NdArray<double>::create(test::unique_segment_name(), {100'003});
  double forked = 0;
  {
    Pool pool(1);
    forked = sum(pool, numbers);
  }
  Pool pool(options(3));
  EXPECT_EQ(sum(pool, numbers), forked);
  const double factor = 3;
  parallel_transform(
      pool, squares, [factor](auto out, auto in) { out = factor * in * in; }, numbers);
  for (std::size_t i = 0; i < 100'003; ++i) ASSERT_EQ(squares.span()[i], 3 * numbers.span()[i] * numbers.span()[i]);
  squares.unlink();
  numbers.unlink();
}

TEST_P(PoolMethodsTest, CapturesThatWorkersCannotHaveAreRefusedInWords) {
  Pool pool(options(1));
  std::vector<double> heap(1000);
  double* const data = heap.data();
  EXPECT_THROW((void)pool.launch(slices(1), [data](SliceContext&) { *data = 1; }), std::logic_error);
  EXPECT_THROW((void)pool.apply([data] { *data = 1; }), std::logic_error);
  const char* const constant = "constant";
  const auto use = [constant] { return std::string(constant); };
  if (is_forked()) {
    EXPECT_EQ(pool.apply(use), "constant");
    return;
  }
  const std::string why = test::thrown_text([&] { (void)pool.apply(use); });
  EXPECT_NE(why.find("means nothing in a process that executes the program anew"), std::string::npos) << why;
  const ArenaArray<int> shared(pool.arena(), 1);
  int* const in_arena = shared.data();
  pool.apply([in_arena] { *in_arena = 5; });
  EXPECT_EQ(shared[0], 5);
}

TEST_P(PoolMethodsTest, AnInitializerRunsInEachWorkerWithItsArguments) {
  const auto arena = std::make_shared<Arena>();
  const ArenaArray<std::atomic<int>> sums(*arena, 1);
  std::atomic<int>* const sum_of_calls = sums.data();
  PoolOptions given = options(3);
  given.arena = arena;
  given.initialize_with(
      [sum_of_calls](int x, const std::string& text) { sum_of_calls->fetch_add(x + static_cast<int>(text.size())); },
      10, "abc");
  const Pool pool(given);
  EXPECT_TRUE(test::eventually([&] { return sums[0].load() == 39; })) << sums[0].load();
}

TEST_P(PoolMethodsTest, AnInitializerThatCannotCrossIsRefusedUnlessWorkersAreForked) {
  PoolOptions given = options(1);
  given.initializer = [text = std::string("private")] { (void)text; };
  if (is_forked()) {
    EXPECT_NO_THROW(Pool{given});
    return;
  }
  const std::string why = test::thrown_text([&] { Pool pool(given); });
  EXPECT_NE(why.find("can only run in a forked child"), std::string::npos) << why;
}

TEST_P(PoolMethodsTest, AWorkerHasNoDescriptorsButThoseItIsToKeep) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  const UniqueFd other(::fcntl(ends[1], F_DUPFD_CLOEXEC, 3));
  const UniqueFd writing(::fcntl(ends[1], F_DUPFD_CLOEXEC, 77));
  ::close(ends[1]);
  PoolOptions given = options(1);
  given.keep_fds = {writing.get()};
  Pool pool(given);
  const auto open = pool.apply(
      [](int kept) {
        (void)!::write(kept, "x", 1);
        std::vector<int> fds;
        for (int fd = 3; fd < 256; ++fd) {
          if (::fcntl(fd, F_GETFD) != -1) fds.push_back(fd);
        }
        return fds;
      },
      writing.get());
  EXPECT_NE(std::find(open.begin(), open.end(), writing.get()), open.end());
  EXPECT_LE(open.size(), 3U) << "it, and what tells of the worker's end";
  char byte = 0;
  EXPECT_EQ(::read(reading.get(), &byte, 1), 1);
}

TEST_P(PoolMethodsTest, AProcessWithThreadsMayMakeItUnlessByFork) {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop.load()) std::this_thread::sleep_for(1ms);
  });
  if (is_forked()) {
    EXPECT_THROW(Pool{options()}, std::logic_error);
  } else {
    Pool pool(options());
    EXPECT_EQ(pool.apply(&twice, 4), 8);
    ::kill(pool.template_pid(), SIGKILL);
    // A worker that ends with the template may have the task by then.
    EXPECT_EQ(pool.apply_async(TaskOptions{.retries = 3}, &twice, 5).get(), 10);
  }
  stop = true;
  other.join();
}

TEST_P(PoolMethodsTest, AKilledWorkerIsReplacedAndItsSliceRunAgain) {
  Pool pool(options());
  const ArenaArray<std::atomic<int>> tries(pool.arena(), 16);
  std::atomic<int>* const count = tries.data();
  pool.launch(slices(16),
              [count](SliceContext& context) {
                if (count[context.slice()].fetch_add(1) == 0 && context.slice() % 4 == 0) ::raise(SIGKILL);
              })
      .get();
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(tries[i].load(), i % 4 == 0 ? 2 : 1) << i;
  EXPECT_EQ(pool.workers_lost(), 4U);
  EXPECT_THROW((void)pool.apply([] { ::raise(SIGKILL); }), WorkerLost);
  EXPECT_EQ(pool.apply(&twice, 3), 6);
}

TEST_P(PoolMethodsTest, AKilledTemplateIsReplacedInTheMiddleOfALaunch) {
  Pool pool(options());
  for (int round = 0; round < 2; ++round) {
    const ArenaArray<std::atomic<int>> done(pool.arena(), 40);
    std::atomic<int>* const count = done.data();
    Launch launch = pool.launch(slices(40), [count](SliceContext& context) {
      const bool first_time = count[context.slice()].fetch_add(1) == 0;
      if (first_time && context.slice() < 2) std::this_thread::sleep_for(60s);  // both workers are killed here
    });
    ASSERT_TRUE(test::eventually([&] { return done[0] == 1 && done[1] == 1; }));
    const pid_t killed = pool.template_pid();
    ASSERT_EQ(::kill(killed, SIGKILL), 0);
    launch.get();
    EXPECT_NE(pool.template_pid(), killed);
    for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(done[i].load(), i < 2 ? 2 : 1) << i;
  }
}

// Of processes that tell what they are by a board.
bool any_lives(const test::Board& board, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (test::process_lives(board[i])) return true;
  }
  return false;
}

// O1
TEST_P(PoolMethodsTest, AllProcessesEndWithTheirParent) {
  test::Board board;
  constexpr std::size_t all = 9;
  test::Child parent([&] {
    Pool pool(options(8));
    const auto workers = pool.worker_pids();
    ASSERT_EQ(workers.size(), 8U);
    std::copy(workers.begin(), workers.end(), &board[0]);
    board[8] = pool.template_pid();
    const ArenaArray<std::atomic<int>> busy(pool.arena(), 1);
    auto* const count = busy.data();
    Launch launch = pool.launch(slices(8), [count](SliceContext&) {
      ++*count;
      std::this_thread::sleep_for(60s);
    });
    ASSERT_TRUE(test::eventually([&] { return *count == 8; }));
    board[all] = 1;
    launch.wait();
  });
  ASSERT_TRUE(test::eventually([&] { return board[all] == 1; }, 30s));
  parent.signal(SIGKILL);
  EXPECT_EQ(parent.join(), -SIGKILL);
  // One second is the promise; the rest is for a busy machine.
  EXPECT_TRUE(test::eventually([&] { return !any_lives(board, all); }, 5s));
}

// O2
TEST_P(PoolMethodsTest, KilledWithAllThatBelongsToItItLeavesNothingASweepDoesNotRemove) {
  test::Board board;
  const std::string own = test::unique_segment_name();
  const std::string of_worker = test::unique_segment_name();
  constexpr std::size_t all = 6;
  test::Child parent([&] {
    test::leave_session();
    const auto segment = SharedMemory::create(own, 4096);
    Pool pool(options(2));
    board[0] = tracker_pid().value();
    board[1] = pool.apply(
        [](std::string name) {
          (void)SharedMemory::create(name, 4096);  // closing it is not its end
          return tracker_pid().value();
        },
        of_worker);
    board[2] = detail::fork_server_pid() != 0 ? detail::fork_server_pid() : pool.template_pid();
    board[3] = pool.template_pid();
    const auto workers = pool.worker_pids();
    ASSERT_EQ(workers.size(), 2U);
    std::copy(workers.begin(), workers.end(), &board[4]);
    board[all] = 1;
    test::sleep_long();
  });
  ASSERT_TRUE(test::eventually([&] { return board[all] == 1; }, 30s));
  for (std::size_t i = 0; i < all; ++i) ::kill(static_cast<pid_t>(board[i]), SIGKILL);
  parent.signal(SIGKILL);
  EXPECT_EQ(parent.join(), -SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return !any_lives(board, all); }));
  EXPECT_TRUE(test::eventually([&] {
    (void)collect_garbage();
    return !test::name_exists(own) && !test::name_exists(of_worker);
  }));
}

TEST_P(PoolMethodsTest, NothingIsLeftOfAPool) {
  const std::size_t before = test::open_descriptors();
  for (int round = 0; round < 3; ++round) {
    Pool pool(options());
    EXPECT_EQ(pool.apply(&twice, 4), 8);
  }
  // The fork server stays, with the descriptors that it is reached by.
  EXPECT_LE(test::open_descriptors(), before + (GetParam() == StartMethod::forkserver ? 8 : 0));
  const std::size_t then = test::open_descriptors();
  for (int round = 0; round < 3; ++round) Pool{options()};
  EXPECT_EQ(test::open_descriptors(), then);
}

std::vector<pid_t> fork_servers() {
  std::vector<pid_t> found;
  for (const pid_t child : test::children_of(::getpid())) {
    if (test::process_state(child).name == "runrig-server") found.push_back(child);
  }
  return found;
}

TEST_P(PoolMethodsTest, AKilledForkServerDisturbsNoPoolAndIsStartedAgain) {
  if (GetParam() != StartMethod::forkserver) GTEST_SKIP() << "there is none";
  Pool pool(options());
  const auto servers = fork_servers();
  ASSERT_EQ(servers.size(), 1U);
  ASSERT_EQ(::kill(servers[0], SIGKILL), 0);
  ASSERT_TRUE(test::eventually([&] { return !test::process_lives(servers[0]); }));
  EXPECT_EQ(pool.apply(&twice, 4), 8);
  const pid_t killed = pool.template_pid();
  ASSERT_EQ(::kill(killed, SIGKILL), 0);  // the next one needs a server
  EXPECT_TRUE(test::eventually([&] {      // at first perhaps by a worker that outlived its template a little
    EXPECT_EQ(pool.apply_async(TaskOptions{.retries = 3}, &twice, 5).get(), 10);
    return pool.template_pid() != killed;
  }));
  Pool other(options());
  EXPECT_EQ(other.apply(&twice, 6), 12);
}

INSTANTIATE_TEST_SUITE_P(Methods, PoolMethodsTest,
                         ::testing::Values(StartMethod::fork, StartMethod::spawn, StartMethod::forkserver),
                         [](const auto& each) { return std::string(to_string(each.param)); });

// main.cpp maps something at that address before runrig::init(), in as many new processes as are told.
class OccupiedAddressTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
  ~OccupiedAddressTest() override { ::unsetenv("RUNRIG_TEST_OCCUPY"); }
  void occupy(const void* address, int processes) {
    const std::string path = directory_ / "left";
    std::ofstream(path) << std::string(static_cast<std::size_t>(processes), 'x');
    ::setenv("RUNRIG_TEST_OCCUPY", (std::to_string(reinterpret_cast<std::uintptr_t>(address)) + " " + path).c_str(), 1);
  }
  [[nodiscard]] std::uintmax_t left() const { return std::filesystem::file_size(directory_ / "left"); }
  PoolOptions options_ = [] {
    PoolOptions given;
    given.workers = 1;
    given.start_method = StartMethod::spawn;
    given.arena = std::make_shared<Arena>();
    return given;
  }();
  const test::TemporaryDirectory directory_;
};

TEST_F(OccupiedAddressTest, AnotherProcessIsStartedIfTheArenasPlaceIsTaken) {
  const auto block = options_.arena->allocate(4096);
  occupy(block.data(), 2);
  Pool pool(options_);
  EXPECT_EQ(left(), 0U);
  EXPECT_EQ(pool.apply(&twice, 4), 8);
}

TEST_F(OccupiedAddressTest, IsAnErrorInTheEnd) {
  const auto block = options_.arena->allocate(4096);
  occupy(block.data(), 1000);
  EXPECT_EQ(test::thrown_code([&] { Pool pool(options_); }), std::errc::address_in_use);
  EXPECT_LT(left(), 1000U);
}

}  // namespace
}  // namespace runrig
