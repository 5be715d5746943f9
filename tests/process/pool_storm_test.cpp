// A pool of each start method under load, while whatever belongs to it is killed at random.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../engine/pool_test_support.hpp"
#include "process/fork_server.hpp"
#include "runrig/channel/queue.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/start_method.hpp"
#include "runrig/shm/shared.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/sync/barrier.hpp"
#include "runrig/sync/condition.hpp"
#include "runrig/sync/lock.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;

// For each of three methods: 20 seconds in all, and ten minutes at night.
#ifdef RUNRIG_NIGHTLY
constexpr auto length = 200s;
#else
constexpr auto length = 7s;
#endif
constexpr int workers = 3;
constexpr auto overtime = 30s;  // for what a storm has at least, on a machine that is busy as well
constexpr std::uint64_t least_worker_kills = 71;
constexpr std::uint64_t least_maker_kills = 3;
constexpr std::uint64_t least_done = 351;
constexpr std::uint64_t least_launches = 1;
constexpr std::uint64_t least_answers = 31;
constexpr auto patience = 60s;  // with what must end soon, on a machine that is busy as well

// What the tasks use together, and what is counted. Numbers whose order against others matters to nobody.
struct Scene {
  Lock lock;
  std::uint64_t first = 0;  // under the lock, as the next; equal whenever it is free
  std::uint64_t second = 0;
  ConditionVariable condition;
  Barrier barrier{2};
  std::atomic<std::uint64_t> begun{0};
  std::atomic<std::uint64_t> repairs{0};  // of what a holder of the lock left
  std::atomic<std::uint64_t> breaks{0};   // of the barrier
  std::atomic<std::uint64_t> meetings{0};
  std::atomic<std::uint64_t> worker_kills{0};
  std::atomic<std::uint64_t> maker_kills{0};  // of templates and fork servers
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> launches{0};
  std::atomic<std::uint64_t> answers{0};         // that came through the queue
  std::atomic<std::uint64_t> lost_questions{0};  // says the queue
};

}  // namespace

template <>
inline constexpr bool is_address_free<Scene> = true;

namespace {

std::uint64_t hash(std::uint64_t value) {
  for (int i = 0; i < 2000; ++i) value = value * 6364136223846793005ULL + 1442695040888963407ULL;
  return value;
}

// The lock, held. If its last holder was killed, the numbers under it are made equal again.
std::unique_lock<Lock> hold(Scene& scene) {
  for (;;) {
    try {
      return std::unique_lock<Lock>(scene.lock);
    } catch (const OwnerDied&) {
      auto recovery = scene.lock.recover();
      if (!recovery) continue;  // somebody else did it
      scene.first = scene.second;
      recovery->commit();
      ++scene.repairs;
      return {scene.lock, std::adopt_lock};
    }
  }
}

void count_under_lock(Scene& scene) {
  const auto guard = hold(scene);
  ++scene.first;
  for (int i = 0; i < 20; ++i) (void)hash(scene.first);  // so that some are killed here
  ++scene.second;
}

void wait_or_notify(Scene& scene, bool notifies) {
  auto guard = hold(scene);
  if (notifies) {
    scene.condition.notify(1);
    return;
  }
  try {
    (void)scene.condition.wait(guard, 5ms);
  } catch (const OwnerDied&) {
    guard.release();  // it is not held; the next one repairs
  }
}

void meet_another(Scene& scene, bool resets) {
  try {
    (void)scene.barrier.wait(20ms);
    ++scene.meetings;
  } catch (const BrokenBarrier&) {
    ++scene.breaks;
    if (resets) scene.barrier.reset();  // nobody came, or a party was killed
  }
}

void use_a_segment(const std::string& name, std::uint64_t value) {
  auto segment = SharedMemory::create(name + "-" + std::to_string(::getpid()), sizeof value);
  *reinterpret_cast<std::uint64_t*>(segment.writable_bytes().data()) = value;
  segment.unlink();
}

// Messages of several lengths: beside others, and in blocks of their own.
std::string padding(std::uint64_t number) { return std::string(number % 5 == 0 ? 5000 : number % 40, 'x'); }

struct Question {
  std::uint64_t number = 0;
  std::string padding;
};
struct Answer {
  std::uint64_t number = 0;
  std::uint64_t value = 0;
  std::uint64_t process = 0;  // whose answer it is,
  std::uint64_t nth = 0;      // and which of all that this process gave
  std::string padding;
};
struct Queues {
  Queue<Question> questions{64};
  Queue<Answer> answers;
};

void answer_a_question(const Queues& queues) {
  static std::uint64_t answered = 0;
  const auto question = queues.questions.try_get();
  if (!question || question->padding != padding(question->number)) return;  // an answer will be missing then
  queues.answers.put({question->number, hash(question->number), this_process_identity().mark, ++answered,
                      padding(question->number + 1)});
}

// A task of the storm. Others, who may be killed at any moment, use the same things.
std::uint64_t work(int number, const Shared<Scene>& scene, const std::string& segments, const Queues& queues) {
  ++scene->begun;
  if (number % 4 == 2) answer_a_question(queues);
  if (number % 64 == 2 || number % 64 == 3) {
    meet_another(*scene, number % 3 == 0);
  } else if (number % 64 == 20) {
    use_a_segment(segments + "-" + std::to_string(number), hash(1));
  } else if (number % 8 == 0) {
    count_under_lock(*scene);
  } else if (number % 8 == 1) {
    wait_or_notify(*scene, number / 8 % 2 == 0);
  }
  return hash(static_cast<std::uint64_t>(number));
}

// Kills, as long as the pool's process lives. In a process of its own: a thread beside would forbid to fork another
// template.
class Killer {
 public:
  Killer(const Pool& pool, const Shared<Scene>& scene, unsigned seed)
      : child_([&pool, &scene, seed, parent = ::getpid()] { run(pool, *scene, seed, parent); }) {}
  void stop() {
    child_.signal(SIGKILL);
    (void)child_.join();
  }

