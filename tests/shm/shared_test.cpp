#include "runrig/shm/shared.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "runrig/sync/barrier.hpp"
#include "runrig/sync/condition.hpp"
#include "runrig/sync/event.hpp"
#include "runrig/sync/semaphore.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;

/// A struct of a program that holds primitives: a queue of one place, say.
struct Watched {
  Condition<Lock> changed;
  int value = 0;
};

}  // namespace

template <>
inline constexpr bool is_address_free<Watched> = true;

namespace {

static_assert(Shareable<Semaphore> && Shareable<BoundedSemaphore> && Shareable<Event> && Shareable<Barrier>);
static_assert(Shareable<ConditionVariable> && Shareable<Condition<Lock>> && Shareable<Condition<RLock>>);

struct Message {
  BlockHandle semaphore;
  BlockHandle bounded;
  BlockHandle event;
  BlockHandle barrier;
  BlockHandle place;
};

// The other process was forked before any of these was made, so it has them at other addresses.
TEST(SharedTest, EveryPrimitiveWorksInAProcessThatAttachesByHandle) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  test::Child child([&] {
    Message message;
    ASSERT_EQ(::read(reader.get(), &message, sizeof message), static_cast<ssize_t>(sizeof message));
    const auto event = Shared<Event>::attach(message.event);
    ASSERT_TRUE(event->wait(20s));
    const auto semaphore = Shared<Semaphore>::attach(message.semaphore);
    EXPECT_TRUE(semaphore->acquire(20s));
    EXPECT_FALSE(semaphore->acquire(0s)) << "it was made with one token";
    const auto bounded = Shared<BoundedSemaphore>::attach(message.bounded);
    EXPECT_THROW(bounded->release(), std::logic_error) << "it was made full";
    EXPECT_EQ(Shared<Barrier>::attach(message.barrier)->parties(), 2);
    const auto place = Shared<Watched>::attach(message.place);
    {
      const std::lock_guard guard(place->changed);
      place->value = 1;
      place->changed.notify_all();
      EXPECT_TRUE(place->changed.wait_for([&] { return place->value == 2; }, 20s));
    }
    (void)Shared<Barrier>::attach(message.barrier)->wait(20s);
  });
  const Shared<Semaphore> semaphore(std::in_place, 1);
  const Shared<BoundedSemaphore> bounded(std::in_place, 3);
  const Shared<Event> event;
  const Shared<Barrier> barrier(std::in_place, 2);
  const Shared<Watched> place;
  const Message message{semaphore.handle(), bounded.handle(), event.handle(), barrier.handle(), place.handle()};
  ASSERT_EQ(::write(writer.get(), &message, sizeof message), static_cast<ssize_t>(sizeof message));
  event->set();
  {
    const std::lock_guard guard(place->changed);
    EXPECT_TRUE(place->changed.wait_for([&] { return place->value == 1; }, 20s));
    place->value = 2;
    place->changed.notify_all();
  }
  (void)barrier->wait(20s);
  EXPECT_EQ(child.join(), 0);
  EXPECT_FALSE(semaphore->acquire(0s));
}

TEST(SharedTest, TheMakersMistakesAreThoseOfThePrimitive) {
  EXPECT_THROW((Shared<Barrier>(std::in_place, 0)), std::invalid_argument);
  EXPECT_THROW((Shared<Semaphore>(std::in_place, -1)), std::invalid_argument);
}

}  // namespace
}  // namespace runrig
