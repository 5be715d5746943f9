// Queues in children of each start method.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "process_support.hpp"
#include "runrig/channel/queue.hpp"
#include "runrig/channel/transfer_shm.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/shm/nd_array.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;

class QueueMethodsTest : public test::EachStartMethod {};
RUNRIG_FOR_EACH_START_METHOD(QueueMethodsTest);

TEST_P(QueueMethodsTest, TheExampleOfThePythonDocumentation) {
  const Queue<> queue;
  Process process = make(
      [](const Queue<>& q) { q.put(pickle::to_object(std::tuple(42, std::optional<int>(), std::string("hello")))); },
      queue);
  process.start();
  EXPECT_EQ(queue.get(30s), pickle::to_object(std::tuple(42, std::optional<int>(), std::string("hello"))));
  process.join();
  EXPECT_EQ(process.exit_code(), 0);
}

TEST_P(QueueMethodsTest, AChildMayBeJoinedBeforeWhatItPutIsTaken) {
  const Queue<std::string> queue;
  EXPECT_EQ(run([](const Queue<std::string>& q) { q.put(std::string(1'000'000, 'X')); }, queue), 0);
  EXPECT_EQ(queue.get(30s), std::string(1'000'000, 'X'));
}

TEST_P(QueueMethodsTest, WorkersTakeTasksAndGiveResults) {
  const JoinableQueue<int> tasks(10);
  const SimpleQueue<std::pair<int, int>> results;
  std::vector<Process> workers;
  for (int i = 0; i < 2; ++i) {
    workers.push_back(make(
        [](const JoinableQueue<int>& in, const SimpleQueue<std::pair<int, int>>& out) {
          for (int task = in.get(); task >= 0; task = in.get()) {
            out.put({task, task * task});
            in.task_done();
          }
          in.task_done();
        },
        tasks, results));
    workers.back().start();
  }
  for (int i = 0; i < 100; ++i) tasks.put(i, 30s);
  for (int i = 0; i < 2; ++i) tasks.put(-1, 30s);
  EXPECT_TRUE(tasks.join(30s));
  std::set<int> done;
  for (int i = 0; i < 100; ++i) {
    const auto [task, square] = results.get();
    EXPECT_EQ(square, task * task);
    done.insert(task);
  }
  EXPECT_EQ(done.size(), 100U);
  for (Process& each : workers) {
    each.join(30s);
    EXPECT_EQ(each.exit_code(), 0);
  }
}

TEST_P(QueueMethodsTest, AnArrayIsPassedByReference) {
  const Queue<NdArray<float>> there;
  const Queue<NdView<float>> back;
  auto array = NdArray<float>::create_anonymous({1000, 1000});
  there.put(array);
  Process process = make(
      [](const Queue<NdArray<float>>& in, const Queue<NdView<float>>& out, const Queue<int>& received) {
        auto theirs = in.get();
        theirs(999, 999) = 5;
        out.put(theirs.view());
        (void)received.get();  // what was put by reference is kept until then
      },
      there, back, Queue<int>());
  process.start();
  const auto view = back.get(30s);
  EXPECT_EQ(view(999, 999), 5.0F);
  EXPECT_EQ(array(999, 999), 5.0F);
  view(0, 0) = 3;
  EXPECT_EQ(array(0, 0), 3.0F);
  process.kill();
  process.join();
}

TEST_P(QueueMethodsTest, AProducerThatIsKilledAfterPutLosesNothing) {
  const Queue<int> queue;
  Process process = make(
      [](const Queue<int>& q) {
        for (int i = 0; i < 10'000; ++i) q.put(i);
        (void)::kill(::getpid(), SIGKILL);
      },
      queue);
  process.start();
  process.join(30s);
  EXPECT_EQ(process.exit_code(), -SIGKILL);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(queue.get_nowait(), i);
  EXPECT_EQ(queue.lost(), 0U);
}

TEST_P(QueueMethodsTest, AKilledConsumerLeavesTheQueueToTheOthers) {
  const Queue<int> queue;
  Process process = make([](const Queue<int>& q) { (void)q.get(); }, queue);
  process.start();
  process.kill();
  process.join();
  queue.put(7);
  EXPECT_EQ(queue.get(30s), 7);
}

}  // namespace
}  // namespace runrig