 private:
  static void run(const Pool& pool, Scene& scene, unsigned seed, pid_t parent) {
    std::mt19937 random(seed);
    auto next_maker = Clock::now() + 300ms;
    for (std::uint64_t last = 0; ::getppid() == parent; last = scene.begun) {
      std::this_thread::sleep_for(std::chrono::microseconds(1000 + random() % 8000));
      // A pool that does not get to do anything between two kills says so and ends, as it should.
      while (scene.begun == last && ::getppid() == parent) std::this_thread::sleep_for(200us);
      if (Clock::now() < next_maker) {
        if (kill_one_of(pool.worker_pids(), random)) ++scene.worker_kills;
        continue;
      }
      next_maker = Clock::now() + std::chrono::milliseconds(300 + random() % 700);
      if (kill_one_of(makers(parent), random)) ++scene.maker_kills;
      if (random() % 2 == 0) {  // once more, in the middle of a new one's start
        std::this_thread::sleep_for(std::chrono::milliseconds(90 + random() % 30));
        if (kill_one_of(makers(parent), random)) ++scene.maker_kills;
      }
    }
  }
  // The other children of the pool's process: the template, and the fork server, if there is one.
  static std::vector<pid_t> makers(pid_t parent) {
    auto children = test::children_of(parent);
    std::erase(children, ::getpid());
    return children;
  }
  static bool kill_one_of(const std::vector<pid_t>& pids, std::mt19937& random) {
    return !pids.empty() && ::kill(pids[random() % pids.size()], SIGKILL) == 0;
  }

  test::Child child_;
};

// Sends tasks, and now and then a launch, and looks at all that comes back.
class Load {
 public:
  Load(Pool& pool, Shared<Scene> scene, std::string segments)
      : pool_(pool), scene_(std::move(scene)), segments_(std::move(segments)), values_(pool.arena(), slices) {}

  /// Until `end`, and on until there was enough of all.
  void run_until(Clock::time_point end) {
    const auto goes_on = [&] {
      const auto now = Clock::now();
      return (now < end || (!is_enough() && now < end + overtime)) && !::testing::Test::HasFatalFailure();
    };
    for (int number = 0; goes_on(); ++number) {
      sent_.push_back({number, pool_.apply_async(work, number, scene_, segments_, queues_)});
      if (number % 4 == 2) asked_ += queues_.questions.try_put({asked_, padding(asked_)}) ? 1U : 0U;
      if (sent_.size() > 100) take_one();
      take_answers();
      if (number % 1000 == 0) launch(static_cast<std::uint64_t>(number));
    }
    while (!sent_.empty() && !::testing::Test::HasFatalFailure()) take_one();
  }

  /// When nobody is at the queues any more: each question has been answered once, is still there, is lost and counted,
  /// or was in the hands of somebody who was killed.
  void check_queues() {
    take_answers();
    std::uint64_t unasked = 0;
    while (const auto question = queues_.questions.try_get()) {
      EXPECT_FALSE(answered_.contains(question->number));
      ++unasked;
    }
    const std::uint64_t missing = asked_ - unasked - answered_.size();
    scene_->answers = answered_.size();
    scene_->lost_questions = queues_.questions.lost();
    EXPECT_EQ(queues_.answers.lost(), 0U) << "only this process gets them";
    EXPECT_LE(scene_->lost_questions, missing);
    // With its template all workers of a pool may die.
    EXPECT_LE(missing, scene_->lost_questions + scene_->worker_kills + (1 + workers) * scene_->maker_kills);
    queues_.questions.put({1, "goes on"}, patience);
    EXPECT_EQ(queues_.questions.get(patience).padding, "goes on");
  }

