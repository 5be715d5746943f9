#include "runrig/shm/value.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <memory>
#include <string>
#include <thread>
#include <utility>
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

// Python's documentation, "sharedctypes": objects that a child process changes.
struct Place {
  double x;
  double y;
};
TEST(SharedCtypesTest, TheExampleOfThePythonDocumentation) {
  const Shared<Lock> lock;
  const Value<int> n(7);
  const RawValue<double> x(1.0 / 3.0);
  const Array<char, Lock> s("hello world", lock);
  const Array<Place, Lock> places({{1.875, -6.25}, {-5.75, 2.0}, {2.375, 9.5}}, lock);
  ASSERT_EQ(test::run_in_child([&] {
              n.with_lock([](int& value) { value *= value; });
              x.value() *= x.value();
              std::string text = s.value();
              for (char& each : text) each = static_cast<char>(std::toupper(static_cast<unsigned char>(each)));
              s.set_value(text);
              const std::lock_guard guard(places);
              for (auto& [px, py] : places.get_obj()) {
                px *= px;
                py *= py;
              }
            }),
            0);
  EXPECT_EQ(n.get(), 49);
  EXPECT_DOUBLE_EQ(x, 1.0 / 9.0);
  EXPECT_EQ(s.value(), "HELLO WORLD");
  std::vector<std::pair<double, double>> squares;
  for (const auto& [px, py] : places) squares.emplace_back(px, py);
  EXPECT_THAT(squares, ElementsAre(std::pair(3.515625, 39.0625), std::pair(33.0625, 4.0), std::pair(5.640625, 90.25)));
}

TEST(SharedCtypesTest, Copy_IsANewObjectWithTheSameContents) {
  const RawValue<Point> point({1, 2, 3});
  const auto other = copy(point);
  other.value().x = 9;
  EXPECT_EQ(point.value().x, 1);
  EXPECT_EQ(other.value().tag, 3);
  const RawArray<int> array({1, 2, 3});
  const auto elements = copy(array);
  elements[0] = 9;
  EXPECT_THAT(array.span(), ElementsAre(1, 2, 3));
  EXPECT_THAT(elements.span(), ElementsAre(9, 2, 3));
  EXPECT_EQ(copy(RawArray<int>(std::size_t{0})).size(), 0U);
}

TEST(SharedCtypesTest, Copy_OfALockedObjectHasALockOfItsOwn) {
  const Value<int, Lock> value(4);
  const Array<int, Lock> array({1, 2});
  const auto other = copy(value);
  const auto elements = copy(array);
  EXPECT_EQ(other.get(), 4);
  EXPECT_THAT(elements.get(), ElementsAre(1, 2));
  const std::scoped_lock held(value.get_lock(), array.get_lock());
  other.set(5);
  elements.set(0, 5);
  EXPECT_EQ(value.get_obj().value(), 4);
  EXPECT_EQ(array.get_obj()[0], 1);
}

TEST(SharedCtypesTest, Synchronized_WrapsTheSameObject) {
  const RawValue<int> raw(1);
  const auto value = synchronized(raw);
  static_assert(std::is_same_v<decltype(value), const Value<int, RLock>>);
  value.set(2);
  EXPECT_EQ(raw.value(), 2);
  EXPECT_EQ(&value.get_obj().value(), &raw.value());
  const Shared<Lock> lock;
  const RawArray<double> elements({1, 2});
  const auto array = synchronized(elements, lock);
  static_assert(std::is_same_v<decltype(array), const Array<double, Lock>>);
  array.set(1, 5);
  EXPECT_EQ(elements[1], 5);
  EXPECT_EQ(&array.get_lock(), lock.get());
}

TEST(SharedCtypesTest, SynchronizedObjectsAreContextManagers) {
  const Value<int, Lock> value(1);
  {
    const std::lock_guard guard(value);
    EXPECT_FALSE(value.get_lock().try_lock());
    EXPECT_FALSE(value.try_lock());
  }
  ASSERT_TRUE(value.acquire());
  EXPECT_FALSE(value.acquire(std::chrono::milliseconds(1)));
  value.release();
  EXPECT_EQ(value.get(), 1);
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
