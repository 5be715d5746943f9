#include "runrig/channel/queue.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../sync/shared_object.hpp"
#include "runrig/channel/connection.hpp"
#include "runrig/channel/transfer_shm.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/shm/value.hpp"
#include "support.hpp"

namespace runrig {

/// Cannot be written when it is odd, nor read when it is negative.
struct Picky {
  explicit Picky(int given) : number(given) {}
  int number;
};
template <>
struct Transfer<Picky> {
  static void write(pickle::Encoder& encoder, const Picky& value) {
    encoder.integer(value.number);
    if (value.number % 2 != 0) throw std::runtime_error("odd");
  }
  static Picky read(pickle::Decoder& decoder) {
    const int number = decoder.integer<int>();
    if (number < 0) throw std::runtime_error("negative");
    return Picky(number);
  }
};

namespace {

using namespace std::chrono_literals;

std::size_t bytes_with_memory(const QueueHandle& handle) {
  struct stat status {};
  EXPECT_EQ(::fstat(handle.segment.fd, &status), 0);
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

std::vector<std::byte> pattern(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> made(bytes);
  std::minstd_rand random(seed + 1);
  for (auto& each : made) each = static_cast<std::byte>(random());
  return made;
}

template <class Q>
class AnyQueueTest : public ::testing::Test {};
using QueueTypes = ::testing::Types<Queue<int>, JoinableQueue<int>, SimpleQueue<int>>;
TYPED_TEST_SUITE(AnyQueueTest, QueueTypes);

TYPED_TEST(AnyQueueTest, PutAndGet_FirstInFirstOut) {
  TypeParam queue;
  EXPECT_TRUE(queue.empty());
  for (int i = 0; i < 100'000; ++i) queue.put(i);
  EXPECT_FALSE(queue.empty());
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(queue.get(), i);
  EXPECT_TRUE(queue.empty());
}

TYPED_TEST(AnyQueueTest, Get_BlocksUntilThereIsAMessage) {
  TypeParam queue;
  test::Child child([&] {
    ::usleep(50'000);
    queue.put(7);
  });
  EXPECT_EQ(queue.get(), 7);
  EXPECT_EQ(child.join(), 0);
}

TYPED_TEST(AnyQueueTest, Close_EndsItsUseInThisProcessOnlyAndMayBeRepeated) {
  TypeParam queue;
  const auto other = TypeParam::attach(queue.handle());
  queue.put(1);
  queue.close();
  queue.close();
  EXPECT_THROW(queue.put(2), std::logic_error);
  EXPECT_THROW((void)queue.get(), std::logic_error);
  EXPECT_THROW((void)queue.empty(), std::logic_error);
  EXPECT_EQ(other.get(), 1);  // as another process has it
}

TYPED_TEST(AnyQueueTest, CopiesNameTheSameQueue) {
  TypeParam queue;
  const TypeParam copy = queue;
  copy.put(5);
  EXPECT_EQ(queue.get(), 5);
}

TYPED_TEST(AnyQueueTest, TravelsThroughAPipeAndThroughAQueue) {
  TypeParam queue;
  auto [ours, theirs] = Pipe();
  ours.send(queue);
  theirs.template recv<TypeParam>().put(3);
  Queue<TypeParam> queues;
  queues.put(queue);
  queues.get().put(4);
  EXPECT_EQ(queue.get(), 3);
  EXPECT_EQ(queue.get(), 4);
}

TEST(QueueTest, AnotherKindOfQueueIsRefused) {
  const Queue<int> queue;
  EXPECT_THROW((void)JoinableQueue<int>::attach(queue.handle()), FormatError);
  EXPECT_THROW((void)SimpleQueue<int>::attach(queue.handle()), FormatError);
  const Value<int> value(0);
  EXPECT_THROW((void)Queue<int>::attach({value.handle().data.segment}), FormatError);
}

TEST(QueueTest, Put_BlocksUntilAPlaceIsFree) {
  const Queue<int> queue(2);
  const test::SharedObject<std::atomic<int>> put;
  queue.put(0);
  queue.put(1);
  test::Child child([&] {
    queue.put(2);
    put->store(1);
  });
  ::usleep(50'000);
  EXPECT_EQ(put->load(), 0);
  EXPECT_EQ(queue.get(), 0);
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(put->load(), 1);
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(queue.get(), 2);
}

TEST(QueueTest, Put_TimeoutRaisesFull) {
  const Queue<int> queue(1);
  queue.put(0, 1s);
  const auto begin = Clock::now();
  EXPECT_THROW(queue.put(1, 30ms), Full);
  EXPECT_GE(Clock::now() - begin, 30ms);
  EXPECT_FALSE(queue.try_put_for(1, 1ms));
  EXPECT_EQ(queue.get(), 0);
  EXPECT_TRUE(queue.try_put_for(1, 1ms));
}

TEST(QueueTest, PutNowait_RaisesFullWhenThereIsNoPlace) {
  const Queue<int> queue(1);
  queue.put_nowait(0);
  EXPECT_THROW(queue.put_nowait(1), Full);
  EXPECT_FALSE(queue.try_put(1));
  EXPECT_EQ(queue.get(), 0);
  EXPECT_TRUE(queue.try_put(1));
}

TEST(QueueTest, Put_TimeoutHoldsAlsoWhereMoreThanACrowdWaitsWithLongMessages) {
  const Queue<std::string> queue(1);
  const std::string message(10'000, 'x');
  queue.put("first");
  std::vector<std::thread> crowd;
  for (int i = 0; i < 80; ++i) {
    crowd.emplace_back([&] { EXPECT_THROW(queue.put(message, 300ms), Full); });
  }
  for (auto& each : crowd) each.join();
  EXPECT_EQ(queue.get(), "first");
  queue.put(message, 10s);
  EXPECT_EQ(queue.get(), message);
}

TEST(QueueTest, Get_TimeoutRaisesEmpty) {
  const Queue<int> queue;
  const auto begin = Clock::now();
  EXPECT_THROW((void)queue.get(30ms), Empty);
  EXPECT_GE(Clock::now() - begin, 30ms);
  EXPECT_FALSE(queue.try_get_for(1ms));
  queue.put(4);
  EXPECT_EQ(queue.get(30ms), 4);
}

TEST(QueueTest, GetNowait_RaisesEmptyWhenThereIsNothing) {
  const Queue<int> queue;
  EXPECT_THROW((void)queue.get_nowait(), Empty);
  EXPECT_FALSE(queue.try_get());
  queue.put(4);
  EXPECT_EQ(queue.get_nowait(), 4);
}

TEST(QueueTest, Timeouts_ThatMeanAtOnceOrForEver) {
  const Queue<int> queue(1);
  for (const double seconds : test::at_once) {
    EXPECT_FALSE(queue.try_get_for(std::chrono::duration<double>(seconds))) << seconds;
  }
  for (const double seconds : test::for_ever) {
    const auto timeout = std::chrono::duration<double>(seconds);
    EXPECT_TRUE(queue.try_put_for(1, timeout)) << seconds;
    for (const double none : test::at_once) {
      EXPECT_FALSE(queue.try_put_for(2, std::chrono::duration<double>(none))) << none;
    }
    EXPECT_EQ(queue.get(timeout), 1) << seconds;
  }
}

TEST(QueueTest, QsizeEmptyFull_TellWhatIsThere) {
  const Queue<int> queue(2);
  EXPECT_EQ(queue.maxsize(), 2);
  EXPECT_EQ(queue.qsize(), 0U);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  queue.put(1);
  EXPECT_EQ(queue.qsize(), 1U);
  EXPECT_FALSE(queue.empty());
  EXPECT_FALSE(queue.full());
  queue.put(2);
  EXPECT_EQ(queue.qsize(), 2U);
  EXPECT_TRUE(queue.full());
  (void)queue.get();
  EXPECT_FALSE(queue.full());
}

TEST(QueueTest, Maxsize_OfZeroOrLessIsNoBound) {
  for (const std::int64_t maxsize : {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    const Queue<int> queue(maxsize);
    EXPECT_EQ(queue.maxsize(), 0);
    for (int i = 0; i < 1000; ++i) queue.put_nowait(i);
    EXPECT_FALSE(queue.full());
    EXPECT_EQ(queue.qsize(), 1000U);
  }
}

TEST(QueueTest, JoinThread_ComesAfterCloseAndNothingIsLeftToWaitFor) {
  const Queue<int> queue;
  const auto other = Queue<int>::attach(queue.handle());
  queue.put(1);
  EXPECT_THROW(queue.join_thread(), std::logic_error);
  queue.close();
  queue.join_thread();
  EXPECT_EQ(other.get(), 1);
}

TEST(QueueTest, CancelJoinThread_LosesNothing) {
  const Queue<int> queue;
  EXPECT_EQ(test::run_in_child([&] {
              queue.cancel_join_thread();
              for (int i = 0; i < 10'000; ++i) queue.put(i);
              ::_exit(0);
            }),
            0);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(queue.get_nowait(), i);
}

// Pitfall Q4: in Python this deadlocks, if what is put is longer than a pipe.
TEST(QueueTest, AProcessThatHasPutMuchMayBeJoinedBeforeItIsTaken) {
  const Queue<std::string> queue;
  EXPECT_EQ(test::run_in_child([&] {
              queue.put(std::string(1'000'000, 'X'));
              for (int i = 0; i < 10'000; ++i) queue.put(std::to_string(i));
            }),
            0);
  EXPECT_EQ(queue.get(), std::string(1'000'000, 'X'));
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(queue.get_nowait(), std::to_string(i));
}

TEST(QueueTest, MessagesOfAllLengthsArriveAsTheyWere) {
  const Queue<std::vector<std::byte>> queue;
  std::vector<std::size_t> lengths(4200);
  std::iota(lengths.begin(), lengths.end(), 0);
  for (const std::size_t more : {4096U, 8191U, 8192U, 32'760U, 32'768U, 100'000U, 1U << 20, 20'000'000U}) {
    lengths.push_back(more);
  }
  std::shuffle(lengths.begin(), lengths.end(), std::minstd_rand(5));
  std::size_t next = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    queue.put(pattern(lengths[i], static_cast<unsigned>(i)));
    if (i % 3 != 2) continue;  // a backlog that grows and moves on
    ASSERT_EQ(queue.get(), pattern(lengths[next], static_cast<unsigned>(next)));
    ++next;
  }
  for (; next < lengths.size(); ++next) {
    ASSERT_EQ(queue.get(), pattern(lengths[next], static_cast<unsigned>(next))) << next;
  }
  EXPECT_TRUE(queue.empty());
}

struct Station {
  std::string name;
  double latitude = 0;
  std::map<std::string, std::vector<int>> series;
  friend bool operator==(const Station&, const Station&) = default;
};

TEST(QueueTest, Put_AnyTransferableValue) {
  const Queue<Station> stations;
  const Station station{"Ben Nevis", 56.8, {{"rain", {4, 5, 6}}, {"snow", {}}}};
  stations.put(station);
  EXPECT_EQ(stations.get(), station);
  const Queue<std::string_view> views;
  views.put("a text");
  const std::string text = views.get();
  EXPECT_EQ(text, "a text");
}

TEST(QueueTest, Put_ObjectsOfAnyKind) {
  const Queue<> queue;
  queue.put(pickle::Object(5));
  queue.put(pickle::Object("text"));
  queue.put(pickle::Object());
  const auto long_one = pickle::to_object(std::vector<int>(100'000, 3));
  queue.put(long_one);
  EXPECT_EQ(queue.get(), pickle::Object(5));
  EXPECT_EQ(queue.get(), pickle::Object("text"));
  EXPECT_EQ(queue.get(), pickle::Object());
  EXPECT_EQ(queue.get(), long_one);
}

TEST(QueueTest, AMessageThatIsNoTIsAnErrorAndTheNextFollows) {
  const Queue<std::string> texts;
  const auto numbers = Queue<int>::attach(texts.handle());
  texts.put("no number");
  numbers.put(5);
  EXPECT_THROW((void)numbers.get(), FormatError);
  EXPECT_EQ(numbers.get(), 5);
}

TEST(QueueTest, WhatThrowsWhenItIsWrittenIsNotPutAndWhenItIsReadIsTaken) {
  const Queue<Picky> queue;
  EXPECT_THROW(queue.put(Picky(1)), std::runtime_error);
  EXPECT_TRUE(queue.empty());
  queue.put(Picky(-2));
  queue.put(Picky(2));
  EXPECT_THROW((void)queue.get(), std::runtime_error);
  EXPECT_EQ(queue.get().number, 2);
  EXPECT_EQ(queue.lost(), 0U);
}

TEST(QueueTest, AnArrayInSharedMemoryIsPassedByReference) {
  const Queue<NdArray<double>> arrays;
  const Queue<int> answers;
  auto array = NdArray<double>::create_anonymous({1 << 20});
  std::iota(array.span().begin(), array.span().end(), 0.0);
  arrays.put(array);
  EXPECT_LT(bytes_with_memory(arrays.handle()), array.bytes().size() / 4);  // the array is not in there
  test::Child child([&] {
    auto theirs = arrays.get();
    EXPECT_EQ(theirs(12345), 12345.0);
    theirs(0) = -1;
    answers.put(1);
  });
  EXPECT_EQ(answers.get(), 1);
  EXPECT_EQ(array(0), -1.0);
  EXPECT_EQ(child.join(), 0);
}

TEST(QueueTest, AViewIsPassedByReference) {
  const Queue<NdView<int>> views;
  auto array = NdArray<int>::create_anonymous({10, 10});
  array(5, 5) = 55;
  views.put(array.view());
  const auto view = views.get();
  EXPECT_EQ(view(5, 5), 55);
  array(5, 5) = 56;
  EXPECT_EQ(view(5, 5), 56);
}

TEST(QueueTest, AnArrayThatIsGoneBeforeItIsReceivedIsAnErrorAndTheQueueGoesOn) {
  const Queue<NdArray<double>> arrays;
  { arrays.put(NdArray<double>::create_anonymous({10})); }
  const auto kept = NdArray<double>::create_anonymous({10});
  arrays.put(kept);
  EXPECT_EQ(test::thrown_code([&] { (void)arrays.get(); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(arrays.get().size(), 10U);
}

TEST(QueueTest, MemoryIsUsedAgainAndMostOfItGivenBack) {
  const Queue<std::vector<std::byte>> queue;
  const auto message = pattern(1 << 20, 1);
  for (int i = 0; i < 200; ++i) {
    queue.put(message);
    ASSERT_EQ(queue.get().size(), message.size());
  }
  EXPECT_LT(bytes_with_memory(queue.handle()), std::size_t{16} << 20);
  const std::vector<std::byte> small(100);
  for (int i = 0; i < 100'000; ++i) queue.put(small);
  for (int i = 0; i < 320; ++i) queue.put(message);
  EXPECT_GT(bytes_with_memory(queue.handle()), std::size_t{320} << 20);
  for (int i = 0; i < 100'320; ++i) (void)queue.get();
  EXPECT_LT(bytes_with_memory(queue.handle()), std::size_t{260} << 20);
}

TEST(QueueTest, NoMemoryLeftIsAnErrorOfPutAndTheQueueGoesOn) {
  EXPECT_EQ(test::run_in_child([] {
              // A file that may not be larger leaves the queue no more than that.
              const rlimit limit{std::size_t{64} << 20, std::size_t{64} << 20};
              check_errno(::setrlimit(RLIMIT_FSIZE, &limit), "limit", "files");
              const Queue<std::vector<std::byte>> queue;
              const std::vector<std::byte> message(1'000'000, std::byte{3});
              const std::vector<std::byte> small(1000);
              std::size_t count = 0;
              const auto fill = [&](const std::vector<std::byte>& each) {
                return test::thrown_code([&] {
                  for (;; ++count) queue.put(each);
                });
              };
              EXPECT_EQ(fill(message), std::errc::not_enough_memory);
              EXPECT_GT(count, 20U);
              EXPECT_EQ(fill(small), std::errc::not_enough_memory);
              EXPECT_EQ(fill(small), std::errc::not_enough_memory);
              EXPECT_EQ(queue.qsize(), count);
              EXPECT_EQ(queue.get(), message);
              queue.put(message);
              for (std::size_t i = 0; i < count; ++i) (void)queue.get();
              EXPECT_TRUE(queue.empty());
              queue.put(small);
              EXPECT_EQ(queue.get(), small);
            }),
            0);
}

TEST(QueueTest, ManyThreadsPutAndGetEachMessageOnceAndInTheOrderOfItsProducer) {
  constexpr int producers = 3;
  constexpr int consumers = 3;
  constexpr int each = 20'000;
  const Queue<std::pair<int, int>> queue(100);
  std::vector<std::vector<std::pair<int, int>>> got(consumers);
  std::vector<std::thread> threads;
  for (int i = 0; i < producers; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < each; ++n) queue.put({i, n});
    });
  }
  for (int i = 0; i < consumers; ++i) {
    threads.emplace_back([&, i] {
      while (const auto next = queue.try_get_for(20s)) {
        if (next->first < 0) break;
        got[static_cast<std::size_t>(i)].push_back(*next);
      }
    });
  }
  for (int i = 0; i < producers; ++i) threads[static_cast<std::size_t>(i)].join();
  for (int i = 0; i < consumers; ++i) queue.put({-1, 0});
  for (int i = 0; i < consumers; ++i) threads[static_cast<std::size_t>(producers + i)].join();
  std::vector<std::vector<int>> seen(producers);
  for (const auto& mine : got) {
    std::vector<int> last(producers, -1);
    for (const auto& [producer, number] : mine) {
      ASSERT_GT(number, last[static_cast<std::size_t>(producer)]);
      last[static_cast<std::size_t>(producer)] = number;
      seen[static_cast<std::size_t>(producer)].push_back(number);
    }
  }
  for (auto& numbers : seen) {
    std::sort(numbers.begin(), numbers.end());
    ASSERT_EQ(numbers.size(), std::size_t{each});
    for (int n = 0; n < each; ++n) ASSERT_EQ(numbers[static_cast<std::size_t>(n)], n);
  }
}

TEST(JoinableQueueTest, Join_WaitsUntilEveryMessageIsDone) {
  const JoinableQueue<int> queue;
  EXPECT_TRUE(queue.join(0s));  // nothing was put
  for (int i = 0; i < 10; ++i) queue.put(i);
  EXPECT_FALSE(queue.join(10ms));
  const test::SharedObject<std::atomic<int>> done;
  test::Child worker([&] {
    for (int i = 0; i < 10; ++i) {
      (void)queue.get();
      ::usleep(2000);
      done->fetch_add(1);
      queue.task_done();
    }
  });
  queue.join();
  EXPECT_EQ(done->load(), 10);
  EXPECT_EQ(worker.join(), 0);
}

TEST(JoinableQueueTest, Join_WaitsAgainAfterMoreWasPut) {
  const JoinableQueue<int> queue;
  queue.put(1);
  (void)queue.get();
  queue.task_done();
  EXPECT_TRUE(queue.join(0s));
  queue.put(2);
  EXPECT_FALSE(queue.join(0s));
}

TEST(JoinableQueueTest, TaskDone_MoreOftenThanMessagesIsAnError) {
  const JoinableQueue<int> queue;
  EXPECT_THROW(queue.task_done(), std::logic_error);
  queue.put(1);
  queue.task_done();  // Python counts what was put, not what was taken
  EXPECT_THROW(queue.task_done(), std::logic_error);
}

}  // namespace
}  // namespace runrig