 private:
  [[nodiscard]] bool is_enough() const {
    return scene_->worker_kills >= least_worker_kills && scene_->maker_kills >= least_maker_kills &&
           scene_->done >= least_done && scene_->launches >= least_launches && answered_.size() >= least_answers;
  }
  static constexpr std::uint32_t slices = 200;
  struct Sent {
    int number;
    AsyncResult<std::uint64_t> result;
  };

  void take_one() {
    try {
      const auto answer = sent_.front().result.get(patience);
      ASSERT_EQ(answer, hash(static_cast<std::uint64_t>(sent_.front().number)));
      ++scene_->done;
    } catch (const WorkerLost&) {
      ++scene_->lost;
    }
    sent_.pop_front();
  }

  void take_answers() {
    while (const auto answer = queues_.answers.try_get()) {
      ASSERT_EQ(answer->value, hash(answer->number));
      ASSERT_EQ(answer->padding, padding(answer->number + 1));
      ASSERT_TRUE(answered_.insert(answer->number).second) << answer->number << " for the second time";
      std::uint64_t& last = last_of_[answer->process];
      ASSERT_GT(answer->nth, last) << "out of order";
      last = answer->nth;
    }
  }

  void launch(std::uint64_t round) {
    LaunchOptions options;
    options.slices = slices;
    options.max_kills = 60;
    auto* const data = values_.data();
    Launch launch = pool_.launch(
        options, [data, round](SliceContext& context) { data[context.slice()] = hash(round + context.slice()); });
    ASSERT_TRUE(launch.wait(Deadline::after(patience)));
    launch.get();
    for (std::uint32_t i = 0; i < slices; ++i) ASSERT_EQ(values_[i], hash(round + i)) << "slice " << i;
    ++scene_->launches;
  }

  Pool& pool_;
  const Shared<Scene> scene_;
  const std::string segments_;
  const test::ArenaArray<std::uint64_t> values_;
  std::deque<Sent> sent_;
  const Queues queues_;
  std::uint64_t asked_ = 0;
  std::set<std::uint64_t> answered_;
  std::map<std::uint64_t, std::uint64_t> last_of_;  // by process
};

void run_storm(StartMethod method, const Shared<Scene>& scene, const std::string& segments, unsigned seed) {
  const auto descriptors = test::open_descriptors();
  {
    PoolOptions options;
    options.workers = workers;
    options.retries = 2;
    options.start_method = method;
    Pool pool(options);
    Killer killer(pool, scene, seed);
    Load load(pool, scene, segments);
    load.run_until(Clock::now() + length);
    killer.stop();
    load.check_queues();
    EXPECT_EQ(pool.apply([](int a) { return a + 1; }, 1), 2) << "the pool goes on";
    const auto guard = hold(*scene);
    EXPECT_EQ(scene->first, scene->second);
  }
  detail::stop_fork_server();  // which otherwise stays, for whoever needs it next
  EXPECT_EQ(test::children_of(::getpid()).size(), 0U) << "children or zombies";
  EXPECT_EQ(test::open_descriptors(), descriptors);
}

bool is_there(const std::string& prefix) {
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().starts_with(prefix)) return true;
  }
  return false;
}

class PoolStormTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

TEST_P(PoolStormTest, EveryTaskIsRightOrLostNothingHangsAndNothingIsLeft) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const std::string segments = test::unique_segment_name();
  const Shared<Scene> scene;
  // In a process of its own, whose children and descriptors can be counted.
  EXPECT_EQ(test::run_in_child([&] { run_storm(GetParam(), scene, segments, seed); }, length + overtime + patience), 0);
  EXPECT_TRUE(test::eventually([&] { return !is_there(segments); }, patience)) << "in /dev/shm";
  EXPECT_GE(scene->worker_kills, least_worker_kills);
  EXPECT_GE(scene->maker_kills, least_maker_kills);
  EXPECT_GE(scene->done, least_done);
  EXPECT_GE(scene->launches, least_launches);
  EXPECT_GE(scene->answers, least_answers);
  for (const auto& [name, number] :
       std::initializer_list<std::pair<const char*, std::uint64_t>>{{"worker_kills", scene->worker_kills},
                                                                    {"maker_kills", scene->maker_kills},
                                                                    {"done", scene->done},
                                                                    {"lost", scene->lost},
                                                                    {"launches", scene->launches},
                                                                    {"answers", scene->answers},
                                                                    {"lost_questions", scene->lost_questions},
                                                                    {"repairs", scene->repairs},
                                                                    {"meetings", scene->meetings},
                                                                    {"breaks", scene->breaks}}) {
    RecordProperty(name, std::to_string(number));
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, PoolStormTest,
                         ::testing::Values(StartMethod::fork, StartMethod::spawn, StartMethod::forkserver),
                         [](const auto& each) { return std::string(to_string(each.param)); });

}  // namespace
}  // namespace runrig
