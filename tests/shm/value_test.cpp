#include "runrig/shm/value.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;

struct Point {
  double x;
  double y;
  std::int32_t tag;
};

static_assert(PlainData<int> && PlainData<Point> && PlainData<std::array<char, 7>>);
static_assert(!PlainData<int*> && !PlainData<std::string> && !PlainData<const int>);
static_assert(Shareable<Lock> && Shareable<RLock> && !Shareable<std::string>);
static_assert(std::is_trivially_copyable_v<LockedHandle>);

template <class L>
class LockedTest : public ::testing::Test {};
using Locks = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(LockedTest, Locks);

TYPED_TEST(LockedTest, ProcessesCountTogetherWithoutLosingOne) {
  const Value<std::int64_t, TypeParam> counter;
  {
    std::vector<std::unique_ptr<test::Child>> children;
    for (int i = 0; i < 4; ++i) {
      children.push_back(std::make_unique<test::Child>([&] {
        for (int step = 0; step < 5000; ++step) counter.with_lock([](std::int64_t& value) { ++value; });
      }));
    }
    for (auto& each : children) EXPECT_EQ(each->join(), 0);
  }
  EXPECT_EQ(counter.get(), 20'000);
}

TYPED_TEST(LockedTest, ThreadsCountTogetherWithoutLosingOne) {
  const Value<int, TypeParam> counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([counter] {
      for (int step = 0; step < 2000; ++step) counter.with_lock([](int& value) { ++value; });
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(counter.get(), 8000);
}

TYPED_TEST(LockedTest, AHolderThatDiesIsReportedAndTheValueCanBeRepaired) {
  const Value<int, TypeParam> value(1);
  ASSERT_EQ(test::run_in_child([&] {
              value.with_lock([](int& inner) {
                inner = -1;
                ::raise(SIGKILL);
              });
            }),
            -SIGKILL);
  EXPECT_THROW((void)value.get(), OwnerDied);
  EXPECT_THROW(value.set(5), OwnerDied);
  auto recovery = value.get_lock().recover();
  ASSERT_TRUE(recovery);
  value.get_obj().value() = 2;
  recovery->commit();
  value.get_lock().unlock();
  EXPECT_EQ(value.get(), 2);
}

TEST(ValueTest, NumbersAndStructsStartAsGivenOrZero) {
  EXPECT_EQ(Value<double>(1.5).get(), 1.5);
  EXPECT_EQ(Value<int>().get(), 0);
  const Value<Point> point({1, 2, 3});
  EXPECT_EQ(point.get().tag, 3);
  EXPECT_EQ(RawValue<Point>().value().x, 0);
  const RawValue<int> raw(7);
  EXPECT_EQ(raw + 1, 8);
  raw = 9;
  EXPECT_EQ(raw.value(), 9);
}

TEST(ValueTest, ACopyNamesTheSameMemory) {
  const Value<int> value(1);
  const auto copy = value;  // NOLINT(performance-unnecessary-copy-initialization): that is what is tested
  copy = 5;
  EXPECT_EQ(value.get(), 5);
}

TEST(ValueTest, TheDefaultLockIsRecursiveAsPythonsIs) {
  const Value<int> value(1);
  const std::lock_guard guard(value.get_lock());
  value.set(value.get() + 1);
  value.with_lock([&](int& inner) { inner += value.get(); });
  EXPECT_EQ(value.get(), 4);
}

TEST(ValueTest, WithLockHandsBackWhatTheFunctionReturnsAndUnlocksWhenItThrows) {
  const Value<int, Lock> value(4);
  EXPECT_EQ(value.with_lock([](int& inner) { return inner * 2.5; }), 10.0);
  EXPECT_THROW(value.with_lock([](int&) { throw std::runtime_error("no"); }), std::runtime_error);
  EXPECT_EQ(value.get(), 4);
}

TEST(ValueTest, SeveralValuesMayShareOneLock) {
  const Shared<RLock> lock;
  const Value<int> first(1, lock);
  const Array<int> second(std::array{1, 2, 3}, lock);
  const std::lock_guard guard(first.get_lock());
  EXPECT_EQ(test::run_in_child([&] { EXPECT_FALSE(second.get_lock().try_lock()); }), 0);
}

TEST(ArrayTest, IsZeroOrAsGivenAndChecksItsIndices) {
  const Array<std::int16_t> zero(4);
  EXPECT_EQ(zero.size(), 4U);
  EXPECT_THAT(zero.get_obj().span(), ElementsAre(0, 0, 0, 0));
  const Array<double> given({1.0, 2.5});
  given.set(1, 3.5);
  EXPECT_THAT(given.get_obj().span(), ElementsAre(1.0, 3.5));
  EXPECT_THROW((void)given.get(2), std::out_of_range);
  EXPECT_THROW(given.set(2, 0), std::out_of_range);
  EXPECT_EQ(RawArray<int>(std::size_t{0}).size(), 0U);
  EXPECT_EQ(test::thrown_code([] { (void)RawArray<double>(~std::size_t{0} / 4); }), std::errc::not_enough_memory);
}

TEST(ArrayTest, ProcessesFillTheirPartsOfALargeOne) {
  constexpr std::size_t count = 100'000;  // in a memfd of its own
  const RawArray<std::uint32_t> array(count);
  for (std::size_t part = 0; part < 4; ++part) {
    ASSERT_EQ(test::run_in_child([&] {
                for (std::size_t i = part; i < count; i += 4) array[i] = static_cast<std::uint32_t>(i * i);
              }),
              0);
  }
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(array[i], static_cast<std::uint32_t>(i * i));
}

TEST(ValueHandleTest, AProcessThatDidNotInheritThemAttachesByHandle) {
  struct Message {
    LockedHandle value;
    LockedHandle array;
    BlockHandle point;
  };
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  test::Child child([&] {  // before anything it will use was made
    Message message;
    ASSERT_EQ(::read(reader.get(), &message, sizeof message), static_cast<ssize_t>(sizeof message));
    const auto value = Value<int>::attach(message.value);
    value.set(value.get() * 2);
    Array<double>::attach(message.array).set(2, 0.5);
    Shared<Point>::attach(message.point)->y = 8;
    EXPECT_THROW((void)RawValue<char>::attach(message.point), std::logic_error) << "another size";
  });
  const Value<int> value(21);
  const Array<double> array(3);
  const Shared<Point> point(std::in_place, Point{1, 2, 3});
  const Message message{value.handle(), array.handle(), point.handle()};
  ASSERT_EQ(::write(writer.get(), &message, sizeof message), static_cast<ssize_t>(sizeof message));
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(value.get(), 42);
  EXPECT_EQ(array.get(2), 0.5);
  EXPECT_EQ(point->y, 8);
}

TEST(ValueHandleTest, AHandleToWhatIsGoneIsAnErrorAndNeverSomebodyElsesMemory) {
  BlockHandle handle;
  const RawValue<int> keeps_the_heap(0);
  handle = RawValue<int>(1).handle();
  const RawValue<int> in_its_place(2);
  EXPECT_THROW((void)RawValue<int>::attach(handle), std::logic_error);
  EXPECT_EQ(test::run_in_child([&] { EXPECT_THROW((void)RawValue<int>::attach(handle), std::logic_error); }), 0);
}

}  // namespace
}  // namespace runrig
